import type { JobName } from '@sightline/shared/contracts/jobs';
import type { JobHandler } from '@sightline/shared/ports/queue-engine';
import { advanceIngestion } from './core/advance-ingestion.ts';
import type { PlanDeps } from './core/plan-deps.ts';

/** The jobs of this service; the mapped type forces a handler for each. */
export type IngestHandlers = { [N in Extract<JobName, 'plan'>]: JobHandler<N> };

export function ingestHandlers(deps: PlanDeps): IngestHandlers {
  return {
    plan: (data, { lastAttempt, signal }) => advanceIngestion(deps, data, { lastAttempt, signal }),
  };
}
