import type { JobName } from '@sightline/shared/contracts/jobs';
import type { JobHandler } from '@sightline/shared/ports/queue-engine';
import { advanceIngestion } from './core/advance-ingestion.ts';
import { beginDueAudits, type DueAuditDeps } from './core/due-audits.ts';
import type { PlanDeps } from './core/plan-deps.ts';
import { runAudit, type RunAuditDeps } from './core/run-audit.ts';

/** The jobs of this service; the mapped type forces a handler for each. */
export type IngestHandlers = { [N in Extract<JobName, 'plan' | 'audit' | 'audit-due'>]: JobHandler<N> };

export function ingestHandlers(deps: PlanDeps, audits: RunAuditDeps & DueAuditDeps): IngestHandlers {
  return {
    plan: (data, { lastAttempt, signal }) => advanceIngestion(deps, data, { lastAttempt, signal }),
    audit: (data, { lastAttempt, signal }) => runAudit(audits, data, { lastAttempt, signal }),
    'audit-due': (data, { jobId }) => beginDueAudits(audits, data, jobId),
  };
}
