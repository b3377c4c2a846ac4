import { totalsIn } from '@sightline/shared/contracts/dry-run';
import { acceptsFailuresSetting } from '@sightline/shared/ingestion/failure-storms';
import { tellEnd } from '@sightline/shared/ingestion/ingestion-events';
import { z } from 'zod';
import type { Ingestion } from '@sightline/shared/ports/ledger';
import { addPlannedChunk, type Planning } from './add-planned-chunk.ts';
import { estimateSeconds } from './dry-run-tally.ts';
import type { PlanDeps } from './plan-deps.ts';
import { reconcile } from './reconcile.ts';
import { writeReport } from './report.ts';

/**
 * What a pass drops can leave an item without its text, which the next pass finds and has written. More passes than this are
 * not of use: what still differs then, fails.
 */
const MAX_PASSES = 3;

/** The ledger's cursor once planning is over: in which pass reconciling is, or that it is done. */
const cursorSchema = z.strictObject({
  reconciling: z.int().nullable(),
  /** Which turn's pass it is, by its lease's version: what it found differs from what another's same pass found. */
  by: z.int().optional(),
});
const RECONCILED: z.infer<typeof cursorSchema> = { reconciling: null };

function passOf(cursor: string | null): number | null {
  const parsed = cursorSchema.safeParse(cursor === null ? null : JSON.parse(cursor));
  return parsed.success ? parsed.data.reconciling : 1;
}

/**
 * Ends an ingestion whose chunks are all done: what its place no longer has leaves the index, as chunks of its own, and when
 * those are done too its report is written and it is `completed`. A dry run is at once. Answers whether it is.
 */
export async function finishIngestion(state: Planning): Promise<boolean> {
  const { deps, ingestion } = state;
  const { ingestionId } = ingestion;
  const isDone = async (): Promise<boolean> => (await deps.ledger.countOutstandingChunks({ ingestionId })) === 0;
  if (!ingestion.planned || !(await isDone())) return false;
  if (ingestion.dryRun) {
    await estimate(state);
    return complete(state);
  }
  for (let pass = passOf(ingestion.cursor); pass !== null;) {
    const hasDropped = await reconcile(state, JSON.stringify({ reconciling: pass, by: state.lease.version }));
    const next = hasDropped && pass < MAX_PASSES ? { reconciling: pass + 1 } : RECONCILED;
    // Only now: a pass that died halfway begins again.
    await addPlannedChunk(state, { entries: [], failures: [], listed: 0, cursor: JSON.stringify(next) });
    pass = next.reconciling;
    // What it found is work for the encode workers; the sweep comes back when that is done.
    if (!(await isDone())) return false;
  }
  return complete(state);
}

async function complete({ deps, ingestion, traceId, signal, lease }: Planning): Promise<boolean> {
  const { tenant, ingestionId } = ingestion;
  const now = await deps.ledger.getIngestion(tenant, ingestionId);
  // Held or cancelled since: neither is completed.
  if (!now || now.hold || now.status === 'cancelled') return false;
  const at = deps.now();
  // Before it is said that all is over: whoever hears it finds the report.
  await writeReport(deps, { ...now, status: 'completed', reason: null, finishedAt: at } satisfies Ingestion, signal);
  // The report takes its time: looked at again. Whoever cancels while the event itself is sent has both told, `cancelled` last, as
  // the ledger has it: the event must be out before the status, or a death between the two would lose it.
  const then = await deps.ledger.getIngestion(tenant, ingestionId);
  if (then?.status === 'cancelled') await endCancelled(deps, then, traceId, signal);
  if (!then || then.hold || then.status === 'cancelled') return false;
  lease.assertHeld();
  await tellEnd(deps, now, { status: 'completed', reason: null }, { service: 'ingest-worker', traceId, at });
  await deps.ledger.putSetting(acceptsFailuresSetting(ingestionId), null);
  await deps.ledger.setStatus(ingestionId, ['planning', 'running', 'paused'], 'completed', { at });
  return true;
}

/** The report is what says that this was done. */
export async function endCancelled(deps: PlanDeps, ingestion: Ingestion, traceId: string, signal: AbortSignal): Promise<void> {
  const at = ingestion.finishedAt ?? deps.now();
  await tellEnd(deps, ingestion, { status: 'cancelled', reason: ingestion.reason }, { service: 'ingest-worker', traceId, at });
  await deps.ledger.putSetting(acceptsFailuresSetting(ingestion.ingestionId), null);
  await writeReport(deps, ingestion, signal);
}

/** How long it would take: with the totals, where they stand. */
async function estimate(state: Planning): Promise<void> {
  const { deps, ingestion } = state;
  const { listed, failed } = ingestion.counts;
  const totals = totalsIn(ingestion.cursor) ?? { bytes: 0, duplicates: null, seconds: null };
  if (totals.seconds !== null) return;
  const seconds = await estimateSeconds(deps.ledger, Math.max(0, listed - failed - (totals.duplicates ?? 0)), deps.now());
  const cursor = JSON.stringify({ dryRun: { ...totals, seconds } });
  await addPlannedChunk(state, { entries: [], failures: [], listed: 0, cursor });
}
