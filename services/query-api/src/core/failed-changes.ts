import type { ChangeFailurePage } from '@sightline/shared/contracts/changes-http';
import type { ChangeFailure, Ledger } from '@sightline/shared/ports/ledger';

export interface RetryDeps {
  ledger: Pick<Ledger, 'retryChanges'>;
  /** Has a tenant's changes worked; what it does not reach, the sweep does. */
  drive: (tenant: string, count: number) => Promise<void>;
  now: () => number;
}

const RETRIED_AT_ONCE = 500;

/** Has everything that failed so far of a tenant's changes owed again; what fails anew meanwhile waits for the next. Answers how many. */
export async function retryFailedChanges({ ledger, drive, now }: RetryDeps, tenant: string): Promise<number> {
  const failedUpTo = now();
  let all = 0;
  for (;;) {
    const retried = await ledger.retryChanges(tenant, { limit: RETRIED_AT_ONCE, failedUpTo, at: now() });
    all += retried;
    if (retried < RETRIED_AT_ONCE) break;
  }
  // They are owed whether or not somebody can be told.
  if (all > 0) await drive(tenant, all).catch(() => {});
  return all;
}

export function viewOfFailedChange({ change, code, reason, failedAt }: ChangeFailure): ChangeFailurePage['failures'][number] {
  const failed = { code, reason, failed_at: new Date(failedAt).toISOString() };
  if (change.kind === 'item') return { kind: 'item', item_id: change.itemId, ...failed };
  return { kind: 'object', bucket: change.bucket, key: change.key, ...failed };
}
