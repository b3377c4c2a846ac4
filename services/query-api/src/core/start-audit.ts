import { newId } from '@sightline/shared/contracts/ids';
import type { Audit } from '@sightline/shared/ports/audit-ledger';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { QueueEngine } from '@sightline/shared/ports/queue-engine';
import { SightlineError } from '@sightline/shared/runtime/errors';

export interface StartAuditDeps {
  ledger: Pick<Ledger, 'activeAudits' | 'createAudit' | 'endAudit'>;
  queue: Pick<QueueEngine, 'add'>;
  /** Unix milliseconds. */
  now: () => number;
}

/** Each reads all of a tenant's sources and points. */
const MOST_ACTIVE_AUDITS = 4;

/**
 * Writes an audit down and has it carried out; both are durable when it returns. Errors: `too_many_audits`, `queue_unavailable` (then
 * the audit is marked failed).
 */
export async function startAudit(
  { ledger, queue, now }: StartAuditDeps,
  asked: Pick<Audit, 'tenant' | 'place' | 'repair' | 'graceMs'> & { traceId: string },
): Promise<Audit> {
  const { tenant, place, repair, graceMs, traceId } = asked;
  const active = await ledger.activeAudits(tenant, { limit: MOST_ACTIVE_AUDITS });
  if (active.length >= MOST_ACTIVE_AUDITS)
    throw new SightlineError('too_many_audits', `${MOST_ACTIVE_AUDITS} are going: let some end.`);
  const auditId = newId();
  const audit = await ledger.createAudit({ auditId, tenant, place, repair, graceMs, askedBy: 'request', createdAt: now() });
  try {
    await queue.add('audit', { tenant, auditId, traceId }, { lane: 'bulk', jobId: `audit-${auditId}` });
  } catch (error) {
    await ledger.endAudit(auditId, { status: 'failed', reason: 'queue_unavailable', at: now() });
    throw error;
  }
  return audit;
}
