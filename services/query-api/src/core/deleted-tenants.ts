import { z } from 'zod';
import { withLeasedKeys, type LeaseDeps } from '@sightline/shared/ingestion/key-lease';
import { tenantLockKey } from '@sightline/shared/contracts/ids';
import { dropTenantFence, raiseTenantFence } from '@sightline/shared/ingestion/tenant-fence';
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
const note = z.strictObject({
  version: z.number(),
  at: z.number(),
  /** While its last pass is not done: what was begun until then, with a key that a process remembered, is of the old life. */
  begunUntil: z.number().optional(),
});
const notes = z.record(z.string(), note);
type Notes = z.infer<typeof notes>;

/** A writer that stood still between the fence and its write for longer than this is none any more. */
const LOOKED_AFTER_MS = 3_600_000;
/** The fence stands longer: it costs one setting. */
const FENCE_KEPT_MS = 24 * 3_600_000;
/** The deletion's own process has so long for its last pass. */
const LAST_PASS_MS = 60_000;
const LEASE_TTL_MS = 30_000;
const PAGE = 1_000;

/** Has the sweep look after a tenant for an hour. */
export async function noteDeletedTenant(
  deps: Omit<DeletedTenantDeps, 'index'>,
  { tenant, version, begunUntil }: { tenant: string; version: number; begunUntil?: number },
): Promise<void> {
  await changeNotes(deps, (known) => ({
    ...known,
    [tenant]: { version, at: deps.now(), ...(begunUntil !== undefined && { begunUntil }) },
  }));
}

/**
 * Takes off what a writer brought that had passed the fence before it was raised and wrote only after the deletion. Points of
 * the tenant's new life carry newer versions and stay. Of a deletion that died before its last pass it drops the ingestions and
 * keys that were begun until then. Answers how many points it found. After a day the fence goes too.
 */
export async function sweepDeletedTenants({ ledger, index, now, sleep }: DeletedTenantDeps): Promise<number> {
  let found = 0;
  for (const [tenant, { version, at, begunUntil }] of Object.entries(await readNotes(ledger))) {
    if (begunUntil !== undefined && now() >= begunUntil + LAST_PASS_MS) {
      found += await endDeletion({ ledger, index, now, sleep }, tenant);
      continue;
    }
    if (now() - at >= FENCE_KEPT_MS) await forget({ ledger, now, sleep }, tenant);
    if (now() - at >= LOOKED_AFTER_MS) continue;
    // Under a version of today: the fence stands against this too.
    await withLeasedKeys({ ledger, sleep }, [tenantLockKey(tenant)], { ttlMs: LEASE_TTL_MS }, async (_, lease) => {
      found += await dropLeftovers(index, { tenant, until: version, version: lease.version, at: now() });
    });
  }
  return found;
}

async function endDeletion(deps: DeletedTenantDeps, tenant: string): Promise<number> {
  const { ledger, index, sleep } = deps;
  let points = 0;
  await withLeasedKeys({ ledger, sleep }, [tenantLockKey(tenant)], { ttlMs: LEASE_TTL_MS }, async (_, lease) => {
    // Read under the lease: the last pass may have come meanwhile.
    const known = (await readNotes(ledger))[tenant];
    if (known?.begunUntil === undefined) return;
    let { version } = known;
    await ledger.deleteTenant(tenant, { createdUpTo: known.begunUntil });
    // Their points carry versions from after the fence. Beside those of a new life they cannot be told apart, and its next
    // ingestion of their source takes them off. Not asked of what was dropped just now: who dropped it may have died here.
    if ((await ledger.listIngestions(tenant, { limit: 1 })).length === 0) {
      version = lease.version;
      await raiseTenantFence(ledger, tenant, version);
      points = await index.deleteTenant(tenant);
    }
    await noteDeletedTenant(deps, { tenant, version });
  });
  return points;
}

async function forget(deps: Omit<DeletedTenantDeps, 'index'>, tenant: string): Promise<void> {
  const { ledger, sleep, now } = deps;
  await withLeasedKeys({ ledger, sleep }, [tenantLockKey(tenant)], { ttlMs: LEASE_TTL_MS }, async () => {
    const known = (await readNotes(ledger))[tenant];
    // Deleted again meanwhile.
    if (!known || now() - known.at < FENCE_KEPT_MS) return;
    await dropTenantFence(ledger, tenant, known.version);
    await changeNotes(deps, (all) => Object.fromEntries(Object.entries(all).filter(([name]) => name !== tenant)));
  });
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

async function changeNotes({ ledger, sleep }: Omit<DeletedTenantDeps, 'index'>, change: (known: Notes) => Notes): Promise<void> {
  await withLeasedKeys({ ledger, sleep }, [SETTING], { ttlMs: LEASE_TTL_MS }, async () => {
    await ledger.putSetting(SETTING, JSON.stringify(change(await readNotes(ledger))));
  });
}

async function readNotes(ledger: Ledger): Promise<Notes> {
  const stored = await ledger.getSetting(SETTING);
  return stored === null ? {} : notes.parse(JSON.parse(stored));
}
