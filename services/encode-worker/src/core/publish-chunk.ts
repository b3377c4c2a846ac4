import { passageAssetId } from '@sightline/shared/contracts/ids';
import type { SightlineEvent } from '@sightline/shared/contracts/events';
import { eventOfFailure, eventOfPoint, type EventContext, type FailedAsset } from '@sightline/shared/ingestion/asset-events';
import type { AssetPoint } from '@sightline/shared/ports/vector-index';
import { failureReasonFor } from '@sightline/shared/runtime/errors';
import type { ChunkWork, Failing } from './chunk-work.ts';
import type { ChunkDeps } from './encode-deps.ts';

/** A worker's clock may be so far behind the planner's; too wide a margin only tells again what was told. */
const CLOCK_SKEW_MS = 5_000;
const FURTHER_PASSAGES = 16;

/** Who tells what became of some assets, and after what. */
export interface Telling {
  tenant: string;
  traceId: string;
  /** Null where changes were told of. */
  ingestionId: string | null;
  /** Points that were written since (Unix milliseconds) may have been written by an attempt that did not live to tell. */
  since: number;
  /** Tells one giving up of an asset from another. */
  occasionOf: (assetId: string) => number;
  /** When its source says that an asset was written, in Unix milliseconds; null where that is not known. */
  changedAtOf: (assetId: string) => number | null;
  /** Whether a failure is the last word; what is tried again is not told of. */
  isGivenUp: (failing: Failing, assetId: string) => boolean;
}

/**
 * Tells what became of assets, in one publish, after they were written and before the ledger forgets that they are owed.
 * What is told is read from the index: what this attempt wrote, and what was written since they were first due, because an
 * earlier attempt may have written it and died. That may be told twice, always with the same id. Errors: `events_unavailable`,
 * those of the index; then they stay owed and are told again.
 */
export async function publishChunk(deps: ChunkDeps, work: ChunkWork, telling: Telling): Promise<void> {
  const { tenant, ingestionId, traceId } = telling;
  const context: EventContext = { service: 'encode-worker', tenant, traceId, ingestionId };
  const isFresh = (point: AssetPoint): boolean =>
    deps.written.has(point.assetId) || point.indexedAt >= telling.since - CLOCK_SKEW_MS;
  const now = deps.now();
  const events: SightlineEvent[] = failedAssets(tenant, work, telling.isGivenUp).map((failed) =>
    eventOfFailure(failed, telling.occasionOf(failed.assetId), now, context),
  );
  const ids = new Set([...deps.written, ...work.pictures.keys(), ...passageIds(deps, tenant, work)]);
  const points = await deps.index.get(tenant, [...ids]);
  await addFurtherPassages(deps, tenant, work, points, isFresh);
  for (const point of points.values()) {
    if (isFresh(point)) events.push(eventOfPoint(point, deps.index.spec, context, telling.changedAtOf(point.assetId)));
  }
  if (events.length > 0) await deps.events.publish(events);
}

/** Of each item the passages that it has, and the one after: where that was taken off, so may be more. */
function* passageIds(deps: ChunkDeps, tenant: string, work: ChunkWork): Generator<string> {
  for (const item of work.items.values()) {
    const end = passageEnd(deps, item);
    for (let passageNo = 0; passageNo <= end; passageNo++) yield passageAssetId(tenant, item.record.itemId, passageNo);
  }
}

function passageEnd(deps: ChunkDeps, { drop, record }: { drop: boolean; record: { text: string } }): number {
  return drop ? 0 : Math.max(1, deps.passagesOf(record.text).length);
}

/** What an earlier attempt took off is no longer found by its item; passages are numbered without a gap. */
async function addFurtherPassages(
  deps: ChunkDeps,
  tenant: string,
  work: ChunkWork,
  points: Map<string, AssetPoint>,
  isFresh: (point: AssetPoint) => boolean,
): Promise<void> {
  for (const item of work.items.values()) {
    const { itemId } = item.record;
    for (let last = passageEnd(deps, item); ; last += FURTHER_PASSAGES) {
      const point = points.get(passageAssetId(tenant, itemId, last));
      // Passage 0 is missing where a picture carries it.
      if (last > 0 && !(point?.deleted && isFresh(point))) break;
      const further = Array.from({ length: FURTHER_PASSAGES }, (_, i) => passageAssetId(tenant, itemId, last + 1 + i));
      for (const [assetId, found] of await deps.index.get(tenant, further)) points.set(assetId, found);
    }
  }
}

/** What the ledger counts as failed. */
function failedAssets(tenant: string, work: ChunkWork, isGivenUp: Telling['isGivenUp']): FailedAsset[] {
  const failed: FailedAsset[] = [];
  for (const { assetId, object, records, reconcile, failure } of work.pictures.values()) {
    if (!failure || (reconcile && reconcile !== 'look') || !isGivenUp(failure, assetId)) continue;
    const { code } = failure.error;
    const reason = failureReasonFor(failure.error);
    const itemIds = records.map(({ itemId }) => itemId);
    const { bucket, key } = object;
    failed.push({ assetId, kind: 'picture', object: { bucket, key, eTag: failure.eTag ?? null }, itemIds, code, reason });
  }
  for (const { record, drop, failure } of work.items.values()) {
    const { itemId } = record;
    const assetId = passageAssetId(tenant, itemId, 0);
    if (!failure || drop || !isGivenUp(failure, assetId)) continue;
    const { code } = failure.error;
    const reason = failureReasonFor(failure.error);
    failed.push({ assetId, kind: 'passage', object: null, itemIds: [itemId], code, reason });
  }
  return failed;
}
