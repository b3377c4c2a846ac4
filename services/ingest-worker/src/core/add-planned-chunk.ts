import type { HeldLease } from '@sightline/shared/ingestion/key-lease';
import { acceptsFailuresSetting } from '@sightline/shared/ingestion/failure-storms';
import { tellPause } from '@sightline/shared/ingestion/ingestion-events';
import type { Ingestion } from '@sightline/shared/ports/ledger';
import type { PlannedChunk } from './chunk-builder.ts';
import type { PlanDeps } from './plan-deps.ts';

/** An ingestion whose chunks are being made. */
export interface Planning {
  deps: PlanDeps;
  ingestion: Ingestion;
  traceId: string;
  signal: AbortSignal;
  /** Nobody else plans this ingestion while it is held. */
  lease: HeldLease;
  nextChunkNo: number;
  /** The ledger's, behind the last chunk that was added. */
  cursor: string | null;
  /** Chunks that may be added before the backlog is looked at again, and the fair place of the next. */
  allowance: { chunks: number; place: number };
}

/** Thrown to end a turn of planning where it stands: the next one goes on from the ledger's cursor. */
export class PlanningStops extends Error {}

/** The backlog is counted once for so many chunks at most: planners of one tenant beside each other overshoot by no more. */
const CHUNKS_A_LOOK = 16;
const BACKLOG_PAUSE_MS = 250;

export function planning(of: Omit<Planning, 'nextChunkNo' | 'cursor' | 'allowance'>): Planning {
  const { nextChunkNo, cursor } = of.ingestion;
  return { ...of, nextChunkNo, cursor, allowance: { chunks: 0, place: 0 } };
}

/**
 * Adds a chunk to the ledger, then to the queue. Of a dry run it is counted, and is not there. Throws PlanningStops when the
 * ingestion is held or over, when this chunk makes a storm of failures, and when enough is owed; with `waits` it waits for
 * that instead, for what would have to begin from its beginning. Error: `lease_lost` when another planner went on meanwhile.
 */
export async function addPlannedChunk(
  state: Planning,
  chunk: PlannedChunk | null,
  { waits = false }: { waits?: boolean } = {},
): Promise<void> {
  if (!chunk) return;
  const { deps, ingestion, traceId, signal } = state;
  const { tenant, ingestionId } = ingestion;
  await assertGoesOn(state);
  if (await isStorm(state, chunk)) throw new PlanningStops('a storm of failures');
  if (ingestion.dryRun) {
    await addToLedger(state, { ...chunk, entries: [] });
    return;
  }
  while (chunk.entries.length > 0 && state.allowance.chunks === 0) {
    const room = await deps.backlog.room(tenant);
    state.allowance = { chunks: Math.min(room.chunks, CHUNKS_A_LOOK), place: room.owed };
    if (room.chunks > 0) break;
    if (!waits) throw new PlanningStops('enough is owed');
    await deps.sleep(BACKLOG_PAUSE_MS, signal);
    await assertGoesOn(state);
  }
  const chunkNo = await addToLedger(state, chunk);
  if (chunk.entries.length === 0) return;
  await deps.enqueueChunk({ tenant, ingestionId, chunkNo }, { traceId, place: state.allowance.place });
  state.allowance.place += 1;
  state.allowance.chunks -= 1;
}

async function addToLedger(state: Planning, chunk: PlannedChunk): Promise<number> {
  const { deps, ingestion, lease } = state;
  lease.assertHeld();
  const chunkNo = state.nextChunkNo++;
  // A process that stands still right here for longer than its lease finds another cursor there.
  await deps.ledger.addChunk(ingestion.ingestionId, { ...chunk, chunkNo, after: state.cursor, at: deps.now() });
  state.cursor = chunk.cursor;
  return chunkNo;
}

async function assertGoesOn({ deps, ingestion, signal }: Planning): Promise<void> {
  signal.throwIfAborted();
  const now = await deps.ledger.getIngestion(ingestion.tenant, ingestion.ingestionId);
  const isActive = now && (now.status === 'planning' || now.status === 'running' || now.status === 'paused');
  if (!isActive || now.hold !== null) throw new PlanningStops('the ingestion is held or over');
}

/** What planning itself finds wrong can be a storm as well: a manifest of pictures that are not there. */
async function isStorm({ deps, ingestion, traceId }: Planning, { entries, failures }: PlannedChunk): Promise<boolean> {
  const { ingestionId } = ingestion;
  // A record without its pictures is there only because they are not.
  const settled = entries.filter(({ object, reconcile }) => object && !reconcile).length + failures.length;
  const reason = deps.storms.note(ingestionId, { settled, failed: failures.map(({ code }) => code) });
  if (reason === null || (await deps.ledger.getSetting(acceptsFailuresSetting(ingestionId))) !== null) return false;
  deps.logger.warn({ ingestionId, traceId, reason }, 'a storm of failures: the ingestion is held');
  await deps.ledger.setHold(ingestionId, 'failures', { reason, at: deps.now() });
  await tellPause(deps, ingestion, { service: 'ingest-worker', traceId, at: deps.now() });
  return true;
}
