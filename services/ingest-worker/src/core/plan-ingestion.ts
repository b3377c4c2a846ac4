import { sourcePlace, type SourcePlace } from '@sightline/shared/contracts/source-place';
import { mapAhead } from '@sightline/shared/ingestion/map-ahead';
import type { ChunkEntry, ChunkOutcome, Ingestion } from '@sightline/shared/ports/ledger';
import { failureReasonFor, SightlineError } from '@sightline/shared/runtime/errors';
import { addPlannedChunk, PlanningStops, type Planning } from './add-planned-chunk.ts';
import { ChunkBuilder } from './chunk-builder.ts';
import { DryRunTally } from './dry-run-tally.ts';
import { findItemLines, type ItemLines } from './item-lines.ts';
import { listPictures } from './list-pictures.ts';
import { readPlanCursor, writePlanCursor, type LinesCursor, type PlanCursor } from './plan-cursor.ts';
import { readManifest, type ManifestRecord } from './read-manifest.ts';
import { FailedFinds, retryObjects } from './retry-failures.ts';

const LINES_AHEAD = 16;
const MANIFEST_READINGS = 5;

export type PlacedPlanning = Planning & { place: SourcePlace };

/** The source's place. Errors: `source_not_found`. */
export function placeOf(ingestion: Ingestion): SourcePlace {
  const place = sourcePlace(ingestion.source);
  if (!place) throw new SightlineError('source_not_found', 'An absolute path, or s3://bucket/key, is expected.');
  return place;
}

/**
 * Lists a source from where the ledger's cursor stands and cuts it into chunks. Each chunk and the cursor behind it are one
 * step of the ledger, so a planner that dies anywhere goes on without a gap or a repetition; the queue may lack chunks that
 * the ledger has, and the sweep adds those. Throws PlanningStops where it has to stand still for a while.
 *
 * Errors: `source_not_found`, `object_changed` (a manifest that does not hold still), those of the ports.
 */
export async function planIngestion(state: Planning): Promise<void> {
  const { deps, ingestion } = state;
  const place = placeOf(ingestion);
  const placed: PlacedPlanning = { ...state, place };
  const cursor = readPlanCursor(ingestion.cursor);
  if (cursor && 'retry' in cursor && place.manifestKey === null) await retryObjects(placed, cursor);
  else if (place.manifestKey === null) await planPictures(placed, cursor);
  else await planManifest(placed, cursor);
  await deps.ledger.finishPlanning(ingestion.ingestionId);
}

async function planPictures(state: PlacedPlanning, cursor: PlanCursor | null): Promise<void> {
  const { deps, place, signal, ingestion } = state;
  const chunk = new ChunkBuilder(deps.chunkEntries);
  const tally = ingestion.dryRun ? DryRunTally.open(deps.openItemLines, place, ingestion.cursor) : null;
  const startAfter = cursor && 'after' in cursor ? cursor.after : undefined;
  try {
    for await (const { bucket, key, eTag, sizeBytes } of listPictures(deps.store, place, { startAfter, signal })) {
      tally?.count({ eTag, sizeBytes });
      chunk.addEntry({ object: { bucket, key, eTag, sizeBytes } }, writePlanCursor({ after: key }, tally));
      if (chunk.isFull) await addPlannedChunk(state, chunk.take());
    }
    await addPlannedChunk(state, chunk.take());
  } finally {
    tally?.close();
  }
}

async function planManifest(state: PlacedPlanning, cursor: PlanCursor | null): Promise<void> {
  const { deps, place, ingestion } = state;
  const retry = cursor !== null && 'retry' in cursor;
  let resume = cursor && 'retry' in cursor ? cursor.retry.lines : cursor && 'eTag' in cursor ? cursor : null;
  for (let reading = 1; ; reading++) {
    try {
      return await planLines(state, resume, retry);
    } catch (error) {
      const code = error instanceof SightlineError ? error.code : null;
      if (code === 'object_not_found')
        throw new SightlineError('source_not_found', 'There is no such manifest.', { cause: error });
      if (code !== 'object_changed' || reading === MANIFEST_READINGS) throw error;
      deps.logger.warn({ ingestionId: ingestion.ingestionId, manifest: place.manifestKey }, 'manifest changed, reading it again');
      resume = null;
    }
  }
}

async function planLines(state: PlacedPlanning, resume: LinesCursor | null, retry: boolean): Promise<void> {
  const { deps, place, ingestion, signal } = state;
  const { ingestionId } = ingestion;
  const { lines, eTag } = await itemLines(state, resume?.eTag);
  const failed = retry ? await FailedFinds.read(deps, ingestionId) : null;
  const tally = ingestion.dryRun ? DryRunTally.open(deps.openItemLines, place, ingestion.cursor) : null;
  let isKept = false;
  try {
    const { records } = await readManifest(deps.store, place, { from: resume ?? undefined, ifMatch: eTag, signal });
    const chunk = new ChunkBuilder(deps.chunkEntries);
    for await (const { line, finds } of mapAhead(records, LINES_AHEAD, async (line) => ({
      line,
      finds: await look(state, line, lines.lineOf, failed),
    }))) {
      const done = resume?.offset === line.offset ? resume.skip : 0;
      for (const [position, find] of finds.entries()) {
        if (position < done) continue;
        const isLast = position === finds.length - 1;
        const next: LinesCursor = isLast
          ? { eTag, offset: line.nextOffset, lineNo: line.lineNo + 1, skip: 0 }
          : // What a retry has taken is off the ledger's list: the line brings the rest of itself.
            { eTag, offset: line.offset, lineNo: line.lineNo, skip: retry ? 0 : position + 1 };
        if ('entry' in find && find.entry.object) tally?.count(find.entry.object);
        const cursor = writePlanCursor(retry ? { retry: { lines: next } } : next, tally);
        if (find.retried) chunk.addRetried(find.retried);
        if ('failure' in find) chunk.addFailures([find.failure], cursor);
        else chunk.addEntry(find.entry, cursor);
        if (chunk.isFull) await addPlannedChunk(state, chunk.take());
      }
    }
    await addPlannedChunk(state, chunk.take());
  } catch (error) {
    // It goes on in a moment: what was learned of the manifest is of use then.
    isKept = error instanceof PlanningStops;
    throw error;
  } finally {
    tally?.close();
    failed?.close();
    if (isKept) deps.keptLines.keep(ingestionId, { eTag, lines });
    else lines.close();
  }
}

/** Which line speaks for each item, as it was learned before, or from a reading of the whole manifest. */
async function itemLines(
  { deps, place, ingestion: { ingestionId }, signal }: PlacedPlanning,
  ifMatch: string | undefined,
): Promise<{ lines: ItemLines; eTag: string }> {
  const known = deps.keptLines.take(ingestionId);
  if (known && known.eTag === ifMatch) return known;
  known?.lines.close();
  const lines = deps.openItemLines();
  try {
    const { eTag, overruled } = await findItemLines(deps.store, place, lines, { ifMatch, signal });
    if (overruled > 0) deps.logger.warn({ ingestionId, overruled }, 'lines repeat an item_id: the last line of each counts');
    return { lines, eTag };
  } catch (error) {
    lines.close();
    throw error;
  }
}

export type Find = ({ entry: ChunkEntry } | { failure: ChunkOutcome['failures'][number] }) & {
  /** Failures that this find tries again. */
  retried?: string[];
};

/** What a line brings, always in the same order: a cursor counts within it. Of a retry only what failed. */
async function look(
  state: PlacedPlanning,
  line: ManifestRecord,
  lineOf: (itemId: string) => number | null,
  failed: FailedFinds | null,
): Promise<Find[]> {
  const { deps, place } = state;
  const { record } = line;
  const lineKey = `${place.manifestKey}:${line.lineNo}`;
  const finds: Find[] = line.failures.map((failure) => ({ failure }));
  const isSpeaking = record !== null && lineOf(record.itemId) === line.lineNo;
  if (failed && !failed.concerns(line, lineKey)) return [];
  if (!isSpeaking) return failed ? failed.keepOnly(finds, lineKey) : finds;
  const pictures = await Promise.all(
    record.pictures.map(async (picture): Promise<Find> => {
      try {
        const info = await deps.store.head(picture);
        if (!info) throw new SightlineError('object_not_found', `${lineKey} names it.`);
        return { entry: { object: { ...picture, eTag: info.eTag, sizeBytes: info.sizeBytes }, record } };
      } catch (error) {
        if (!(error instanceof SightlineError) || error.retryable) throw error;
        return { failure: { key: picture.key, code: error.code, reason: failureReasonFor(error) } };
      }
    }),
  );
  finds.push(...pictures);
  // The text is worth finding also when none of its pictures is there.
  if (!pictures.some((find) => 'entry' in find)) finds.push({ entry: { record } });
  return failed ? failed.keepOnly(finds, lineKey) : finds;
}
