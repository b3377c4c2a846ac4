import { assetLockKey, itemLockKey, passageAssetId, pictureAssetId } from '@sightline/shared/contracts/ids';
import type { ItemRecord, PicturePlace, PointRecord } from '@sightline/shared/contracts/records';
import { withLeasedKeys, type HeldLease } from '@sightline/shared/ingestion/key-lease';
import { KnownPlaces } from '@sightline/shared/ingestion/known-places';
import { mapAhead } from '@sightline/shared/ingestion/map-ahead';
import { isItemTombstone } from '@sightline/shared/ingestion/record-removal';
import type { ChunkEntry } from '@sightline/shared/ports/ledger';
import type { AssetPoint } from '@sightline/shared/ports/vector-index';
import { SightlineError, toSightlineError } from '@sightline/shared/runtime/errors';
import { ChunkWork, type Failing } from './chunk-work.ts';
import { settlePictures } from './encode-chunk-pictures.ts';
import { dropUnnamed, leavePictures, settleItems, settlePictureRecords, type Leaving } from './encode-chunk-records.ts';
import type { ChunkDeps } from './encode-deps.ts';
import { newestFirst, settleArrivals, settleGoings } from './picture-records.ts';
import { isOwed, type SettleContext } from './settle-chunk.ts';

const MAX_ROUNDS = 20;
const HEADS_AT_ONCE = 16;

export interface ItemContext extends SettleContext {
  /** Throws where the record may not be the newest any more. Called under the item's lease: whoever has a newer one waits for that. */
  assertCurrent?: () => void;
}

export interface SettledItem {
  /** The item and those of its pictures that are there, for whoever tells of them. */
  work: ChunkWork;
  /** The item's own, or one of a picture that may pass. */
  failure: Failing | null;
}

/**
 * Works a pushed record: puts it onto those of its pictures that are in the store (they come in where they are new, and nothing is
 * fetched of those that are not), takes it off the pictures that it drops, writes its passages. A picture that no record names any more
 * leaves the index, unless a source lists it. Null takes the item off, as one whose source is gone. What a user removed comes back
 * with it: the item, and those of its pictures that it did not name before. A record that is `pushed` already is one that a
 * reconciliation saw: what stands of it now counts, and is completed.
 *
 * A picture that fails for good, or of which the store says nothing, fails by itself: it is noted in the ledger as a change of its own.
 *
 * The item's lease is held all the while, so that of two changes one comes after the other; the caller holds no leases. Doing it twice is
 * doing it once. Errors: the retryable ones of the ports, what `assertAlive` and `assertCurrent` throw.
 */
export async function settleItemChange(
  deps: ChunkDeps,
  tenant: string,
  change: { itemId: string; record: ItemRecord | null },
  context: ItemContext,
): Promise<SettledItem> {
  const { signal } = context;
  let settling: Settling = { work: new ChunkWork(tenant, []), absent: [], dropped: [], unreadable: [] };
  for (let round = 0; ; round++) {
    if (round === MAX_ROUNDS) throw new SightlineError('object_changed');
    await withLeasedKeys(deps, [itemLockKey(tenant, change.itemId)], { ttlMs: deps.leaseTtlMs, signal }, async (_, lease) => {
      await context.assertAlive();
      context.assertCurrent?.();
      settling = await prepare(deps, tenant, change, lease, context);
      await settleItsPictures(deps, settling.work, lease, context);
      const leaving = await settleItems(deps, tenant, [...settling.work.items.values()], lease);
      // Before another may set the item again.
      await leave(deps, leaving, settling.dropped, context);
    });
    const pictures = [...settling.work.pictures.values()];
    await settleGoings(deps, pictures, context);
    // One that came while its record was not there to be seen was of no interest to whoever was told of it.
    if (!pictures.some(isOwed) && !(await isAnyThere(deps, settling.absent))) break;
  }
  await settleArrivals(deps, [...settling.work.pictures.values()], context);
  const { work, unreadable } = settling;
  const pictures = [...work.pictures.values()];
  const permanent = pictures.filter(({ failure }) => failure && !failure.error.retryable).map(({ object }) => object);
  await handOn(deps, tenant, [...permanent, ...unreadable]);
  const failing = [...work.items.values(), ...pictures.filter(({ failure }) => failure?.error.retryable)];
  return { work, failure: failing.find(({ failure }) => failure)?.failure ?? null };
}

interface Settling {
  work: ChunkWork;
  /** Named, and not in the store. */
  absent: PicturePlace[];
  /** Named before, and no more. */
  dropped: PicturePlace[];
  /** Of which the store says nothing, for good. */
  unreadable: PicturePlace[];
}

async function handOn({ ledger, now }: ChunkDeps, tenant: string, pictures: PicturePlace[]): Promise<void> {
  if (pictures.length === 0) return;
  const noted = pictures.map(({ bucket, key }) => ({ change: { kind: 'object' as const, bucket, key }, changedAt: null }));
  await ledger.noteChanges(tenant, noted, now());
}

/** The work that the change makes now. Under the item's lease. */
async function prepare(
  deps: ChunkDeps,
  tenant: string,
  { itemId, record: told }: { itemId: string; record: ItemRecord | null },
  lease: HeldLease,
  context: SettleContext,
): Promise<Settling> {
  const standing = await deps.index.findByItem(tenant, itemId);
  const named = standing.flatMap(({ records }) => records.filter((record) => record.itemId === itemId)).flatMap(({ pictures }) => pictures); // prettier-ignore
  if (told === null) {
    const record = { itemId, title: '', text: '', attributes: {}, pictures: [] };
    return { work: new ChunkWork(tenant, [{ record, reconcile: 'drop' }]), absent: [], dropped: named, unreadable: [] };
  }
  const record = told.pushed ? presentRecord(standing, itemId) : { ...told, pushed: true };
  if (record === null) return { work: new ChunkWork(tenant, []), absent: [], dropped: [], unreadable: [] };
  await bringBack(deps, tenant, record, named, lease, context);
  const entries: ChunkEntry[] = [];
  const absent: PicturePlace[] = [];
  const unreadable: PicturePlace[] = [];
  for await (const looked of mapAhead(record.pictures, HEADS_AT_ONCE, (picture) => look(deps, picture))) {
    if (looked.object) entries.push({ object: looked.object, record });
    else (looked.isUnreadable ? unreadable : absent).push(looked.picture);
  }
  const names = ({ bucket, key }: PicturePlace): boolean =>
    record.pictures.some((its) => its.bucket === bucket && its.key === key);
  const dropped = named.filter((picture) => !names(picture));
  return { work: new ChunkWork(tenant, entries.length > 0 ? entries : [{ record }]), absent, dropped, unreadable };
}

async function isAnyThere({ store }: ChunkDeps, pictures: PicturePlace[]): Promise<boolean> {
  for await (const now of mapAhead(pictures, HEADS_AT_ONCE, (picture) => store.head(picture))) if (now) return true;
  return false;
}

async function look(
  { store }: ChunkDeps,
  picture: PicturePlace,
): Promise<{ picture: PicturePlace; object?: ChunkEntry['object']; isUnreadable?: boolean }> {
  try {
    const now = await store.head(picture);
    return { picture, ...(now && { object: { ...picture, eTag: now.eTag, sizeBytes: now.sizeBytes } }) };
  } catch (thrown) {
    if (toSightlineError(thrown).retryable) throw thrown;
    return { picture, isUnreadable: true };
  }
}

/** What stands of a pushed record, newest first where points differ; null where a manifest has it by now, or nothing of it stands. */
function presentRecord(standing: AssetPoint[], itemId: string): ItemRecord | null {
  const ordered = standing.toSorted((a, b) => a.recordVersion - b.recordVersion);
  const passages = new Map<number, PointRecord>();
  let latest: PointRecord | null = null;
  for (const { passageNo, records } of ordered) {
    const own = records.find((record) => record.itemId === itemId);
    if (!own) continue;
    passages.set(passageNo, own);
    latest = own;
  }
  const record = newestFirst(standing, itemId) ?? latest;
  if (!record?.pushed) return null;
  const texts = [...passages].sort(([a], [b]) => a - b).map(([, { text }]) => text);
  return { ...record, text: texts.join('\n') };
}

/** Tombstones of what a user removed, and that this record brings anew, become those of what is merely gone. */
async function bringBack(
  deps: ChunkDeps,
  tenant: string,
  { itemId, pictures }: ItemRecord,
  namedBefore: PicturePlace[],
  lease: HeldLease,
  { signal }: SettleContext,
): Promise<void> {
  const idOf = ({ bucket, key }: PicturePlace): string => pictureAssetId(tenant, bucket, key);
  const named = new Set(namedBefore.map(idOf));
  const firstId = passageAssetId(tenant, itemId, 0);
  const points = await deps.index.get(tenant, [firstId, ...pictures.map(idOf).filter((id) => !named.has(id))]);
  const first = points.get(firstId);
  points.delete(firstId);
  const isRemoved = (point: AssetPoint | undefined): boolean => point?.deletedBecause === 'removed';
  const keys = [...points.values()].filter(isRemoved).map(({ assetId }) => assetLockKey(tenant, assetId));
  await withLeasedKeys(deps, keys, { ttlMs: deps.leaseTtlMs, signal }, async (granted, its) => {
    const ids = [...points.keys()].filter((assetId) => granted.has(assetLockKey(tenant, assetId)));
    const removed = [...(await deps.index.get(tenant, ids)).values()].filter(isRemoved);
    lease.assertHeld();
    its.assertHeld();
    const at = deps.now();
    await deps.index.delete(
      removed.map(({ assetId, object }) => ({ assetId, tenant, version: its.version, reason: 'gone' as const, object, at })),
    );
  });
  lease.assertHeld();
  if (isItemTombstone(first))
    await deps.index.delete([{ assetId: firstId, tenant, version: lease.version, reason: 'gone', object: null, at: deps.now() }]);
}

/** Pictures and the records on them, each under its own lease beside the item's. */
async function settleItsPictures(deps: ChunkDeps, work: ChunkWork, lease: HeldLease, context: SettleContext): Promise<void> {
  for (let round = 0; ; round++) {
    const owed = [...work.pictures.values()].filter(isOwed);
    if (owed.length === 0) return;
    if (round === MAX_ROUNDS) throw new SightlineError('object_changed');
    const keys = owed.map(({ lockKey }) => lockKey);
    // Who waits for a picture here holds an item, and nobody who holds a picture waits for anything.
    await withLeasedKeys(deps, keys, { ttlMs: deps.leaseTtlMs, signal: context.signal }, async (granted, its) => {
      await context.assertAlive();
      lease.assertHeld();
      const held = owed.filter(({ lockKey }) => granted.has(lockKey));
      await settlePictures(deps, held, its, context);
      lease.assertHeld();
      await settlePictureRecords(deps, context.tenant, held, its);
    });
  }
}

async function leave(
  deps: ChunkDeps,
  leaving: Leaving[],
  dropped: PicturePlace[],
  { tenant, signal, assertAlive }: SettleContext,
): Promise<void> {
  if (leaving.length + dropped.length === 0) return;
  const known = new KnownPlaces(await deps.ledger.latestIngestions(tenant));
  const mayDrop = (object: PicturePlace): boolean => known.standingOf(object) !== 'listed';
  const under = async (ids: string[], work: (held: Set<string>, lease: HeldLease) => Promise<void>): Promise<void> => {
    const keys = new Map(ids.map((assetId) => [assetLockKey(tenant, assetId), assetId]));
    await withLeasedKeys(deps, keys.keys(), { ttlMs: deps.leaseTtlMs, signal }, async (granted, lease) => {
      await assertAlive();
      await work(new Set([...granted].map((key) => keys.get(key) ?? '')), lease);
    });
  };
  await under(leaving.map(({ assetId }) => assetId), (held, lease) => leavePictures(deps, tenant, leaving.filter(({ assetId }) => held.has(assetId)), lease, mayDrop)); // prettier-ignore
  // Another item may have left one of them while this one was still seen to name it.
  const ids = dropped.filter(mayDrop).map(({ bucket, key }) => pictureAssetId(tenant, bucket, key));
  await under(ids, (held, lease) => dropUnnamed(deps, tenant, [...held], lease));
}
