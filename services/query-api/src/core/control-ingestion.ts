import { newId } from '@sightline/shared/contracts/ids';
import { isRetryCursor, RETRY_CURSOR } from '@sightline/shared/contracts/ingestion-control';
import { acceptsFailuresSetting } from '@sightline/shared/ingestion/failure-storms';
import { tellPause } from '@sightline/shared/ingestion/ingestion-events';
import type { EventLog } from '@sightline/shared/ports/event-log';
import type { Ingestion, IngestionStatus, Ledger } from '@sightline/shared/ports/ledger';
import type { QueueEngine } from '@sightline/shared/ports/queue-engine';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { Logger } from 'pino';
import { assertMayBegin } from './active-ingestions.ts';

export interface ControlIngestionDeps {
  ledger: Ledger;
  events: EventLog;
  logger: Logger;
  queue: Pick<QueueEngine, 'add'>;
  /** Unix milliseconds. */
  now: () => number;
}

const ACTIVE: IngestionStatus[] = ['planning', 'running', 'paused'];

/**
 * What can be done to an ingestion, each twice being once. Each answers the ingestion as it is then, and whether anything changed.
 * Errors: `ingestion_state` for what cannot be, `too_many_ingestions` of a retry.
 */
export interface Controlled {
  ingestion: Ingestion;
  changed: boolean;
}

/** Planning stops at its next chunk, chunks that wait are not worked; those that run are finished. */
export async function pauseIngestion(
  deps: ControlIngestionDeps,
  ingestion: Ingestion,
  { traceId }: { traceId: string },
): Promise<Controlled> {
  const { ledger, now } = deps;
  assertActive(ingestion, 'paused');
  const changed = await ledger.setHold(ingestion.ingestionId, 'user', { reason: 'Paused by request.', at: now() });
  if (changed) await tellPause(deps, ingestion, { service: 'query-api', traceId, at: now() });
  return answer(ledger, ingestion, changed);
}

/** Goes on where it stopped, at once. `acceptFailures`: a storm of failures no longer pauses it. */
export async function resumeIngestion(
  { ledger, queue, now }: ControlIngestionDeps,
  ingestion: Ingestion,
  { acceptFailures, traceId }: { acceptFailures: boolean; traceId: string },
): Promise<Controlled> {
  assertActive(ingestion, 'resumed');
  const { tenant, ingestionId } = ingestion;
  if (acceptFailures) await ledger.putSetting(acceptsFailuresSetting(ingestionId), new Date(now()).toISOString());
  const changed = await ledger.setHold(ingestionId, null, { at: now() });
  // Also when nothing changed: who resumed it before may have died here. The sweep would do both, later.
  await queue.add('plan', { tenant, ingestionId, traceId, redrive: true }, { lane: 'event', jobId: `redrive-${ingestionId}` });
  await queue.add('plan', { tenant, ingestionId, traceId }, { lane: 'event', jobId: `plan-${ingestionId}` });
  return answer(ledger, ingestion, changed);
}

/** What is owed is dropped; what is indexed stays, and nothing is taken off. */
export async function cancelIngestion(
  { ledger, queue, now }: ControlIngestionDeps,
  ingestion: Ingestion,
  { traceId }: { traceId: string },
): Promise<Controlled> {
  const { tenant, ingestionId } = ingestion;
  if (ingestion.status !== 'cancelled') assertActive(ingestion, 'cancelled');
  const changed = await ledger.setStatus(ingestionId, ACTIVE, 'cancelled', { reason: 'Cancelled by request.', at: now() });
  const controlled = await answer(ledger, ingestion, changed);
  if (controlled.ingestion.status !== 'cancelled') throw stateError(controlled.ingestion, 'cancelled');
  // Its report.
  await queue.add('plan', { tenant, ingestionId, traceId }, { lane: 'event', jobId: `report-${ingestionId}` });
  return controlled;
}

/** Tries again what failed, and only that. With nothing failed there is nothing to do. */
export async function retryIngestion({ ledger, queue, now }: ControlIngestionDeps, ingestion: Ingestion): Promise<Controlled> {
  const { tenant, ingestionId, status, dryRun, planned, cursor } = ingestion;
  const isRetrying = ACTIVE.includes(status) && isRetryCursor(cursor);
  if (ACTIVE.includes(status) && !isRetrying) throw stateError(ingestion, 'retried');
  if (dryRun) throw new SightlineError('ingestion_state', 'A dry run is run again as a new one.');
  if (!isRetrying && (status === 'cancelled' || !planned)) {
    throw new SightlineError('ingestion_state', 'Its source was not listed to the end: ingest the source again.');
  }
  if (!isRetrying) await assertMayBegin(ledger, tenant);
  const changed = !isRetrying && (await ledger.reopen(ingestionId, RETRY_CURSOR, now())) > 0;
  if (changed || isRetrying) {
    await queue.add('plan', { tenant, ingestionId, traceId: newId() }, { lane: 'event', jobId: `plan-${ingestionId}` });
  }
  return answer(ledger, ingestion, changed);
}

function assertActive(ingestion: Ingestion, what: string): void {
  if (!ACTIVE.includes(ingestion.status)) throw stateError(ingestion, what);
}

function stateError({ status }: Ingestion, what: string): SightlineError {
  return new SightlineError('ingestion_state', `It is ${status} and cannot be ${what}.`);
}

async function answer(ledger: Ledger, { tenant, ingestionId }: Ingestion, changed: boolean): Promise<Controlled> {
  const ingestion = await ledger.getIngestion(tenant, ingestionId);
  if (!ingestion) throw new SightlineError('ingestion_not_found');
  return { ingestion, changed };
}
