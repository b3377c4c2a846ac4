import type { JobData } from '@sightline/shared/contracts/jobs';
import { acceptsFailuresSetting } from '@sightline/shared/ingestion/failure-storms';
import { tellPause } from '@sightline/shared/ingestion/ingestion-events';
import { isOutage } from '@sightline/shared/ingestion/outages';
import type { ChunkOutcome, Ingestion } from '@sightline/shared/ports/ledger';
import { reasonFor, SightlineError } from '@sightline/shared/runtime/errors';
import type { ChunkWork } from './chunk-work.ts';
import type { EncodeDeps } from './encode-deps.ts';

/**
 * Whether what kept pictures from being settled is a part of the stack that is away, and not the pictures. A store that answers for
 * another picture of the chunk is there: then the failing ones are at fault, such as objects on a broken disk of it.
 */
export async function hasOutage({ store }: EncodeDeps, work: ChunkWork, error: SightlineError): Promise<boolean> {
  if (!isOutage(error.code)) return false;
  if (error.code !== 'object_store_unavailable') return true;
  const settled = [...work.pictures.values()].find((picture) => picture.settled !== null);
  if (!settled) return true;
  return store.head(settled.object).then(
    () => false,
    () => true,
  );
}

/** Error: `lease_lost` when the chunk's ingestion is there no more. */
export async function assertNotDeleted(
  { ledger }: EncodeDeps,
  { tenant, ingestionId }: { tenant: string; ingestionId: string },
): Promise<void> {
  // A lease that was taken after a tenant's deletion is past its fence: only this keeps who waited for it from writing.
  if ((await ledger.getIngestion(tenant, ingestionId)) === null)
    throw new SightlineError('lease_lost', 'Its ingestion was deleted meanwhile.');
}

/** Says on the ingestion what it waits for. */
export async function noteOutage({ ledger, logger, now }: EncodeDeps, ingestionId: string, error: SightlineError): Promise<void> {
  const reason = `${reasonFor(error)} It goes on by itself when that is over.`;
  logger.warn({ err: error, ingestionId }, 'a chunk waits for a part of the stack');
  // The ledger may be what is away.
  await ledger.setStatus(ingestionId, ['planning', 'running', 'paused'], 'paused', { reason, at: now() }).catch(() => {});
}

/** A chunk was settled: what was waited for is back. */
export async function noteProgress({ ledger, now }: EncodeDeps, ingestion: Ingestion | null): Promise<void> {
  if (ingestion?.status !== 'paused') return;
  await ledger.setStatus(ingestion.ingestionId, ['paused'], ingestion.planned ? 'running' : 'planning', { at: now() });
}

/**
 * Holds the ingestion when nearly all of its latest objects failed alike, and the user has not said that this is as it should be.
 * True also for what fails while another has just held it, and for what was begun before and fails after the resume: what it failed of may be
 * mended.
 */
export async function stormHolds(
  { ledger, events, storms, logger, now }: EncodeDeps,
  { tenant, ingestionId, traceId }: JobData<'encode'>,
  { indexed, unchanged, duplicate, failures }: ChunkOutcome,
  startedAt: number,
): Promise<boolean> {
  const settled = indexed + unchanged + duplicate + failures.length;
  if (failures.length > 0 && (await ledger.getIngestion(tenant, ingestionId))?.hold === 'failures') {
    storms.noteHold(ingestionId, now());
    return true;
  }
  if (failures.length > 0 && storms.wasHeldSince(ingestionId, startedAt)) return true;
  const reason = storms.note(ingestionId, { settled, failed: failures.map(({ code }) => code) });
  if (reason === null || (await ledger.getSetting(acceptsFailuresSetting(ingestionId))) !== null) return false;
  if (!(await ledger.setHold(ingestionId, 'failures', { reason, at: now() }))) {
    // The user held it meanwhile. One that is over cannot be held, and what it still owes would be given back for ever.
    return ((await ledger.getIngestion(tenant, ingestionId))?.hold ?? null) !== null;
  }
  storms.noteHold(ingestionId, now());
  logger.warn({ ingestionId, traceId, reason }, 'a storm of failures: the ingestion is held');
  await tellPause({ ledger, events, logger }, { tenant, ingestionId }, { service: 'encode-worker', traceId, at: now() });
  return true;
}
