import type { QueueEngine } from '../ports/queue-engine.ts';
import type { IndexSpec } from '../ports/vector-index.ts';

/** Changes that a job takes at most. */
export const CHANGES_A_JOB = 64;
/** So many jobs work a tenant's changes side by side at most. */
const JOBS_AT_ONCE = 8;

/**
 * Has owed changes worked: adds as many jobs as that takes. The jobs only say that there is something; which changes they work they
 * take from the ledger. `slots` says which of the tenant's jobs are added, by default as many as `count` changes need.
 */
export async function driveChanges(
  { queue, spec }: { queue: Pick<QueueEngine, 'add'>; spec: IndexSpec },
  { tenant, count, traceId }: { tenant: string; count: number; traceId: string },
): Promise<void> {
  const fingerprints = { image: spec.image.fingerprint, text: spec.text.fingerprint };
  const jobs = Math.min(Math.ceil(count / CHANGES_A_JOB), JOBS_AT_ONCE);
  for (let slot = 0; slot < jobs; slot++) {
    const jobId = `changes-${tenant}-${slot}`;
    await queue.add('encode-changes', { tenant, fingerprints, traceId }, { lane: 'event', jobId, andAfter: true });
  }
}
