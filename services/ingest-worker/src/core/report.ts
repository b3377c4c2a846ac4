import { totalsIn } from '@sightline/shared/contracts/dry-run';
import { reportKey, SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import type { Ingestion } from '@sightline/shared/ports/ledger';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { z } from 'zod';
import type { PlanDeps } from './plan-deps.ts';

const PAGE = 1_000;
const summary = z.object({ status: z.string() });

/**
 * Writes what came of an ingestion into the object store, in JSON Lines: a summary, then a line for each failure. Written again
 * it replaces itself. `ingestion` as it is at its end.
 */
export async function writeReport(
  deps: Pick<PlanDeps, 'store' | 'ledger' | 'now'>,
  ingestion: Ingestion,
  signal: AbortSignal,
): Promise<void> {
  const options = { contentType: 'application/x-ndjson', signal };
  await deps.store.putStream(refOf(ingestion), lines(deps, ingestion), options);
}

/**
 * Whether its end was reported. A report from before is that of the end before its failures were tried again, one of another
 * status was written while it was cancelled.
 */
export async function hasReport({ store }: Pick<PlanDeps, 'store'>, ingestion: Ingestion): Promise<boolean> {
  try {
    const { info, body } = await store.stream(refOf(ingestion), {});
    let head = '';
    for await (const bytes of body) {
      head += Buffer.from(bytes).toString('latin1');
      if (head.includes('\n')) break;
    }
    const isOfThisEnd = info.modifiedAt.getTime() >= (ingestion.finishedAt ?? 0);
    return isOfThisEnd && summary.parse(JSON.parse(head.split('\n')[0] ?? '')).status === ingestion.status;
  } catch (error) {
    // Nothing was ever stored: then not even the system bucket is there.
    if (error instanceof SightlineError && ['object_not_found', 'source_not_found'].includes(error.code)) return false;
    throw error;
  }
}

function refOf({ tenant, ingestionId }: Ingestion): { bucket: string; key: string } {
  return { bucket: SYSTEM_BUCKET, key: reportKey(tenant, ingestionId) };
}

async function* lines({ ledger, now }: Pick<PlanDeps, 'ledger' | 'now'>, ingestion: Ingestion): AsyncGenerator<Buffer> {
  const { ingestionId, counts } = ingestion;
  const endedAt = ingestion.finishedAt ?? now();
  const seconds = (endedAt - ingestion.createdAt) / 1000;
  const done = counts.indexed + counts.unchanged + counts.duplicate + counts.failed;
  const totals = totalsIn(ingestion.cursor);
  yield line({
    type: 'summary',
    ingestion_id: ingestionId,
    tenant: ingestion.tenant,
    source: ingestion.source,
    dry_run: ingestion.dryRun,
    status: ingestion.status,
    reason: ingestion.reason,
    counts,
    ...(totals && { bytes: totals.bytes, duplicates: totals.duplicates, estimated_seconds: totals.seconds }),
    created_at: new Date(ingestion.createdAt).toISOString(),
    finished_at: new Date(endedAt).toISOString(),
    seconds,
    objects_per_second: seconds > 0 ? Math.round((done / seconds) * 100) / 100 : null,
  });
  for (let cursor: string | null | undefined; cursor !== null;) {
    const page = await ledger.failures(ingestionId, { ...(cursor !== undefined && { cursor }), limit: PAGE });
    if (page.failures.length > 0) {
      yield Buffer.concat(
        page.failures.map(({ key, code, reason, attempts, lastAttemptAt }) =>
          line({ type: 'failure', key, code, reason, attempts, last_attempt_at: new Date(lastAttemptAt).toISOString() }),
        ),
      );
    }
    cursor = page.nextCursor;
  }
}

function line(value: object): Buffer {
  return Buffer.from(`${JSON.stringify(value)}\n`);
}
