import { newId, scheduledAuditId } from '@sightline/shared/contracts/ids';
import type { JobData } from '@sightline/shared/contracts/jobs';
import type { Ledger } from '@sightline/shared/ports/ledger';

export interface DueAuditDeps {
  ledger: Pick<Ledger, 'latestIngestions' | 'activeAudits' | 'listAudits' | 'createAudit'>;
  /** The same audit twice is one job. */
  enqueueAudit: (audit: JobData<'audit'>) => Promise<void>;
  now: () => number;
  /** Of audits that a schedule brings. */
  graceMs: number;
}

const ACTIVE_LIMIT = 1_000;
const LOOKED_BACK = 50;

/**
 * A schedule's turn: writes down an audit of each tenant that has sources, and has it carried out. Not of one whose last is not over,
 * and not sooner than half the interval after its last: a schedule that is set up again begins with a turn. The same turn twice
 * is one audit.
 */
export async function beginDueAudits(
  { ledger, enqueueAudit, now, graceMs }: DueAuditDeps,
  { repair, everyMs }: JobData<'audit-due'>,
  turn: string,
): Promise<void> {
  const busy = new Set((await ledger.activeAudits(null, { limit: ACTIVE_LIMIT })).map(({ tenant }) => tenant));
  const tenants = new Set((await ledger.latestIngestions(null)).map(({ tenant }) => tenant));
  for (const tenant of tenants) {
    if (busy.has(tenant)) continue;
    const last = (await ledger.listAudits(tenant, { limit: LOOKED_BACK })).find(({ askedBy }) => askedBy === 'schedule');
    if (last && now() - last.createdAt < everyMs / 2) continue;
    const auditId = scheduledAuditId(tenant, turn);
    const asked = { place: null, repair, graceMs, askedBy: 'schedule' } as const;
    await ledger.createAudit({ auditId, tenant, ...asked, createdAt: now() });
    await enqueueAudit({ tenant, auditId, traceId: newId() });
  }
}

export interface SweepAuditDeps {
  ledger: Pick<Ledger, 'activeAudits'>;
  enqueueAudit: DueAuditDeps['enqueueAudit'];
}

/** Has every audit that is not over carried out: a queue that lost its jobs gets them back. */
export async function sweepAudits({ ledger, enqueueAudit }: SweepAuditDeps): Promise<void> {
  for (const { tenant, auditId } of await ledger.activeAudits(null, { limit: ACTIVE_LIMIT }))
    await enqueueAudit({ tenant, auditId, traceId: newId() });
}
