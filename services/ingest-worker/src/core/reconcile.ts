import { pictureAssetId } from '@sightline/shared/contracts/ids';
import { contains } from '@sightline/shared/contracts/source-place';
import type { AssetPoint } from '@sightline/shared/ports/vector-index';
import { addPlannedChunk, type Planning } from './add-planned-chunk.ts';
import { ChunkBuilder } from './chunk-builder.ts';
import { compareItem, comparePoint, compareRecords, type Finding } from './compare-point.ts';
import { dropRemovedItems } from './drop-removed-items.ts';
import { expectDoubtful, expectSources, type Expectation } from './expect-sources.ts';
import type { ExpectedSet } from './expected-set.ts';
import { placeOf } from './plan-ingestion.ts';

const PAGE = 500;

/**
 * Compares the points in an ingestion's own place, and the items of the manifests that overlap it, with what those sources hold at
 * present, and drives what differs. Other sources are left unread, but for manifests that may have a say in an item that differs.
 * The index is read once. Answers whether anything was dropped: then another pass may find more.
 */
export async function reconcile(state: Planning, passCursor: string): Promise<boolean> {
  const { deps, ingestion, signal } = state;
  const { tenant } = ingestion;
  const within = placeOf(ingestion);
  const set = deps.openExpectedSet();
  let hasDropped = false;
  try {
    const expectation = await expectSources(deps, tenant, set, { within, beside: ingestion, signal });
    // What may pass is waited for: to end without it would leave for good what is gone.
    const away = expectation.unreadable.find(({ error }) => error.retryable);
    if (away) throw away.error;
    await dropRemovedItems(deps.index, tenant, set, signal);
    const chunk = new ChunkBuilder(deps.chunkEntries);
    for await (const { entry } of differences(state, set, expectation)) {
      if (!entry) continue;
      hasDropped ||= entry.reconcile !== 'write';
      chunk.addEntry(entry, passCursor);
      if (chunk.isFull) await addPlannedChunk(state, chunk.take(), { waits: true });
    }
    await addPlannedChunk(state, chunk.take(), { waits: true });
  } finally {
    set.close();
  }
  return hasDropped;
}

async function* differences(state: Planning, set: ExpectedSet, expectation: Expectation): AsyncGenerator<Finding> {
  const { deps, ingestion, signal } = state;
  const { tenant } = ingestion;
  const within = placeOf(ingestion);
  const isListed = (object: { bucket: string; key: string }): boolean =>
    expectation.listed.some((place) => contains(place, object));
  const warned = new Set<string>();
  /** What another source may still have is not taken away while that source cannot be read. */
  const isWanted = ({ entry }: Finding): boolean => {
    for (const { place, ingestion: its, error } of expectation.unreadable) {
      if (!warned.has(its.ingestionId))
        deps.logger.warn({ ingestionId: ingestion.ingestionId, place, code: error.code }, 'a known source cannot be read');
      warned.add(its.ingestionId);
    }
    if (entry?.reconcile === 'write') return true;
    const isKept = entry?.record
      ? expectation.unreadable.some(({ place }) => place.manifestKey !== null)
      : expectation.unreadable.length > 0;
    return !isKept;
  };
  const compare = (point: AssetPoint): Finding[] => comparePoint(set, point, { spec: null, isListed }).findings;
  /** Another manifest may speak for its items: they are looked at again when those were read. */
  const isDoubtful = ({ entry, assetId }: Finding, itemIds: string[]): boolean => {
    if (!entry?.record || expectation.unread.length === 0) return false;
    set.addDoubt({ assetId, itemIds: [entry.record.itemId, ...itemIds] });
    return true;
  };

  for (let after: string | undefined; ;) {
    signal.throwIfAborted();
    const page = await deps.index.scan(tenant, { after, limit: PAGE });
    for (const point of page) {
      if (point.kind === 'picture' && point.object && !contains(within, point.object)) {
        // Of a place that was not listed: only its showing up counts, for the items that name it.
        set.markSeen(point.assetId, point.deleted ? (point.deletedBecause === 'removed' ? 'removed' : 'down') : 'live');
        if (!point.deleted) for (const { itemId, text } of point.records) set.addFirstPassage(itemId, text);
        continue;
      }
      const itemIds = [...point.records, ...set.itemsOfPicture(point.assetId)].map(({ itemId }) => itemId);
      yield* compare(point).filter((finding) => !isDoubtful(finding, itemIds) && isWanted(finding));
    }
    after = page.at(-1)?.assetId;
    if (page.length < PAGE || after === undefined) break;
  }
  for await (const seen of pages(
    (after) => set.items(after, PAGE),
    ({ item }) => item.itemId,
  )) {
    const finding = compareItem(set, tenant, seen);
    if (finding && !isDoubtful(finding, [])) yield finding;
  }
  if (expectation.unread.length > 0) yield* recheck(state, set, expectation, compare, isWanted);
}

/** What was doubtful, compared again with all manifests in view. */
async function* recheck(
  { deps, ingestion, signal }: Planning,
  set: ExpectedSet,
  expectation: Expectation,
  compare: (point: AssetPoint) => Finding[],
  isWanted: (finding: Finding) => boolean,
): AsyncGenerator<Finding> {
  const { tenant } = ingestion;
  const within = placeOf(ingestion);
  const isAny = set.doubtfulPoints('', 1).length > 0 || set.doubtfulItems('', 1).length > 0;
  if (!isAny) return;
  await expectDoubtful(deps, tenant, set, expectation, signal);
  await dropRemovedItems(deps.index, tenant, set, signal);
  const points = async (assetIds: string[]): Promise<AssetPoint[]> => [...(await deps.index.get(tenant, assetIds)).values()];
  for (let after = ''; ;) {
    const page = set.doubtfulPoints(after, PAGE);
    for (const point of await points(page)) {
      yield* compare(point).filter((finding) => finding.entry?.record !== undefined && isWanted(finding));
    }
    after = page.at(-1) ?? '';
    if (page.length < PAGE) break;
  }
  for await (const seen of pages(
    (after) => set.doubtfulItems(after, PAGE),
    ({ item }) => item.itemId,
  )) {
    // An item that another place has now stands on pictures there.
    const elsewhere = seen.item.pictures.filter((picture) => !contains(within, picture));
    for (const point of await points(elsewhere.map(({ bucket, key }) => pictureAssetId(tenant, bucket, key)))) {
      if (!point.deleted && point.hasImage) {
        yield* compareRecords(set, point).filter(({ entry }) => entry?.record?.itemId === seen.item.itemId && entry.object);
      }
    }
    const finding = compareItem(set, tenant, seen);
    if (finding) yield finding;
  }
}

async function* pages<T>(read: (after: string) => T[], nameOf: (one: T) => string): AsyncGenerator<T> {
  for (let after = ''; ;) {
    const page = read(after);
    yield* page;
    const last = page.at(-1);
    if (page.length < PAGE || !last) return;
    after = nameOf(last);
  }
}
