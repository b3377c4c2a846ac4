import type { Ingestion } from '@sightline/shared/ports/ledger';
import type { PlannedChunk } from './chunk-builder.ts';
import type { PlanDeps } from './plan-deps.ts';

/** An ingestion whose chunks are being made. */
export interface Planning {
  deps: PlanDeps;
  ingestion: Ingestion;
  traceId: string;
  signal: AbortSignal;
  nextChunkNo: number;
}

const BACKLOG_PAUSE_MS = 250;

/** Adds a chunk to the ledger, then to the queue; waits while too much is owed. Of a dry run it is counted, and is not there. */
export async function addPlannedChunk(planning: Planning, chunk: PlannedChunk | null): Promise<void> {
  if (!chunk) return;
  const { deps, ingestion, traceId, signal } = planning;
  const { tenant, ingestionId } = ingestion;
  signal.throwIfAborted();
  if (ingestion.dryRun) {
    const counted = { ...chunk, entries: [], chunkNo: planning.nextChunkNo++, at: deps.now() };
    return deps.ledger.addChunk(ingestionId, counted);
  }
  while ((await deps.ledger.countOutstandingChunks()) >= deps.highWaterChunks) await deps.sleep(BACKLOG_PAUSE_MS, signal);
  const chunkNo = planning.nextChunkNo++;
  await deps.ledger.addChunk(ingestionId, { ...chunk, chunkNo, at: deps.now() });
  if (chunk.entries.length > 0) await deps.enqueueChunk({ tenant, ingestionId, chunkNo }, traceId);
}
