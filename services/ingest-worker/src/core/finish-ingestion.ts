import { z } from 'zod';
import type { Ingestion } from '@sightline/shared/ports/ledger';
import { addPlannedChunk, type Planning } from './add-planned-chunk.ts';
import { ChunkBuilder } from './chunk-builder.ts';
import { compareItem, comparePoint, type Finding } from './compare-point.ts';
import { dropRemovedItems } from './drop-removed-items.ts';
import { expectSources, type Expectation } from './expect-sources.ts';
import type { ExpectedSet } from './expected-set.ts';
import type { PlanDeps } from './plan-deps.ts';
import { placeOf } from './plan-ingestion.ts';

const PAGE = 500;
/**
 * What a pass drops can leave an item without its text, which the next pass finds and has written. More passes than this are
 * not of use: what still differs then, fails.
 */
const MAX_PASSES = 3;

/** The ledger's cursor once planning is over: in which pass reconciling is, or that it is done. */
const cursorSchema = z.strictObject({ reconciling: z.int().nullable() });
const RECONCILED: z.infer<typeof cursorSchema> = { reconciling: null };

function passOf(cursor: string | null): number | null {
  const parsed = cursorSchema.safeParse(cursor === null ? null : JSON.parse(cursor));
  return parsed.success ? parsed.data.reconciling : 1;
}

/**
 * Ends an ingestion whose chunks are all done: what the sources no longer have leaves the index, as chunks of its own, and
 * when those are done too the ingestion is `completed`. A dry run is at once. Answers whether it is.
 */
export async function finishIngestion(
  deps: PlanDeps,
  ingestion: Ingestion,
  traceId: string,
  signal: AbortSignal,
): Promise<boolean> {
  const { ingestionId } = ingestion;
  const isDone = async (): Promise<boolean> => (await deps.ledger.countOutstandingChunks(ingestionId)) === 0;
  if (!ingestion.planned || !(await isDone())) return false;
  if (ingestion.dryRun) {
    await deps.ledger.setStatus(ingestionId, ['planning', 'running', 'paused'], 'completed', { at: deps.now() });
    return true;
  }
  const planning: Planning = { deps, ingestion, traceId, signal, nextChunkNo: ingestion.nextChunkNo };
  for (let pass = passOf(ingestion.cursor); pass !== null;) {
    pass = await reconcile(planning, pass);
    // What it found is work for the encode workers; the sweep comes back when that is done.
    if (!(await isDone())) return false;
  }
  await deps.ledger.setStatus(ingestionId, ['planning', 'running', 'paused'], 'completed', { at: deps.now() });
  return true;
}

/**
 * Compares the index with all sources that share this ingestion's bucket, and all items, and drives what differs. Answers the
 * next pass, or null when there is nothing to look at again.
 */
async function reconcile(planning: Planning, pass: number): Promise<number | null> {
  const { deps, ingestion, signal } = planning;
  const { bucket } = placeOf(ingestion);
  const set = deps.openExpectedSet();
  let hasDropped = false;
  try {
    const expectation = await expectSources(deps, ingestion.tenant, set, { onlyBucket: bucket, withETags: true, signal });
    await dropRemovedItems(deps.index, ingestion.tenant, set, signal);
    const chunk = new ChunkBuilder();
    for await (const { entry } of differences(planning, set, expectation, bucket)) {
      if (!entry) continue;
      hasDropped ||= entry.reconcile !== 'write';
      chunk.addEntry(entry, JSON.stringify({ reconciling: pass }));
      if (chunk.isFull) await addPlannedChunk(planning, chunk.take());
    }
    await addPlannedChunk(planning, chunk.take());
  } finally {
    set.close();
  }
  const next = hasDropped && pass < MAX_PASSES ? { reconciling: pass + 1 } : RECONCILED;
  // Only now: a pass that died halfway begins again.
  await addPlannedChunk(planning, { entries: [], failures: [], listed: 0, cursor: JSON.stringify(next) });
  return next.reconciling;
}

async function* differences(
  { deps, ingestion, signal }: Planning,
  set: ExpectedSet,
  { unreadable, listedBuckets }: Expectation,
  bucket: string,
): AsyncGenerator<Finding> {
  for (const { place, error } of unreadable) {
    deps.logger.warn({ ingestionId: ingestion.ingestionId, place, code: error.code }, 'a known source cannot be read');
  }
  const isBucketKnown = unreadable.every(({ place }) => place.bucket !== bucket);
  const areItemsKnown = unreadable.every(({ place }) => place.manifestKey === null);
  const isWanted = ({ entry }: Finding): boolean => {
    // What another source may still have is not taken away while that source cannot be read.
    if (entry?.reconcile === 'write') return true;
    return entry?.record ? areItemsKnown : isBucketKnown;
  };
  for (let after: string | undefined; ;) {
    signal.throwIfAborted();
    const page = await deps.index.scan(ingestion.tenant, { after, limit: PAGE });
    for (const point of page) {
      if (point.kind === 'picture' && point.object?.bucket !== bucket) {
        // Another bucket's pictures were not listed: only their showing up counts, for the items that name them.
        set.markSeen(point.assetId, point.deleted ? (point.deletedBecause === 'removed' ? 'removed' : 'down') : 'live');
        for (const { itemId, text } of point.records) set.addFirstPassage(itemId, text);
        continue;
      }
      yield* comparePoint(set, point, { spec: null, isListed: (name) => listedBuckets.has(name) }).findings.filter(isWanted);
    }
    after = page.at(-1)?.assetId;
    if (page.length < PAGE || after === undefined) break;
  }
  for (let after = ''; ;) {
    const page = set.items(after, PAGE);
    for (const seen of page) {
      const difference = compareItem(set, ingestion.tenant, seen);
      if (difference) yield difference;
    }
    const last = page.at(-1);
    if (page.length < PAGE || !last) return;
    after = last.item.itemId;
  }
}
