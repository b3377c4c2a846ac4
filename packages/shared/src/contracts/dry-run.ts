import { z } from 'zod';

/** What a dry run found beside the counts. The planner keeps it in the ledger's cursor, query-api shows it. */
export const dryRunTotals = z.strictObject({
  bytes: z.int().nonnegative(),
  /** Objects whose eTag and size another has too; null where eTags say nothing of the content (files of a directory). */
  duplicates: z.int().nonnegative().nullable(),
  /** What indexing it would take at the rate of late; null while it is listed, and where nothing was ingested of late. */
  seconds: z.number().nonnegative().nullable(),
});
export type DryRunTotals = z.infer<typeof dryRunTotals>;

const cursor = z.looseObject({ dryRun: dryRunTotals });

/** The totals in a dry run's cursor; null when there are none yet. */
export function totalsIn(cursorText: string | null): DryRunTotals | null {
  if (cursorText === null) return null;
  const parsed = cursor.safeParse(JSON.parse(cursorText));
  return parsed.success ? parsed.data.dryRun : null;
}
