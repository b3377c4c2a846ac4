import type { TenantDeletion } from '@sightline/shared/contracts/http';
import { SYSTEM_BUCKET, tenantLockKey, tenantPrefixes } from '@sightline/shared/contracts/ids';
import { withLeasedKeys } from '@sightline/shared/ingestion/key-lease';
import { raiseTenantFence } from '@sightline/shared/ingestion/tenant-fence';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { noteDeletedTenant } from './deleted-tenants.ts';

export interface DeleteTenantDeps {
  index: VectorIndex;
  ledger: Ledger;
  store: ObjectStore;
  /** Unix milliseconds. */
  now: () => number;
  sleep: (ms: number) => Promise<void>;
  /** Between the two passes: longer than a process remembers a key. */
  drainMs: number;
}

const LEASE_TTL_MS = 60_000;
const INGESTIONS_A_TIME = 1_000;

/**
 * Deletes everything of a tenant and says how many of each. Nothing that ran comes back: a fence is raised first, past which no
 * worker writes what it holds from before; then the ingestions are cancelled, and a second pass, after the keys that processes
 * remember have run out, takes what was begun meanwhile. Sources are not touched. Deleting twice deletes nothing the second time.
 */
export async function deleteTenant(deps: DeleteTenantDeps, tenant: string): Promise<TenantDeletion> {
  const total: TenantDeletion = {
    tenant,
    cancelled_ingestions: 0,
    points: 0,
    ingestions: 0,
    failures: 0,
    api_keys: 0,
    stored_objects: { queries: 0, thumbnails: 0, reports: 0 },
  };
  await pass(deps, total);
  await deps.sleep(deps.drainMs);
  await pass(deps, total);
  return total;
}

async function pass(deps: DeleteTenantDeps, total: TenantDeletion): Promise<void> {
  const { ledger, index } = deps;
  const { tenant } = total;
  await withLeasedKeys(
    { ledger, sleep: deps.sleep },
    [tenantLockKey(tenant)],
    { ttlMs: LEASE_TTL_MS },
    async (_, { version }) => {
      await raiseTenantFence(ledger, tenant, version);
      await noteDeletedTenant({ ...deps, ledger }, { tenant, version });
      total.cancelled_ingestions += await cancelIngestions(deps, tenant);
      const dropped = await ledger.deleteTenant(tenant);
      total.ingestions += dropped.ingestions;
      total.failures += dropped.failures;
      total.api_keys += dropped.apiKeys;
      total.points += await index.deleteTenant(tenant);
      for (const prefix of tenantPrefixes(tenant)) {
        const kind = prefix.split('/')[0] as keyof TenantDeletion['stored_objects'];
        total.stored_objects[kind] += await deletePrefix(deps.store, prefix);
      }
    },
  );
}

/** Planners and workers look at the status between their steps, and end. */
async function cancelIngestions({ ledger, now }: DeleteTenantDeps, tenant: string): Promise<number> {
  const going = ['planning', 'running', 'paused'] as const;
  let cancelled = 0;
  for (;;) {
    const ingestions = await ledger.listIngestions(tenant, { statuses: [...going], limit: INGESTIONS_A_TIME });
    for (const { ingestionId } of ingestions) {
      if (await ledger.setStatus(ingestionId, [...going], 'cancelled', { reason: 'tenant_deleted', at: now() })) cancelled++;
    }
    if (ingestions.length < INGESTIONS_A_TIME) return cancelled;
  }
}

async function deletePrefix(store: ObjectStore, prefix: string): Promise<number> {
  let deleted = 0;
  try {
    for await (const object of store.list({ bucket: SYSTEM_BUCKET, prefix })) {
      await store.delete(object);
      deleted++;
    }
  } catch (error) {
    // Nothing was ever stored.
    if (!(error instanceof SightlineError && error.code === 'source_not_found')) throw error;
  }
  return deleted;
}
