import { z } from 'zod';
import { sourcePlace, type SourcePlace } from '@sightline/shared/contracts/source-place';
import type { ChunkEntry, ChunkOutcome, Ingestion } from '@sightline/shared/ports/ledger';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { addPlannedChunk, type Planning } from './add-planned-chunk.ts';
import { ChunkBuilder } from './chunk-builder.ts';
import { findItemLines } from './item-lines.ts';
import { listPictures } from './list-pictures.ts';
import { mapAhead } from './map-ahead.ts';
import type { PlanDeps } from './plan-deps.ts';
import { readManifest, type ManifestRecord } from './read-manifest.ts';

const LINES_AHEAD = 16;
const MANIFEST_READINGS = 5;

const cursorSchema = z.union([
  /** A folder's or prefix's: the last key that is in a chunk. */
  z.strictObject({ after: z.string() }),
  /** A manifest's: `skip` of the line's finds are in chunks already. */
  z.strictObject({ eTag: z.string(), offset: z.int(), lineNo: z.int(), skip: z.int() }),
]);
type Cursor = z.infer<typeof cursorSchema>;

type PlacedPlanning = Planning & { place: SourcePlace };

/** The source's place, or why it is not taken. Errors: `source_not_allowed`, `source_not_found`. */
export function placeOf(ingestion: Ingestion): SourcePlace {
  if (ingestion.source.type === 'prefix') throw new SightlineError('source_not_allowed', 'Buckets and prefixes come with S3.');
  const place = sourcePlace(ingestion.source);
  if (!place) throw new SightlineError('source_not_found', 'An absolute path is expected.');
  return place;
}

/**
 * Lists a source from where the ledger's cursor stands and cuts it into chunks. Each chunk and the cursor behind it are one
 * step of the ledger, so a planner that dies anywhere goes on without a gap or a repetition; the queue may lack chunks that
 * the ledger has, and the sweep adds those.
 *
 * Errors: `source_not_found`, `source_not_allowed`, `object_changed` (a manifest that does not hold still), those of the ports.
 */
export async function planIngestion(deps: PlanDeps, ingestion: Ingestion, traceId: string, signal: AbortSignal): Promise<void> {
  const place = placeOf(ingestion);
  const planning: PlacedPlanning = { deps, ingestion, place, traceId, signal, nextChunkNo: ingestion.nextChunkNo };
  const cursor = ingestion.cursor === null ? null : cursorSchema.parse(JSON.parse(ingestion.cursor));
  if (place.manifestKey === null) await planPictures(planning, cursor);
  else await planManifest(planning, cursor);
  await deps.ledger.finishPlanning(ingestion.ingestionId);
}

async function planPictures(planning: PlacedPlanning, cursor: Cursor | null): Promise<void> {
  const chunk = new ChunkBuilder();
  const startAfter = cursor && 'after' in cursor ? cursor.after : undefined;
  for await (const { bucket, key, eTag, sizeBytes } of listPictures(planning.deps.store, planning.place, {
    startAfter,
    signal: planning.signal,
  })) {
    chunk.addEntry({ object: { bucket, key, eTag, sizeBytes } }, writeCursor({ after: key }));
    if (chunk.isFull) await addPlannedChunk(planning, chunk.take());
  }
  await addPlannedChunk(planning, chunk.take());
}

async function planManifest(planning: PlacedPlanning, cursor: Cursor | null): Promise<void> {
  const { deps, place, ingestion } = planning;
  let resume = cursor && 'eTag' in cursor ? cursor : null;
  for (let reading = 1; ; reading++) {
    try {
      return await planLines(planning, resume);
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

async function planLines(planning: PlacedPlanning, resume: Extract<Cursor, { eTag: string }> | null): Promise<void> {
  const { deps, place, ingestion, signal } = planning;
  const lines = deps.openItemLines();
  try {
    const { eTag, overruled } = await findItemLines(deps.store, place, lines, { ifMatch: resume?.eTag, signal });
    if (overruled > 0) {
      deps.logger.warn(
        { ingestionId: ingestion.ingestionId, overruled },
        'lines repeat an item_id: the last line of each counts',
      );
    }
    const { records } = await readManifest(deps.store, place, { from: resume ?? undefined, ifMatch: eTag, signal });
    const chunk = new ChunkBuilder();
    for await (const { line, finds } of mapAhead(records, LINES_AHEAD, async (line) => ({
      line,
      finds: await look(planning, line, lines.lineOf),
    }))) {
      const done = resume?.offset === line.offset ? resume.skip : 0;
      for (const [position, find] of finds.entries()) {
        if (position < done) continue;
        const isLast = position === finds.length - 1;
        const next = isLast
          ? { eTag, offset: line.nextOffset, lineNo: line.lineNo + 1, skip: 0 }
          : { eTag, offset: line.offset, lineNo: line.lineNo, skip: position + 1 };
        if ('failure' in find) chunk.addFailures([find.failure], writeCursor(next));
        else chunk.addEntry(find.entry, writeCursor(next));
        if (chunk.isFull) await addPlannedChunk(planning, chunk.take());
      }
    }
    await addPlannedChunk(planning, chunk.take());
  } finally {
    lines.close();
  }
}

type Find = { entry: ChunkEntry } | { failure: ChunkOutcome['failures'][number] };

/** What a line brings, always in the same order: a cursor counts within it. */
async function look(
  { deps, place }: PlacedPlanning,
  line: ManifestRecord,
  lineOf: (itemId: string) => number | null,
): Promise<Find[]> {
  const { record } = line;
  const finds: Find[] = line.failures.map((failure) => ({ failure }));
  if (!record || lineOf(record.itemId) !== line.lineNo) return finds;
  const pictures = await Promise.all(
    record.pictures.map(async (picture): Promise<Find> => {
      try {
        const info = await deps.store.head(picture);
        if (!info) throw new SightlineError('object_not_found', `${place.manifestKey}:${line.lineNo} names it.`);
        return { entry: { object: { ...picture, eTag: info.eTag, sizeBytes: info.sizeBytes }, record } };
      } catch (error) {
        if (!(error instanceof SightlineError) || error.retryable) throw error;
        return { failure: { key: picture.key, code: error.code, reason: error.message } };
      }
    }),
  );
  finds.push(...pictures);
  // The text is worth finding also when none of its pictures is there.
  if (!pictures.some((find) => 'entry' in find)) finds.push({ entry: { record } });
  return finds;
}

function writeCursor(cursor: Cursor): string {
  return JSON.stringify(cursor);
}
