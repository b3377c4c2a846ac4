import { z } from 'zod';

/** How sources and index can disagree about one point. */
export const FINDING_KINDS = ['missing', 'extra', 'stale', 'duplicate', 'malformed'] as const;
export const findingKind = z.enum(FINDING_KINDS);
export type FindingKind = z.infer<typeof findingKind>;

/** A disagreement as it is listed and stored, a line each. */
export const auditFinding = z.strictObject({
  kind: findingKind,
  asset_id: z.string().nullable().describe('Of the point, or of the point that is missing; null for an item as a whole.'),
  bucket: z.string().nullable().describe('Null where it is about an item.'),
  key: z.string().describe("The object's key, or `item:` and the item's id."),
  detail: z.string().describe('For people.'),
});
export type AuditFinding = z.infer<typeof auditFinding>;

const count = z.int().nonnegative();

/** What an audit found. Counts are complete; lists are cut. */
export const auditResult = z.strictObject({
  clean: z.boolean().describe('Sources and index agree point by point.'),
  points: count.describe('Of the index, tombstones included; with a place only those in it.'),
  agreed: z
    .strictObject({ indexed: count, failed: count, removed: count })
    .describe('`failed` and `removed` are absences that a failure with a code, or a user, accounts for.'),
  findings: z.strictObject({ missing: count, extra: count, stale: count, duplicate: count, malformed: count }),
  healed: count.describe('Differed at the first look and agreed after the grace: they were in flight.'),
  listed: count.describe('How many findings are kept to be listed.'),
  first: z.array(auditFinding).describe('A few of them.'),
  unreadable: z.array(z.strictObject({ source: z.string(), code: z.string() })).describe('Sources that could not be read.'),
  running: z.array(z.string()).describe('Ingestions that are not over: what they owe counts as missing.'),
  repair: z
    .strictObject({
      deleted: count.describe('Points that were taken off.'),
      changes: count.describe('Objects that are looked at anew.'),
      ingestions: z.array(z.string()).describe('Of sources that are ingested anew.'),
    })
    .nullable()
    .describe('What was set going; null where no repair was asked for, or nothing was wrong.'),
});
export type AuditResult = z.infer<typeof auditResult>;

/** How many findings an audit keeps to be listed, and how many of other lists. */
export const MOST_LISTED = 1_000_000;
export const FIRST_FINDINGS = 20;
export const MOST_NAMED = 100;
