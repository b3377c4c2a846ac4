import type { JobData } from '@sightline/shared/contracts/jobs';
import { planLockKey } from '@sightline/shared/contracts/ids';
import { overlaps, sourcePlace } from '@sightline/shared/contracts/source-place';
import { acceptsFailuresSetting } from '@sightline/shared/ingestion/failure-storms';
import { tellEnd, tellPause } from '@sightline/shared/ingestion/ingestion-events';
import { withFreeKey, type HeldLease } from '@sightline/shared/ingestion/key-lease';
import type { Ingestion, IngestionStatus } from '@sightline/shared/ports/ledger';
import { reasonFor, toSightlineError } from '@sightline/shared/runtime/errors';
import { planning, PlanningStops } from './add-planned-chunk.ts';
import { endCancelled, finishIngestion } from './finish-ingestion.ts';
import type { PlanDeps } from './plan-deps.ts';
import { planIngestion } from './plan-ingestion.ts';
import { hasReport, writeReport } from './report.ts';

const ACTIVE: IngestionStatus[] = ['planning', 'running', 'paused'];
const REDRIVE_LIMIT = 10_000;
/** Older failures of a tenant have been worked off long ago. */
const FAILED_LOOKED_AT = 100;

/**
 * One step of an ingestion: waits for an older one of an overlapping place, else plans, else finishes. Doing it twice is doing it
 * once, and only one does it at a time. Planning that has to wait for its backlog ends the step: the sweep begins the next when
 * there is room. Retryable errors are thrown while there are attempts left; after them the ingestion is `paused` with the reason
 * and the sweep tries again later. Permanent ones make it `failed`. Of one that was cancelled it writes the report.
 */
export async function advanceIngestion(
  deps: PlanDeps,
  job: JobData<'plan'>,
  { lastAttempt, signal }: { lastAttempt: boolean; signal: AbortSignal },
): Promise<void> {
  const { tenant, ingestionId, traceId } = job;
  if (job.redrive) return redrive(deps, job, signal);
  const seen = await deps.ledger.getIngestion(tenant, ingestionId);
  if (seen?.status === 'cancelled' && !(await hasReport(deps, seen))) return endCancelled(deps, seen, traceId, signal);
  await withFreeKey(deps, planLockKey(ingestionId), { ttlMs: deps.leaseTtlMs }, async (lease) => {
    // Read under the lease: another's cursor must not be planned from.
    const ingestion = await deps.ledger.getIngestion(tenant, ingestionId);
    if (!ingestion || !ACTIVE.includes(ingestion.status) || ingestion.hold) return;
    try {
      await advance(deps, ingestion, traceId, lease, signal);
    } catch (thrown) {
      if (thrown instanceof PlanningStops) return;
      if (signal.aborted) throw thrown;
      const error = toSightlineError(thrown);
      // Another plans it: that it is held up is not for this one to say. The next turn goes on from the ledger's cursor.
      if (error.code === 'lease_lost' || (error.retryable && !lastAttempt)) throw error;
      deps.logger.error({ err: error, ingestionId, traceId }, 'ingestion held up');
      const reason = reasonFor(error);
      if (error.retryable) await pause(deps, ingestion, reason, traceId);
      else await fail(deps, ingestion, reason, traceId, signal);
    }
  });
}

async function advance(
  deps: PlanDeps,
  ingestion: Ingestion,
  traceId: string,
  lease: HeldLease,
  signal: AbortSignal,
): Promise<void> {
  const { tenant, ingestionId } = ingestion;
  if (!ingestion.planned) {
    const older = await olderOfSamePlace(deps, ingestion);
    if (older) return note(deps, ingestion, `waits for ingestion ${older.ingestionId} of the same place${older.hold ? ', which is paused' : ''}`); // prettier-ignore
    if (!ingestion.dryRun && !(await deps.backlog.mayGoOn(tenant))) return;
    if (ingestion.status === 'paused' || ingestion.reason !== null) {
      await deps.ledger.setStatus(ingestionId, ['paused', 'planning'], 'planning', { at: deps.now() });
    }
    await planIngestion(planning({ deps, ingestion, traceId, lease, signal }));
  }
  await deps.ledger.setStatus(ingestionId, ['planning', 'paused'], 'running', { at: deps.now() });
  const planned = await deps.ledger.getIngestion(tenant, ingestionId);
  if (planned) await finishIngestion(planning({ deps, ingestion: planned, traceId, lease, signal }));
}

/** Adds what is owed to the queue at once: when it was handed back unworked its jobs are gone, and the sweep takes its time. */
async function redrive(deps: PlanDeps, { ingestionId, traceId }: JobData<'plan'>, signal: AbortSignal): Promise<void> {
  const owed = await deps.ledger.outstandingChunks({ ingestionId, limit: REDRIVE_LIMIT });
  for (const [place, { tenant, chunkNo }] of owed.entries()) {
    signal.throwIfAborted();
    await deps.enqueueChunk({ tenant, ingestionId, chunkNo }, { traceId, place });
  }
}

async function pause(deps: PlanDeps, ingestion: Ingestion, reason: string, traceId: string): Promise<void> {
  const at = deps.now();
  await deps.ledger.setStatus(ingestion.ingestionId, ACTIVE, 'paused', { reason, at });
  if (ingestion.status === 'paused') return;
  await tellPause(deps, ingestion, { service: 'ingest-worker', traceId, at });
}

async function fail(deps: PlanDeps, ingestion: Ingestion, reason: string, traceId: string, signal: AbortSignal): Promise<void> {
  const { ingestionId, tenant } = ingestion;
  const present = (await deps.ledger.getIngestion(tenant, ingestionId)) ?? ingestion;
  if (!ACTIVE.includes(present.status)) return;
  await tellEnd(deps, present, { status: 'failed', reason }, { service: 'ingest-worker', traceId, at: deps.now() });
  await deps.ledger.putSetting(acceptsFailuresSetting(ingestionId), null);
  if (!(await deps.ledger.setStatus(ingestionId, ACTIVE, 'failed', { reason, at: deps.now() }))) return;
  const failed = await deps.ledger.getIngestion(tenant, ingestionId);
  // Why it failed stands in the ledger; a store that takes no report must not hide it.
  if (failed) {
    await writeReport(deps, failed, signal).catch((error: unknown) => {
      deps.logger.warn({ err: error, ingestionId }, 'no report was written');
    });
  }
}

/**
 * Ingestions whose places overlap go one after the other: a record of an older reading must not come after one of a newer, and
 * what one ingestion finds gone must not be what another just brings. Two of the same source do the work once, the second finds
 * everything unchanged. One that failed while it was planned may still owe chunks: they are waited for too. Others run side by side.
 */
async function olderOfSamePlace({ ledger }: PlanDeps, ingestion: Ingestion): Promise<Ingestion | undefined> {
  // It writes nothing: nobody waits for it, and it waits for nobody.
  if (ingestion.dryRun) return undefined;
  const place = sourcePlace(ingestion.source);
  if (!place) return undefined;
  const active = await ledger.listIngestions(ingestion.tenant, { statuses: ACTIVE, limit: 1_000 });
  const mine = active.findIndex(({ ingestionId }) => ingestionId === ingestion.ingestionId);
  const isOfPlace = (other: Ingestion): boolean => {
    const its = sourcePlace(other.source);
    return !other.dryRun && its !== null && overlaps(place, its);
  };
  // Newest first: what stands behind it is older.
  const older = mine === -1 ? undefined : active.slice(mine + 1).find(isOfPlace);
  if (older) return older;
  const failed = await ledger.listIngestions(ingestion.tenant, { statuses: ['failed'], limit: FAILED_LOOKED_AT });
  for (const other of failed.filter(isOfPlace)) {
    if ((await ledger.countOutstandingChunks({ ingestionId: other.ingestionId })) > 0) return other;
  }
  return undefined;
}

async function note({ ledger, now }: PlanDeps, ingestion: Ingestion, reason: string): Promise<void> {
  if (ingestion.reason === reason) return;
  await ledger.setStatus(ingestion.ingestionId, ['planning'], 'planning', { reason, at: now() });
}
