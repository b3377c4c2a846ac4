import { passageAssetId, pictureAssetId } from '@sightline/shared/contracts/ids';
import type { PointRecord } from '@sightline/shared/contracts/records';
import type { HeldLease } from '@sightline/shared/ingestion/key-lease';
import { mapAhead } from '@sightline/shared/ingestion/map-ahead';
import { sameRecords } from '@sightline/shared/ingestion/point-text';
import { firstPassages, isItemTombstone, removedAmong, removedItems } from '@sightline/shared/ingestion/record-removal';
import type { AssetPoint, Deletion } from '@sightline/shared/ports/vector-index';
import type { ItemWork, PictureWork } from './chunk-work.ts';
import type { ChunkDeps } from './encode-deps.ts';
import { passageHalf, pictureHalf, withRecord, writeHalves, type Half } from './record-halves.ts';

const ITEMS_AT_ONCE = 16;

/** A record that has to leave a picture. */
export interface Leaving {
  assetId: string;
  itemId: string;
  /** As it was seen on the picture. */
  record: PointRecord;
}

/** The record halves of leased pictures that are live: the chunk's records among those that others put there. */
export async function settlePictureRecords(
  deps: ChunkDeps,
  tenant: string,
  works: PictureWork[],
  lease: HeldLease,
): Promise<void> {
  const withRecords = works.filter(({ records, settled }) => records.length > 0 && settled !== null);
  if (withRecords.length === 0) return;
  const points = await deps.index.get(tenant, withRecords.map(({ assetId }) => assetId)); // prettier-ignore
  const named = withRecords.flatMap(({ records }) => records);
  const firsts = await firstPassages(deps.index, tenant, named);
  const removed = removedAmong(firsts, tenant, named);
  const isKept = ({ itemId }: { itemId: string }): boolean => !removed.has(itemId);
  const halves: Half[] = [];
  for (const work of withRecords) {
    const point = points.get(work.assetId);
    // On a picture that cannot be shown a record would be found and not seen: passage 0 stands for it (see settleItems).
    if (!point || point.deleted || !point.hasImage || work.going) continue;
    const records = work.records
      .filter(isKept)
      .reduce(
        (all, record) => withRecord(all, recordWith(deps.passagesOf(record.text)[0] ?? '', record)),
        point.records.filter(isKept),
      );
    halves.push({
      draft: pictureHalf(point, records),
      settle: () => {
        if (work.settled === 'unchanged') work.settled = 'indexed';
      },
      fail: (error) => {
        work.failure = { error };
      },
    });
  }
  await writeHalves(deps, tenant, halves, points, lease, [
    // A text that no picture carried has a vector there.
    ...firsts.values(),
    ...(await pointsOfMoved(deps, tenant, withRecords)),
  ]);
}

/** The passages of leased items. Answers the pictures that a record has to leave: they have locks of their own. */
export async function settleItems(deps: ChunkDeps, tenant: string, works: ItemWork[], lease: HeldLease): Promise<Leaving[]> {
  const leaving: Leaving[] = [];
  const halves: Half[] = [];
  const deletions: Deletion[] = [];
  const points = new Map<string, AssetPoint>();
  const others: AssetPoint[] = [];
  const removed = await removedItems(deps.index, tenant, works.map(({ record }) => record)); // prettier-ignore
  for (const work of works) {
    const { itemId } = work.record;
    // A user removed the item, and its record is still what was removed: it stays off.
    const isOff = work.drop || removed.has(itemId);
    const pictureIds = isOff ? [] : work.record.pictures.map(({ bucket, key }) => pictureAssetId(tenant, bucket, key));
    const standing = await deps.index.findByItem(tenant, itemId);
    others.push(...standing);
    const firstId = passageAssetId(tenant, itemId, 0);
    const first = isOff ? undefined : (await deps.index.get(tenant, [firstId])).get(firstId);
    const wanted = isOff ? [] : await passagesOf(deps, tenant, work, pictureIds, first);
    const passageIds = wanted.map(({ passageNo }) => passageAssetId(tenant, itemId, passageNo));
    for (const [assetId, point] of await deps.index.get(tenant, passageIds)) points.set(assetId, point);

    const missing = new Set(passageIds);
    // The record has changed since the item was removed: it is back.
    if (isItemTombstone(first) && !missing.has(firstId)) {
      deletions.push({ assetId: firstId, tenant, version: lease.version, reason: 'gone', object: null, at: deps.now() });
    }
    for (const point of standing) {
      const record = point.records.find((its) => its.itemId === itemId);
      if (point.kind === 'picture' && record && !pictureIds.includes(point.assetId))
        leaving.push({ assetId: point.assetId, itemId, record });
      if (point.kind === 'passage' && !missing.has(point.assetId)) {
        deletions.push({ assetId: point.assetId, tenant, version: lease.version, reason: 'gone', object: null, at: deps.now() });
      }
    }
    work.settled = 'unchanged';
    for (const [i, record] of wanted.entries()) {
      const assetId = passageIds[i] ?? '';
      const point = points.get(assetId);
      // A user took this text off: it stays off.
      if (point?.deleted && point.deletedBecause === 'removed' && !isItemTombstone(point)) continue;
      halves.push({
        draft: passageHalf(tenant, record.record, record.passageNo),
        settle: () => {
          work.settled = 'indexed';
        },
        fail: (error) => {
          work.failure = { error };
        },
      });
    }
  }
  lease.assertHeld();
  if (deletions.length > 0) await deps.index.delete(deletions);
  await writeHalves(deps, tenant, halves, points, lease, others);
  return leaving;
}

/**
 * Takes records off leased pictures that their items no longer name. A picture that then no record names at all leaves the index where
 * `mayDrop` says so.
 */
export async function leavePictures(
  deps: ChunkDeps,
  tenant: string,
  leaving: Leaving[],
  lease: HeldLease,
  mayDrop: (object: { bucket: string; key: string }) => boolean = () => false,
): Promise<void> {
  if (leaving.length === 0) return;
  const deletions: Deletion[] = [];
  const points = await deps.index.get(tenant, [...new Set(leaving.map(({ assetId }) => assetId))]);
  const halves: Half[] = [];
  for (const point of points.values()) {
    if (point.deleted) continue;
    const going = new Set<string>();
    for (const one of leaving) {
      if (one.assetId === point.assetId && !isBack(tenant, one, point)) going.add(one.itemId);
    }
    const { assetId, object } = point;
    const records = point.records.filter(({ itemId }) => !going.has(itemId));
    if (records.length === 0 && object && mayDrop(object) && !(await isNamedByOthers(deps, tenant, assetId, going))) {
      deletions.push({ assetId, tenant, version: lease.version, reason: 'gone', object, at: deps.now() });
      continue;
    }
    halves.push({
      draft: pictureHalf(point, records),
      settle: () => {},
      fail: (error) => {
        throw error;
      },
    });
  }
  await writeHalves(deps, tenant, halves, points, lease);
  if (deletions.length > 0) await deps.index.delete(deletions);
}

/** Takes leased pictures off the index that no record is on or names any more. */
export async function dropUnnamed(deps: ChunkDeps, tenant: string, pictureIds: string[], lease: HeldLease): Promise<void> {
  const points = [...(await deps.index.get(tenant, pictureIds)).values()].filter(
    (point) => !point.deleted && point.records.length === 0,
  );
  if (points.length === 0) return;
  const named = await deps.index.findByPicture(tenant, points.map(({ assetId }) => assetId)); // prettier-ignore
  const unnamed = points.filter(({ assetId }) => !named.has(assetId));
  lease.assertHeld();
  const at = deps.now();
  await deps.index.delete(
    unnamed.map(({ assetId, object }) => ({ assetId, tenant, version: lease.version, reason: 'gone' as const, object, at })),
  );
}

/** Whether a record that was to leave the picture was written anew since, and names it again. */
function isBack(tenant: string, { itemId, assetId, record }: Leaving, point: AssetPoint): boolean {
  const now = point.records.find((its) => its.itemId === itemId);
  return now !== undefined && !sameRecords([now], [record]) && names(tenant, now, assetId);
}

async function isNamedByOthers(
  { index }: ChunkDeps,
  tenant: string,
  pictureId: string,
  going: ReadonlySet<string>,
): Promise<boolean> {
  const naming = (await index.findByPicture(tenant, [pictureId])).get(pictureId) ?? [];
  return naming.some(({ records }) => records.some((record) => !going.has(record.itemId) && names(tenant, record, pictureId)));
}

function names(tenant: string, { pictures }: PointRecord, pictureId: string): boolean {
  return pictures.some(({ bucket, key }) => pictureAssetId(tenant, bucket, key) === pictureId);
}

/** What a point keeps of a record. */
function recordWith(text: string, { itemId, title, attributes, pictures, pushed = false }: ItemWork['record']): PointRecord {
  return { itemId, title, text, attributes, pictures, pushed };
}

/** The points of those items whose picture lies under another key too: it may have been moved, and its text with it. */
async function pointsOfMoved(deps: ChunkDeps, tenant: string, works: PictureWork[]): Promise<AssetPoint[]> {
  const moved = works.filter(({ settled }) => settled === 'duplicate');
  const itemIds = new Set(moved.flatMap(({ records }) => records.map(({ itemId }) => itemId)));
  const found: AssetPoint[] = [];
  for await (const points of mapAhead(itemIds, ITEMS_AT_ONCE, (itemId) => deps.index.findByItem(tenant, itemId)))
    found.push(...points);
  return found;
}

/** The passages that are points of their own: all but the first, and the first too where no picture carries it. */
async function passagesOf(
  deps: ChunkDeps,
  tenant: string,
  { record, pictures: works }: ItemWork,
  pictureIds: string[],
  first: AssetPoint | undefined,
): Promise<{ passageNo: number; record: PointRecord }[]> {
  const pictures = [...(await deps.index.get(tenant, pictureIds)).values()];
  const going = new Set(works.filter((work) => work.going).map(({ assetId }) => assetId));
  const isCarried = pictures.some((point) => !point.deleted && point.hasImage && !going.has(point.assetId));
  // Taken off with its picture, unless the item came back, or its text was there before the picture.
  const isTakenOff = pictures.some((point) => point.deletedBecause === 'removed') && (first?.deleted ?? true) && !isItemTombstone(first); // prettier-ignore
  const carriesFirst = isCarried || isTakenOff;
  const passages = deps.passagesOf(record.text);
  const texts = passages.length > 0 ? passages : [''];
  return texts.map((passage, passageNo) => ({ passageNo, record: recordWith(passage, record) })).slice(carriesFirst ? 1 : 0);
}
