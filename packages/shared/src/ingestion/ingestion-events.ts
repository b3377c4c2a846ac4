import { makeEvent, type SightlineEvent } from '../contracts/events.ts';
import type { Logger } from 'pino';
import type { EventLog } from '../ports/event-log.ts';
import type { Ingestion, Ledger } from '../ports/ledger.ts';
import { ingestionMessage } from '../webhooks/outbox-messages.ts';

const MAX_REASON_CHARS = 2_000;

interface Telling {
  service: 'encode-worker' | 'ingest-worker' | 'query-api';
  traceId: string;
  /** Unix milliseconds. */
  at: number;
}

/**
 * Tells of an ingestion's end, before the ledger says so: the event log, and through the outbox the webhooks. Told again it has the same
 * id. One whose failures are tried again has further chunks then, and ends a second time. Errors: `events_unavailable`, those of the ledger.
 */
export async function tellEnd(
  deps: { ledger: Pick<Ledger, 'addMessages'>; events: Pick<EventLog, 'publish'> },
  ingestion: Ingestion,
  end: { status: 'completed' | 'failed' | 'cancelled'; reason: string | null },
  telling: Telling,
): Promise<void> {
  const event = makeEvent('ingestion.completed', {
    ...commonOf(ingestion, telling),
    version: [end.status, ingestion.nextChunkNo],
    data: { ...dataOf(ingestion, end.reason), status: end.status },
  });
  await deps.events.publish([event]);
  // Its deliveries are found by the sweep of generate-worker: nobody waits for them here.
  await deps.ledger.addMessages([ingestionMessage(event)]);
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
