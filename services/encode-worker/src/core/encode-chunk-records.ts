import { passageAssetId, pictureAssetId } from '@sightline/shared/contracts/ids';
import type { PointRecord } from '@sightline/shared/contracts/records';
import type { HeldLease } from '@sightline/shared/ingestion/key-lease';
import { embeddedText, pointKeywords, sameRecords } from '@sightline/shared/ingestion/point-text';
import { isItemTombstone, removedItems } from '@sightline/shared/ingestion/record-removal';
import type { AssetPoint, Deletion, RecordWrite } from '@sightline/shared/ports/vector-index';
import { SightlineError, toSightlineError } from '@sightline/shared/runtime/errors';
import type { ItemWork, PictureWork } from './chunk-work.ts';
import type { ChunkDeps } from './encode-deps.ts';

/** A record half that is to be written once its text has a vector. */
type Draft = Omit<RecordWrite, 'vector' | 'keywords' | 'recordVersion' | 'indexedAt'>;

interface Half {
  draft: Draft;
  settle: (written: boolean) => void;
  fail: (error: SightlineError) => void;
}

/** A record that has to leave a picture. */
export interface Leaving {
  assetId: string;
  itemId: string;
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
  const removed = await removedItems(deps.index, tenant, withRecords.flatMap(({ records }) => records)); // prettier-ignore
  const isKept = ({ itemId }: { itemId: string }): boolean => !removed.has(itemId);
  const halves: Half[] = [];
  for (const work of withRecords) {
    const point = points.get(work.assetId);
    // On a picture that cannot be shown a record would be found and not seen: passage 0 stands for it (see settleItems).
    if (!point || point.deleted || !point.hasImage) continue;
    const records = work.records
      .filter(isKept)
      .reduce((all, record) => withRecord(all, firstPassage(deps, record)), point.records.filter(isKept));
    halves.push({
      draft: pictureHalf(tenant, point, records),
      settle: (written) => {
        if (written && work.settled === 'unchanged') work.settled = 'indexed';
      },
      fail: (error) => {
        work.failure = { error };
      },
    });
  }
  await writeHalves(deps, halves, points, lease);
}

/** The passages of leased items. Answers the pictures that a record has to leave: they have locks of their own. */
export async function settleItems(deps: ChunkDeps, tenant: string, works: ItemWork[], lease: HeldLease): Promise<Leaving[]> {
  const leaving: Leaving[] = [];
  const halves: Half[] = [];
  const deletions: Deletion[] = [];
  const points = new Map<string, AssetPoint>();
  const removed = await removedItems(deps.index, tenant, works.map(({ record }) => record)); // prettier-ignore
  for (const work of works) {
    const { itemId } = work.record;
    // A user removed the item, and its record is still what was removed: it stays off.
    const isOff = work.drop || removed.has(itemId);
    const pictureIds = isOff ? [] : work.record.pictures.map(({ bucket, key }) => pictureAssetId(tenant, bucket, key));
    const standing = await deps.index.findByItem(tenant, itemId);
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
      if (point.kind === 'picture' && !pictureIds.includes(point.assetId)) leaving.push({ assetId: point.assetId, itemId });
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
      const draft: Draft = {
        assetId,
        tenant,
        kind: 'passage',
        object: null,
        passageNo: record.passageNo,
        records: [record.record],
      };
      halves.push({
        draft,
        settle: (written) => {
          if (written) work.settled = 'indexed';
        },
        fail: (error) => {
          work.failure = { error };
        },
      });
    }
  }
  lease.assertHeld();
  if (deletions.length > 0) await deps.index.delete(deletions);
  await writeHalves(deps, halves, points, lease);
  return leaving;
}

/** Takes records off leased pictures that their items no longer name. */
export async function leavePictures(deps: ChunkDeps, tenant: string, leaving: Leaving[], lease: HeldLease): Promise<void> {
  const points = await deps.index.get(tenant, [...new Set(leaving.map(({ assetId }) => assetId))]);
  const halves: Half[] = [];
  for (const point of points.values()) {
    const going = new Set(leaving.filter(({ assetId }) => assetId === point.assetId).map(({ itemId }) => itemId));
    if (point.deleted) continue;
    const draft = pictureHalf(tenant, point, point.records.filter(({ itemId }) => !going.has(itemId))); // prettier-ignore
    halves.push({
      draft,
      settle: () => {},
      fail: (error) => {
        throw error;
      },
    });
  }
  await writeHalves(deps, halves, points, lease);
}

function pictureHalf(tenant: string, point: AssetPoint, records: PointRecord[]): Draft {
  const object = point.object && { bucket: point.object.bucket, key: point.object.key };
  return { assetId: point.assetId, tenant, kind: 'picture', object, passageNo: 0, records };
}

function firstPassage(deps: ChunkDeps, { itemId, title, text, attributes }: ItemWork['record']): PointRecord {
  return { itemId, title, text: deps.passagesOf(text)[0] ?? '', attributes };
}

function withRecord(records: PointRecord[], record: PointRecord): PointRecord[] {
  return [...records.filter(({ itemId }) => itemId !== record.itemId), record].sort((a, b) => (a.itemId < b.itemId ? -1 : 1));
}

/** The passages that are points of their own: all but the first, and the first too where no picture carries it. */
async function passagesOf(
  deps: ChunkDeps,
  tenant: string,
  { record: { itemId, title, text, attributes } }: ItemWork,
  pictureIds: string[],
  first: AssetPoint | undefined,
): Promise<{ passageNo: number; record: PointRecord }[]> {
  const pictures = [...(await deps.index.get(tenant, pictureIds)).values()];
  const isCarried = pictures.some((point) => !point.deleted && point.hasImage);
  // Taken off with its picture, unless the item came back, or its text was there before the picture.
  const isTakenOff = pictures.some((point) => point.deletedBecause === 'removed') && (first?.deleted ?? true) && !isItemTombstone(first); // prettier-ignore
  const carriesFirst = isCarried || isTakenOff;
  const passages = deps.passagesOf(text);
  const texts = passages.length > 0 ? passages : [''];
  return texts
    .map((passage, passageNo) => ({ passageNo, record: { itemId, title, text: passage, attributes } }))
    .slice(carriesFirst ? 1 : 0);
}

/** Encodes the texts of what differs from the index and writes it; one text that fails does not keep the others. */
async function writeHalves(
  deps: ChunkDeps,
  halves: Half[],
  points: ReadonlyMap<string, AssetPoint>,
  lease: HeldLease,
): Promise<void> {
  const due = halves.filter(({ draft }) => {
    const point = points.get(draft.assetId);
    const hasText = embeddedText(draft.records) !== '';
    return !(point && !point.deleted && point.hasText === hasText && sameRecords(point.records, draft.records));
  });
  const texts = [...new Set(due.map(({ draft }) => embeddedText(draft.records)).filter((text) => text !== ''))];
  const vectors = await encodeTexts(deps, texts);
  const writes: RecordWrite[] = [];
  const settling: (() => void)[] = [];
  for (const { draft, settle, fail } of due) {
    const vector = vectors.get(embeddedText(draft.records)) ?? null;
    if (vector instanceof SightlineError) fail(vector);
    else {
      const keywords = pointKeywords(draft.records);
      writes.push({ ...draft, vector, keywords, recordVersion: lease.version, indexedAt: deps.now() });
      settling.push(() => settle(true));
    }
  }
  lease.assertHeld();
  if (writes.length === 0) return;
  const startedAt = performance.now();
  await deps.index.writeRecords(writes);
  deps.observe('write', (performance.now() - startedAt) / 1000);
  for (const settle of settling) settle();
}

async function encodeTexts(deps: ChunkDeps, texts: string[]): Promise<Map<string, Float32Array | SightlineError>> {
  const encode = (some: string[]) => deps.encoder.encodeTexts(some, { space: 'text', purpose: 'passage', lane: deps.lane });
  const vectors = new Map<string, Float32Array | SightlineError>();
  if (texts.length === 0) return vectors;
  try {
    const encoded = await encode(texts);
    texts.forEach((text, i) => vectors.set(text, encoded[i]?.vector ?? new SightlineError('encoder_failed')));
  } catch (thrown) {
    const error = toSightlineError(thrown);
    if (error.retryable) throw error;
    // One of them is at fault: alone, the others pass.
    for (const text of texts) {
      const vector = await encode([text]).then(
        ([one]) => one?.vector ?? error,
        (alone: unknown) => toSightlineError(alone),
      );
      vectors.set(text, vector);
    }
  }
  return vectors;
}
