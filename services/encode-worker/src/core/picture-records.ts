import { itemLockKey, passageAssetId, pictureAssetId } from '@sightline/shared/contracts/ids';
import type { PointRecord } from '@sightline/shared/contracts/records';
import { withLeasedKeys, type HeldLease } from '@sightline/shared/ingestion/key-lease';
import type { ObjectInfo } from '@sightline/shared/ports/object-store';
import type { AssetPoint, Deletion } from '@sightline/shared/ports/vector-index';
import { SightlineError, toSightlineError } from '@sightline/shared/runtime/errors';
import type { Going, PictureWork } from './chunk-work.ts';
import { listedHead, moved } from './encode-chunk-pictures.ts';
import type { ChunkDeps } from './encode-deps.ts';
import { passageHalf, pictureHalf, withRecord, writeHalves, type Half } from './record-halves.ts';

export interface PictureRecordsContext {
  tenant: string;
  signal: AbortSignal;
  /** Throws where what is worked was taken away meanwhile. Called under each new lease. */
  assertAlive: () => Promise<void>;
}

/** Others may hold an item or a picture: so often it is asked for again, with growing pauses of a second at most. */
const MAX_ASKED = 60;
const LONGEST_PAUSE_MS = 1_000;

type GoingWork = PictureWork & { going: Going };

/**
 * Takes pictures off the index that have to leave it (`going`) and carry records. First each item that no other picture carries
 * gets a point of its own for passage 0, so that whoever dies in between has lost no record; then come the tombstones. Under one
 * lease of a picture and of all items on it, so that none of them is changed or removed in between. A picture whose object is not
 * any more as it was found is owed again. The caller holds no leases.
 */
export async function settleGoings(deps: ChunkDeps, works: PictureWork[], context: PictureRecordsContext): Promise<void> {
  const { tenant } = context;
  await askUntilDone(deps, context, works.filter(isGoing), async (pending) => {
    const points = await deps.index.get(tenant, pending.map(({ assetId }) => assetId)); // prettier-ignore
    const itemKeys = (work: GoingWork): string[] =>
      (points.get(work.assetId)?.records ?? []).map(({ itemId }) => itemLockKey(tenant, itemId));
    return {
      keysOf: (work) => [work.lockKey, ...itemKeys(work)],
      work: (granted, ready, lease) => bury(deps, tenant, ready, granted, lease),
    };
  });
}

function isGoing(work: PictureWork): work is GoingWork {
  return work.going !== null;
}

/** Answers those that were dealt with. */
async function bury(
  deps: ChunkDeps,
  tenant: string,
  works: GoingWork[],
  granted: ReadonlySet<string>,
  lease: HeldLease,
): Promise<GoingWork[]> {
  const points = await deps.index.get(tenant, works.map(({ assetId }) => assetId)); // prettier-ignore
  const dead = new Map<string, { work: GoingWork; point: AssetPoint }>();
  const done: GoingWork[] = [];
  for (const work of works) {
    const point = points.get(work.assetId);
    // A record that came since is of an item that is not held.
    if (point?.records.some(({ itemId }) => !granted.has(itemLockKey(tenant, itemId)))) continue;
    done.push(work);
    if (!point || point.deleted) continue;
    if (await isStillSo(deps, work, point)) dead.set(work.assetId, { work, point });
  }
  await standAlone(deps, tenant, [...dead.values()].map(({ point }) => point), lease); // prettier-ignore
  const deletions = [...dead.values()].map(({ work: { assetId, object, going } }): Deletion => {
    const { bucket, key } = object;
    const place = { bucket, key, eTag: going.eTag };
    return { assetId, tenant, version: lease.version, reason: going.reason, object: place, at: deps.now() };
  });
  lease.assertHeld();
  if (deletions.length > 0) await deps.index.delete(deletions);
  for (const work of done) {
    forget(work);
    // It may have come back while its tombstone was written.
    if (work.reconcile === 'look' && dead.has(work.assetId)) await lookAgain(deps, work);
  }
  return done;
}

function forget(work: PictureWork): void {
  work.going = null;
}

async function lookAgain(deps: ChunkDeps, work: PictureWork): Promise<void> {
  const now = await listedHead(deps, work.object);
  if (now) oweAgain(work, now);
}

/** For the state that it is in now. */
function oweAgain(work: PictureWork, now: ObjectInfo | null): void {
  [work.settled, work.failure] = [null, null];
  try {
    moved(work, now);
  } catch (error) {
    work.failure = { error: toSightlineError(error) };
  }
}

/** Whether it still has to go; what changed since is owed again, for the state it is in now. */
async function isStillSo(deps: ChunkDeps, work: GoingWork, point: AssetPoint): Promise<boolean> {
  const { when, eTag, imageVersion } = work.going;
  if (point.imageVersion === imageVersion && when === 'always') return true;
  const now = await listedHead(deps, work.object);
  const isSame = when === 'absent' ? now === null : now?.eTag === eTag;
  if (point.imageVersion === imageVersion && isSame) return true;
  // Reconciling only took back what it had no more reason for.
  if (work.reconcile?.startsWith('drop')) return false;
  oweAgain(work, now);
  return false;
}

/** Points of their own for the items on these pictures, where no other live picture carries them. */
async function standAlone(deps: ChunkDeps, tenant: string, dying: AssetPoint[], lease: HeldLease): Promise<void> {
  const records = new Map<string, PointRecord>();
  for (const { records: its } of dying.toSorted((a, b) => a.recordVersion - b.recordVersion))
    for (const record of its) records.set(record.itemId, record);
  if (records.size === 0) return;
  const dyingIds = new Set(dying.map(({ assetId }) => assetId));
  const idsOf = ({ pictures }: PointRecord): string[] => pictures.map(({ bucket, key }) => pictureAssetId(tenant, bucket, key));
  const firstIds = [...records.keys()].map((itemId) => passageAssetId(tenant, itemId, 0));
  const points = await deps.index.get(tenant, [...new Set([...firstIds, ...[...records.values()].flatMap(idsOf)])]);
  const halves: Half[] = [];
  for (const record of records.values()) {
    const first = points.get(passageAssetId(tenant, record.itemId, 0));
    // Its own point is there and may be newer, or a user took it off.
    if (first && (!first.deleted || first.deletedBecause === 'removed')) continue;
    const isCarried = idsOf(record).some((id) => !dyingIds.has(id) && carries(points.get(id), record.itemId));
    if (!isCarried) halves.push({ draft: passageHalf(tenant, record, 0), settle: () => {}, fail: raise });
  }
  await writeHalves(deps, tenant, halves, points, lease, dying);
}

function carries(point: AssetPoint | undefined, itemId: string): boolean {
  return point !== undefined && isShown(point) && point.records.some((record) => record.itemId === itemId);
}

function isShown(point: AssetPoint): boolean {
  return !point.deleted && point.hasImage;
}

/** An item that names a picture and does not stand on it. */
interface Arrival {
  assetId: string;
  lockKey: string;
  itemId: string;
}

/**
 * Puts the records of items that name these pictures on them, now that they can be shown, and takes off the points that their
 * passages 0 had for want of a picture. Under leases of picture and item. The caller holds no leases.
 */
export async function settleArrivals(deps: ChunkDeps, works: PictureWork[], context: PictureRecordsContext): Promise<void> {
  const { tenant } = context;
  // Those that were there before have their records.
  const arrived = works.filter(({ settled, failure }) => failure === null && (settled === 'indexed' || settled === 'duplicate'));
  if (arrived.length === 0) return;
  const named = await deps.index.findByPicture(tenant, arrived.map(({ assetId }) => assetId)); // prettier-ignore
  const arrivals = arrived.flatMap(({ assetId, lockKey }): Arrival[] => {
    const naming = (named.get(assetId) ?? []).flatMap((point) => point.records.map((record) => ({ point, record })));
    const onIt = new Set(naming.filter(({ point }) => point.assetId === assetId).map(({ record }) => record.itemId));
    const those = naming.filter(({ record }) => namesPicture(tenant, record, assetId) && !onIt.has(record.itemId));
    return [...new Set(those.map(({ record }) => record.itemId))].map((itemId) => ({ assetId, lockKey, itemId }));
  });
  const keysOf = ({ lockKey, itemId }: Arrival): string[] => [lockKey, itemLockKey(tenant, itemId)];
  await askUntilDone(deps, context, arrivals, async () => ({
    keysOf,
    work: async (_, ready, lease) => {
      await carry(deps, tenant, ready, lease);
      return ready;
    },
  }));
}

function namesPicture(tenant: string, { pictures }: PointRecord, assetId: string): boolean {
  return pictures.some(({ bucket, key }) => pictureAssetId(tenant, bucket, key) === assetId);
}

async function carry(deps: ChunkDeps, tenant: string, arrivals: Arrival[], lease: HeldLease): Promise<void> {
  const points = await deps.index.get(tenant, [...new Set(arrivals.map(({ assetId }) => assetId))]);
  const halves: Half[] = [];
  const others: AssetPoint[] = [];
  const deletions: { deletion: Deletion; pictureId: string }[] = [];
  const failed = new Set<string>();
  for (const [assetId, ofPicture] of Map.groupBy(arrivals, (arrival) => arrival.assetId)) {
    const point = points.get(assetId);
    if (!point || !isShown(point)) continue;
    let { records } = point;
    for (const { itemId } of ofPicture) {
      const standing = await deps.index.findByItem(tenant, itemId);
      others.push(...standing);
      const record = newestFirst(standing, itemId);
      if (!record || !namesPicture(tenant, record, assetId)) continue;
      if (!point.records.some((its) => its.itemId === itemId)) records = withRecord(records, record);
      const first = standing.find(({ kind, passageNo }) => kind === 'passage' && passageNo === 0);
      if (!first) continue;
      const deletion = { assetId: first.assetId, tenant, version: lease.version, reason: 'gone', object: null, at: deps.now() } as const; // prettier-ignore
      deletions.push({ deletion, pictureId: assetId });
    }
    halves.push({ draft: pictureHalf(point, records), settle: () => {}, fail: () => failed.add(assetId) });
  }
  await writeHalves(deps, tenant, halves, points, lease, others);
  lease.assertHeld();
  const carried = deletions.filter(({ pictureId }) => !failed.has(pictureId)).map(({ deletion }) => deletion);
  if (carried.length > 0) await deps.index.delete(carried);
}

/** Works what has all its keys at once, and asks again for the rest: who holds keys never waits for others. */
async function askUntilDone<T>(
  deps: ChunkDeps,
  { signal, assertAlive }: PictureRecordsContext,
  all: T[],
  plan: (pending: T[]) => Promise<{
    keysOf: (one: T) => string[];
    /** Answers those that were dealt with. */
    work: (granted: ReadonlySet<string>, ready: T[], lease: HeldLease) => Promise<T[]>;
  }>,
): Promise<void> {
  let pending = all;
  for (let asked = 0, pauseMs = 25; pending.length > 0; asked++) {
    if (asked === MAX_ASKED) throw new SightlineError('asset_busy');
    if (asked > 0) await deps.sleep(pauseMs, signal);
    if (asked > 0) pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
    const { keysOf, work } = await plan(pending);
    const done = new Set<T>();
    await withLeasedKeys(deps, pending.flatMap(keysOf), { ttlMs: deps.leaseTtlMs, signal }, async (granted, lease) => {
      const ready = pending.filter((one) => !done.has(one) && keysOf(one).every((key) => granted.has(key)));
      if (ready.length === 0) return;
      await assertAlive();
      for (const one of await work(granted, ready, lease)) done.add(one);
    });
    pending = pending.filter((one) => !done.has(one));
  }
}

/** An item's record with passage 0, as it was written last. Null where that passage is nowhere. */
export function newestFirst(standing: AssetPoint[], itemId: string): PointRecord | null {
  const carriers = standing.filter(({ passageNo }) => passageNo === 0).toSorted((a, b) => b.recordVersion - a.recordVersion);
  return carriers.flatMap(({ records }) => records.filter((record) => record.itemId === itemId))[0] ?? null;
}

function raise(error: SightlineError): never {
  throw error;
}
