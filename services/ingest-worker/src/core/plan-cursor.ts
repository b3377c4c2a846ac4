import { dryRunTotals } from '@sightline/shared/contracts/dry-run';
import { z } from 'zod';
import type { DryRunTally } from './dry-run-tally.ts';

/** A manifest's: `skip` of the line's finds are in chunks already. */
const lines = z.strictObject({ eTag: z.string(), offset: z.int(), lineNo: z.int(), skip: z.int() });
export type LinesCursor = z.infer<typeof lines>;

/** What failed is tried again: `after` is the ledger's place among the failures, `lines` the one in the manifest. */
const retry = z.strictObject({
  retry: z.strictObject({ after: z.string().nullable().optional(), lines: lines.nullable().default(null) }),
});
export type RetryCursor = z.infer<typeof retry>;

/** Of a dry run, what it added up so far. */
const totals = { dryRun: dryRunTotals.optional() };
const planCursor = z.union([
  /** A folder's or prefix's: the last key that is in a chunk. */
  z.strictObject({ after: z.string(), ...totals }),
  lines.extend(totals),
  retry,
]);
export type PlanCursor = z.infer<typeof planCursor>;

/** Where planning stands in the source, from the ledger's text. */
export function readPlanCursor(cursor: string | null): PlanCursor | null {
  return cursor === null ? null : planCursor.parse(JSON.parse(cursor));
}

export function writePlanCursor(cursor: z.input<typeof planCursor>, tally: DryRunTally | null = null): string {
  return JSON.stringify(tally ? { ...cursor, dryRun: tally.totals } : cursor);
}
