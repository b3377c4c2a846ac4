import type { JobData } from '@sightline/shared/contracts/jobs';
import { sourcePlace } from '@sightline/shared/contracts/source-place';
import type { Ingestion, IngestionStatus } from '@sightline/shared/ports/ledger';
import { toSightlineError } from '@sightline/shared/runtime/errors';
import { finishIngestion } from './finish-ingestion.ts';
import type { PlanDeps } from './plan-deps.ts';
import { planIngestion } from './plan-ingestion.ts';

const ACTIVE: IngestionStatus[] = ['planning', 'running', 'paused'];

/**
 * One step of an ingestion: waits for an older one of the same bucket, else plans, else finishes. Doing it twice is doing it
 * once. Retryable errors are thrown while there are attempts left; after them the ingestion is `paused` with the reason and the
 * sweep tries again later. Permanent ones make it `failed`.
 */
export async function advanceIngestion(
  deps: PlanDeps,
  job: JobData<'plan'>,
  { lastAttempt, signal }: { lastAttempt: boolean; signal: AbortSignal },
): Promise<void> {
  const { tenant, ingestionId, traceId } = job;
  const ingestion = await deps.ledger.getIngestion(tenant, ingestionId);
  if (!ingestion || !ACTIVE.includes(ingestion.status)) return;
  try {
    if (!ingestion.planned) {
      const older = await olderOfSameBucket(deps, ingestion);
      if (older) return await note(deps, ingestion, `waits for ingestion ${older.ingestionId} of the same folder`);
      if (ingestion.status === 'paused' || ingestion.reason !== null) {
        await deps.ledger.setStatus(ingestionId, ['paused', 'planning'], 'planning', { at: deps.now() });
      }
      await planIngestion(deps, ingestion, traceId, signal);
    }
    await deps.ledger.setStatus(ingestionId, ['planning', 'paused'], 'running', { at: deps.now() });
    const planned = await deps.ledger.getIngestion(tenant, ingestionId);
    if (planned) await finishIngestion(deps, planned, traceId, signal);
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    const error = toSightlineError(thrown);
    if (error.retryable && !lastAttempt) throw error;
    deps.logger.error({ err: error, ingestionId, traceId }, 'ingestion held up');
    const to = error.retryable ? 'paused' : 'failed';
    await deps.ledger.setStatus(ingestionId, ACTIVE, to, { reason: `${error.code}: ${error.message}`, at: deps.now() });
  }
}

/**
 * Ingestions of one bucket go one after the other: a record of an older reading must not come after one of a newer, and what
 * one ingestion finds gone must not be what another just brings. Two of the same source do the work once, the second finds
 * everything unchanged.
 */
async function olderOfSameBucket({ ledger }: PlanDeps, ingestion: Ingestion): Promise<Ingestion | undefined> {
  // It writes nothing: nobody waits for it, and it waits for nobody.
  if (ingestion.dryRun) return undefined;
  const active = await ledger.listIngestions(ingestion.tenant, { statuses: ACTIVE, limit: 1_000 });
  const mine = active.findIndex(({ ingestionId }) => ingestionId === ingestion.ingestionId);
  // Newest first: what stands behind it is older.
  return mine === -1
    ? undefined
    : active.slice(mine + 1).find((other) => !other.dryRun && bucketOf(other) === bucketOf(ingestion));
}

function bucketOf({ source }: Ingestion): string | undefined {
  return sourcePlace(source)?.bucket;
}

async function note({ ledger, now }: PlanDeps, ingestion: Ingestion, reason: string): Promise<void> {
  if (ingestion.reason === reason) return;
  await ledger.setStatus(ingestion.ingestionId, ['planning'], 'planning', { reason, at: now() });
}
