import { z } from 'zod';
import { withLeasedKeys, type LeaseDeps } from '@sightline/shared/ingestion/key-lease';
import { tenantLockKey } from '@sightline/shared/contracts/ids';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { AssetPoint, VectorIndex } from '@sightline/shared/ports/vector-index';

export interface DeletedTenantDeps {
  ledger: Ledger;
  index: VectorIndex;
  /** Unix milliseconds. */
  now: () => number;
  sleep: LeaseDeps['sleep'];
}

/** The tenants that were deleted lately, in one setting of the ledger. */
const SETTING = 'deleted-tenants';
const notes = z.record(z.string(), z.strictObject({ version: z.number(), at: z.number() }));
type Notes = z.infer<typeof notes>;

/** A writer that stood still between the fence and its write for longer than this is none any more. */
const LOOKED_AFTER_MS = 3_600_000;
const LEASE_TTL_MS = 30_000;
const PAGE = 1_000;

/** Has the sweep look after a tenant for an hour. */
export async function noteDeletedTenant(
  deps: DeletedTenantDeps,
  { tenant, version }: { tenant: string; version: number },
): Promise<void> {
  const { ledger, now, sleep } = deps;
  await withLeasedKeys({ ledger, sleep }, [SETTING], { ttlMs: LEASE_TTL_MS }, async () => {
    const recent = Object.entries(await readNotes(ledger)).filter(([, { at }]) => now() - at < LOOKED_AFTER_MS);
    const changed: Notes = { ...Object.fromEntries(recent), [tenant]: { version, at: now() } };
    await ledger.putSetting(SETTING, JSON.stringify(changed));
  });
}

/**
 * Takes off what a writer brought that had passed the fence before it was raised and wrote only after the deletion. Points of
 * the tenant's new life carry newer versions and stay. Answers how many it found.
 */
export async function sweepDeletedTenants({ ledger, index, now, sleep }: DeletedTenantDeps): Promise<number> {
  let found = 0;
  for (const [tenant, { version, at }] of Object.entries(await readNotes(ledger))) {
    if (now() - at >= LOOKED_AFTER_MS) continue;
    // Under a version of today: the fence stands against this too.
    await withLeasedKeys({ ledger, sleep }, [tenantLockKey(tenant)], { ttlMs: LEASE_TTL_MS }, async (_, lease) => {
      found += await dropLeftovers(index, { tenant, until: version, version: lease.version, at: now() });
    });
  }
  return found;
}

async function dropLeftovers(
  index: VectorIndex,
  { tenant, until, version, at }: { tenant: string; until: number; version: number; at: number },
): Promise<number> {
  let dropped = 0;
  let kept = 0;
  for (let after: string | undefined; ;) {
    const page = await index.scan(tenant, { limit: PAGE, ...(after === undefined ? {} : { after }) });
    const old = page.filter((point) => newestHalf(point) <= until);
    kept += page.length - old.length;
    const live = old.filter((point) => !point.deleted);
    if (live.length > 0)
      await index.delete(live.map(({ assetId, object }) => ({ assetId, tenant, version, reason: 'gone', object, at })));
    dropped += live.length;
    after = page.at(-1)?.assetId;
    if (page.length < PAGE) break;
  }
  // Nothing but leftovers: their tombstones go as well.
  if (kept === 0 && dropped > 0) await index.deleteTenant(tenant);
  return dropped;
}

function newestHalf({ imageVersion, recordVersion }: AssetPoint): number {
  return Math.max(imageVersion, recordVersion);
}

async function readNotes(ledger: Ledger): Promise<Notes> {
  const stored = await ledger.getSetting(SETTING);
  return stored === null ? {} : notes.parse(JSON.parse(stored));
}
