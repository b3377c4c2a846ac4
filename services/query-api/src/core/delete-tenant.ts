import type { TenantDeletion } from '@sightline/shared/contracts/http';
import { newId, SYSTEM_BUCKET, tenantLockKey, tenantPrefixes } from '@sightline/shared/contracts/ids';
import { acceptsFailuresSetting } from '@sightline/shared/ingestion/failure-storms';
import { withLeasedKeys } from '@sightline/shared/ingestion/key-lease';
import { raiseTenantFence } from '@sightline/shared/ingestion/tenant-fence';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { calibrationSetting } from '@sightline/shared/retrieval/relevance';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { madeUntilSetting } from './api-keys.ts';
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
const QUESTIONS_A_TIME = 100;

/**
 * Deletes everything of a tenant and says how many of each. Nothing that ran comes back: a fence is raised first, past which no
 * worker writes what it holds from before; then the ingestions are cancelled, and a second pass, after the keys that processes
 * remember have run out, takes what was begun meanwhile; the sweep does that when this process dies between the two. Sources are
 * not touched. Deleting twice deletes nothing the second time.
 */
export async function deleteTenant(deps: DeleteTenantDeps, tenant: string): Promise<TenantDeletion> {
  const total: TenantDeletion = {
    tenant,
    cancelled_ingestions: 0,
    cancelled_questions: 0,
    points: 0,
    ingestions: 0,
    failures: 0,
    api_keys: 0,
    stored_objects: { queries: 0, questions: 0, thumbnails: 0, reports: 0 },
  };
  await pass(deps, total, 'first');
  await deps.sleep(deps.drainMs);
  await pass(deps, total, 'last');
  return total;
}

async function pass(deps: DeleteTenantDeps, total: TenantDeletion, which: 'first' | 'last'): Promise<void> {
  const { ledger, index } = deps;
  const { tenant } = total;
  await withLeasedKeys(
    { ledger, sleep: deps.sleep },
    [tenantLockKey(tenant)],
    { ttlMs: LEASE_TTL_MS },
    async (_, { version }) => {
      await raiseTenantFence(ledger, tenant, version);
      await noteDeletedTenant(deps, { tenant, version, ...(which === 'last' && { begunUntil: deps.now() }) });
      total.cancelled_ingestions += await cancelIngestions(deps, tenant);
      total.cancelled_questions += await cancelQuestions(deps, tenant);
      await dropSettings(deps, tenant);
      const dropped = await ledger.deleteTenant(tenant);
      total.ingestions += dropped.ingestions;
      total.failures += dropped.failures;
      total.api_keys += dropped.apiKeys;
      total.points += await index.deleteTenant(tenant);
      for (const prefix of tenantPrefixes(tenant)) {
        const kind = prefix.split('/')[0] as keyof TenantDeletion['stored_objects'];
        total.stored_objects[kind] += await deletePrefix(deps.store, prefix);
      }
      // From here on the sweep looks for what a remembered key lets in, until the last pass has.
      await noteDeletedTenant(deps, { tenant, version, ...(which === 'first' && { begunUntil: deps.now() + deps.drainMs }) });
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
      await ledger.putSetting(acceptsFailuresSetting(ingestionId), null);
      if (await ledger.setStatus(ingestionId, [...going], 'cancelled', { reason: 'tenant_deleted', at: now() })) cancelled++;
    }
    if (ingestions.length < INGESTIONS_A_TIME) return cancelled;
  }
}

/** Who listens is told, and who answers notices, before they are gone. */
async function cancelQuestions({ ledger, now }: DeleteTenantDeps, tenant: string): Promise<number> {
  let cancelled = 0;
  for (const status of ['queued', 'running'] as const) {
    for (;;) {
      const { questions } = await ledger.listQuestions(tenant, { status, limit: QUESTIONS_A_TIME });
      for (const { questionId } of questions)
        if ((await ledger.cancelQuestion(tenant, questionId, { eventId: newId(), at: now() })) === 'cancelled') cancelled++;
      if (questions.length < QUESTIONS_A_TIME) break;
    }
  }
  return cancelled;
}

/** What was fitted for another pack than the present index's stays: nothing reads it without that pack's index. */
async function dropSettings({ ledger, index }: DeleteTenantDeps, tenant: string): Promise<void> {
  const { image, text } = index.spec;
  const fingerprints = { image: image.fingerprint, text: text.fingerprint };
  await ledger.putSetting(calibrationSetting(fingerprints, tenant), null);
  for (const { keyId } of await ledger.listApiKeys(tenant)) await ledger.putSetting(madeUntilSetting(keyId), null);
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
