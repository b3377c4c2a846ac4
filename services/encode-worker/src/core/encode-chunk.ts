import type { JobData } from '@sightline/shared/contracts/jobs';
import { isOutage } from '@sightline/shared/ingestion/outages';
import type { ChunkEntry } from '@sightline/shared/ports/ledger';
import { SightlineError, toSightlineError } from '@sightline/shared/runtime/errors';
import { assertNotDeleted, hasOutage, noteOutage, noteProgress, stormHolds } from './chunk-surroundings.ts';
import { ChunkWork } from './chunk-work.ts';
import { forChunk, type ChunkDeps, type EncodeDeps } from './encode-deps.ts';
import type { Guard } from './picture-feed.ts';
import { publishChunk } from './publish-chunk.ts';
import { settleChunk, type SettleContext } from './settle-chunk.ts';
import { settleItemChange } from './settle-item-change.ts';

/** A chunk that more workers than this died over, or that many lost, has its pictures tried one at a time. */
const MAX_TAKINGS_TOGETHER = 3;

/**
 * Encodes one chunk: pictures and records into the index, then events into the log, then the outcome into the ledger; only then is
 * the job done. Doing
 * a chunk twice is doing it once. Each thing is read, written and looked at again under the lease of its key.
 *
 * A retryable error is thrown, so that the queue tries again, while there are attempts left; on the last one, and for what
 * is permanent, it becomes the object's failure, so that an ingestion always ends. A part of the stack that is away is nobody's
 * failure: the chunk stays owed, the ingestion says so, the sweep brings the chunk back. The chunk of an ingestion that is held
 * stays owed too, and the chunk that makes a storm of failures holds it. A worker that dies hands nothing back: from
 * the fourth taking on each picture is written down before it is decoded, alone, and the one that was written down when the
 * worker died is given up as `picture_kills_decoder`. Errors: the retryable ones of the
 * ports, `job_handed_back` when the job is for another pack than this worker's.
 */
export async function encodeChunk(
  deps: EncodeDeps,
  job: JobData<'encode'>,
  { lastAttempt, signal }: { lastAttempt: boolean; signal: AbortSignal },
): Promise<void> {
  const startedAt = deps.now();
  const { tenant, ingestionId, chunkNo } = job;
  const chunk = await deps.ledger.takeChunk(ingestionId, chunkNo);
  if (chunk === null) return;
  const ingestion = await deps.ledger.getIngestion(tenant, ingestionId);
  if (ingestion?.hold) return deps.ledger.giveBackChunk(ingestionId, chunkNo);
  if (!deps.accepts(job.fingerprints)) {
    await deps.ledger.giveBackChunk(ingestionId, chunkNo);
    throw new SightlineError('job_handed_back', 'This worker serves another encoder pack.');
  }
  const entries = ingestion && ingestion.status !== 'cancelled' ? chunk.entries : [];
  const work = new ChunkWork(
    tenant,
    entries.filter((entry) => !entry.record?.pushed),
  );
  const chunkDeps = forChunk(deps);
  try {
    const guard = chunk.attempts > MAX_TAKINGS_TOGETHER ? guardOf(deps.ledger, job) : undefined;
    if (guard) deps.logger.warn({ ingestionId, chunkNo, attempts: chunk.attempts }, 'workers died over this chunk');
    const assertAlive = (): Promise<void> => assertNotDeleted(chunkDeps, job);
    const context = { tenant, plannedAt: chunk.addedAt, signal, guard, assertAlive };
    await settleChunk(chunkDeps, work, context);
    await mendPushed(chunkDeps, entries, context);
    const retryable = work.firstRetryable();
    if (retryable && (!lastAttempt || (await hasOutage(deps, work, retryable)))) throw retryable;
  } catch (thrown) {
    const error = toSightlineError(thrown);
    // A stopping worker hands its job back: nothing failed.
    const isAway = isOutage(error.code);
    const isGivenBack = signal.aborted || (error.retryable && !lastAttempt) || error.code === 'lease_lost' || isAway;
    if (isGivenBack) {
      if (isAway && lastAttempt && !signal.aborted) await noteOutage(deps, ingestionId, error);
      // Not said, it counts as a death, and a few of those only make the chunk slower.
      await deps.ledger.giveBackChunk(ingestionId, chunkNo).catch(() => {});
      throw signal.aborted ? thrown : error;
    }
    deps.logger.error({ err: error, ingestionId, chunkNo, traceId: job.traceId }, 'chunk failed');
    work.failTheRest(error);
  }
  for (const error of work.untold())
    deps.logger.warn({ err: error, ingestionId, chunkNo, traceId: job.traceId }, 'objects of a chunk failed');
  const outcome = work.outcome(tenant);
  if (await stormHolds(deps, job, outcome, startedAt)) return deps.ledger.giveBackChunk(ingestionId, chunkNo);
  try {
    const telling = { tenant, traceId: job.traceId, ingestionId, since: chunk.addedAt };
    await publishChunk(chunkDeps, work, {
      ...telling,
      occasionOf: () => chunkNo,
      changedAtOf: () => null,
      isGivenUp: () => true,
    });
  } catch (thrown) {
    const error = toSightlineError(thrown);
    if (lastAttempt && isOutage(error.code)) await noteOutage(deps, ingestionId, error);
    await deps.ledger.giveBackChunk(ingestionId, chunkNo).catch(() => {});
    throw error;
  }
  // The metric counts what this worker heard was counted: a chunk whose answer was lost stands in the ledger's counts alone. Counted
  // before, it would be twice there for each chunk that is tried again.
  if (!(await deps.ledger.completeChunk(ingestionId, chunkNo, outcome, deps.now()))) return;
  await noteProgress(deps, ingestion);
  for (const kind of ['indexed', 'unchanged', 'duplicate'] as const) {
    for (let i = 0; i < outcome[kind]; i++) deps.count(kind);
  }
  for (const { code } of outcome.failures) deps.count('failed', code);
}

/** Completes pushed records of which a reconciliation found something lacking. */
async function mendPushed(deps: ChunkDeps, entries: ChunkEntry[], context: SettleContext): Promise<void> {
  const records = new Map(entries.flatMap(({ record }) => (record?.pushed ? [[record.itemId, record]] : [])));
  for (const [itemId, record] of records) {
    const { failure } = await settleItemChange(deps, context.tenant, { itemId, record }, context);
    if (failure) deps.logger.warn({ err: failure.error, itemId }, 'a pushed record is not whole');
  }
}

/** Writes each picture down before it is decoded; refuses the one that stands there from a worker that died. */
function guardOf(ledger: EncodeDeps['ledger'], { ingestionId, chunkNo }: JobData<'encode'>): (assetId: string) => Guard {
  return (assetId) => async (decode) => {
    if (!(await ledger.addSuspect(ingestionId, chunkNo, assetId))) throw new SightlineError('picture_kills_decoder');
    try {
      return await decode();
    } finally {
      await ledger.clearSuspect(ingestionId, chunkNo, assetId);
    }
  };
}
