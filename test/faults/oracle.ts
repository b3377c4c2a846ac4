import { expect } from '@jest/globals';
import type { IngestionView } from '@sightline/shared/contracts/http';
import type { ProductionStack } from '../harness/production-stack.ts';

/**
 * What every fault test ends with: the ingestion is over, its counts add up, what failed is exactly what was expected to, and
 * `npm run audit` finds the index to hold what the buckets hold, point by point. `failures`: error code by key.
 */
export async function expectWhole(
  stack: ProductionStack,
  ingestionId: string,
  { listed, failures = {} }: { listed: number; failures?: Record<string, string> },
): Promise<IngestionView> {
  const view = await stack.waitForEnd(ingestionId);
  const failed = await stack.failures(ingestionId);
  const { indexed, unchanged, duplicate } = view.counts;
  expect({
    status: view.status,
    listed: view.counts.listed,
    done: indexed + unchanged + duplicate + view.counts.failed,
    failed: view.counts.failed,
    failures: Object.fromEntries(failed.map(({ key, code }) => [key, code])),
  }).toEqual({ status: 'completed', listed, done: listed, failed: Object.keys(failures).length, failures });
  const audit = await stack.audit();
  const [tenant, ...others] = audit.tenants;
  expect(others).toEqual([]);
  expect({ findings: tenant?.findings, unreadable: tenant?.unreadable, running: tenant?.running, list: tenant?.list }).toEqual({
    findings: { missing: 0, extra: 0, stale: 0, duplicate: 0, malformed: 0 },
    unreadable: [],
    running: [],
    list: [],
  });
  // An audit of nothing does not pass.
  expect(tenant?.agreed['indexed']).toBeGreaterThanOrEqual(listed - Object.keys(failures).length);
  return view;
}
