import { makeEvent, type SightlineEvent } from '../contracts/events.ts';
import type { Logger } from 'pino';
import type { EventLog } from '../ports/event-log.ts';
import type { Ingestion, Ledger } from '../ports/ledger.ts';

const MAX_REASON_CHARS = 2_000;

interface Telling {
  service: 'encode-worker' | 'ingest-worker' | 'query-api';
  traceId: string;
  /** Unix milliseconds. */
  at: number;
}

/**
 * `ingestion.completed`, to be published before the ledger says so: told again it has the same id. One whose failures are tried
 * again has further chunks then, and ends a second time.
 */
export function eventOfEnd(
  ingestion: Ingestion,
  status: 'completed' | 'failed' | 'cancelled',
  reason: string | null,
  telling: Telling,
): SightlineEvent {
  return makeEvent('ingestion.completed', {
    ...commonOf(ingestion, telling),
    version: [status, ingestion.nextChunkNo],
    data: { ...dataOf(ingestion, reason), status },
  });
}

/** `ingestion.paused`: once for each reason at each point of its progress. */
function eventOfPause(ingestion: Ingestion, hold: Ingestion['hold'], reason: string, telling: Telling): SightlineEvent {
  const { listed, indexed, unchanged, duplicate, failed } = ingestion.counts;
  return makeEvent('ingestion.paused', {
    ...commonOf(ingestion, telling),
    version: [hold ?? '', reason, listed, indexed + unchanged + duplicate + failed],
    data: { ...dataOf(ingestion, reason), hold },
  });
}

function commonOf({ tenant, ingestionId }: Ingestion, telling: Telling) {
  return { ...telling, tenant, subject: ingestionId };
}

function dataOf({ ingestionId, source, dryRun, counts, createdAt }: Ingestion, reason: string | null) {
  const { listed, indexed, unchanged, duplicate, failed } = counts;
  return {
    ingestion_id: ingestionId,
    source,
    dry_run: dryRun,
    counts: { listed, indexed, unchanged, duplicate, failed },
    reason: reason?.slice(0, MAX_REASON_CHARS).toWellFormed() ?? null,
    created_at: new Date(createdAt).toISOString(),
  };
}

/** Tells of a pause as it stands in the ledger. Nothing is owed here: a log that does not answer keeps nobody from pausing. */
export async function tellPause(
  deps: { ledger: Pick<Ledger, 'getIngestion'>; events: Pick<EventLog, 'publish'>; logger: Logger },
  { tenant, ingestionId }: { tenant: string; ingestionId: string },
  telling: Telling,
): Promise<void> {
  try {
    const ingestion = await deps.ledger.getIngestion(tenant, ingestionId);
    if (ingestion?.status !== 'paused') return;
    await deps.events.publish([eventOfPause(ingestion, ingestion.hold, ingestion.reason ?? '', telling)]);
  } catch (error) {
    deps.logger.warn({ err: error, ingestionId }, 'a pause was not published');
  }
}
