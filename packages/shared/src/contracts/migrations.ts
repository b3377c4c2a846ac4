import { z } from 'zod';

const spaceSpec = z.strictObject({ fingerprint: z.string(), dimensions: z.int().positive() });
const version = z.strictObject({
  /** Number of the index version. */
  version: z.int().positive(),
  pack: z.string().nullable(),
  spec: z.strictObject({ image: spaceSpec, text: spaceSpec }),
});
export type MigrationVersion = z.infer<typeof version>;

/** A query that results are compared on, and what should be found by it, as item or asset ids. */
export const migrationQuery = z.strictObject({
  /** In whose part of the index it is asked. */
  tenant: z.string(),
  query: z.string().trim().min(1).max(2_048),
  relevant: z.array(z.string().min(1).max(256)).max(100).default([]),
});
export type MigrationQuery = z.infer<typeof migrationQuery>;

/** What the gate lets pass. */
export const migrationBounds = z.strictObject({
  /** Least mean overlap@10 of the results of both versions, per query. */
  min_overlap_at_10: z.number().min(0).max(1).default(0),
  /** By how much recall@10 may be lower than before. Only where there are labels. */
  max_recall_loss: z.number().min(0).max(1).default(0.05),
  /** Points that could not be brought over: their pictures have changed or gone, or cannot be decoded any more. */
  max_failed_points: z.int().nonnegative().default(0),
});
export type MigrationBounds = z.infer<typeof migrationBounds>;

/** What came of a set of queries, in the old version and in the new. */
export const migrationQuality = z.strictObject({
  queries: z.int().nonnegative(),
  /** `request`: as given; `titles`: of items of the catalogue, each of which should find its item. */
  queries_from: z.enum(['request', 'titles']),
  labelled: z.int().nonnegative(),
  overlap_at_10: z.number().nullable(),
  recall_at_10: z.strictObject({ before: z.number(), after: z.number() }).nullable(),
});
export type MigrationQuality = z.infer<typeof migrationQuality>;

export const migrationPreview = z.strictObject({
  quality: migrationQuality,
  sampled_points: z.int().nonnegative(),
  points: z.int().nonnegative(),
  /** Spaces that the new pack encodes otherwise. */
  changed_spaces: z.array(z.enum(['image', 'text'])),
  /** At the rate of the sample, one worker doing nothing else. */
  estimated_seconds: z.number().nullable(),
  /** Of the new version's vectors alone. */
  vector_bytes: z.int().nonnegative(),
  failed_points: z.int().nonnegative(),
});
export type MigrationPreview = z.infer<typeof migrationPreview>;

/** The last passage through the gate. */
export const migrationGate = z.strictObject({
  passed: z.boolean(),
  /** What kept it from passing, for people. */
  reasons: z.array(z.string()),
  checked_at: z.int(),
  counts: z.strictObject({
    before: z.strictObject({ live: z.int(), deleted: z.int() }),
    after: z.strictObject({ live: z.int(), deleted: z.int() }),
  }),
  compared_points: z.int().nonnegative(),
  differences: z.int().nonnegative(),
  failed_points: z.int().nonnegative(),
  quality: migrationQuality,
});
export type MigrationGate = z.infer<typeof migrationGate>;

export const MIGRATION_STATUSES = [
  'waiting',
  'previewing',
  'previewed',
  'filling',
  'verifying',
  'ready',
  'cutting_over',
  'serving',
  'rolling_back',
  'completed',
  'rolled_back',
  'cancelled',
  'failed',
] as const;
export type MigrationStatus = (typeof MIGRATION_STATUSES)[number];

/** A migration as the ledger keeps it. Times in Unix milliseconds. */
export const migrationRecord = z.strictObject({
  migrationId: z.string(),
  /** Name of the pack that is migrated to. */
  pack: z.string(),
  status: z.enum(MIGRATION_STATUSES),
  /** Grows by one with each change. */
  revision: z.int().nonnegative(),
  /** Who stopped it: `user` by request, `gate` because it was not let pass. */
  hold: z.enum(['user', 'gate']).nullable(),
  reason: z.string().nullable(),
  queries: z.array(migrationQuery),
  bounds: migrationBounds,
  /** Stops after the preview until it is resumed. */
  previewOnly: z.boolean(),
  /** Cuts over by itself once the gate is passed. */
  autoCutOver: z.boolean(),
  from: version,
  /** Null until a worker of the pack has told what it makes. */
  to: version.nullable(),
  preview: migrationPreview.nullable(),
  fill: z.strictObject({
    /** The last point that was looked at. */
    cursor: z.strictObject({ tenant: z.string(), assetId: z.string() }).nullable(),
    scanned: z.int().nonnegative(),
    total: z.int().nonnegative(),
    startedAt: z.int().nullable(),
    endedAt: z.int().nullable(),
  }),
  gate: migrationGate.nullable(),
  createdAt: z.int(),
  finishedAt: z.int().nullable(),
});
export type Migration = z.infer<typeof migrationRecord>;

/** In these nothing of it goes on. */
export const ENDED_MIGRATIONS: readonly MigrationStatus[] = ['completed', 'rolled_back', 'cancelled', 'failed'];

export function isMigrationOver({ status }: Pick<Migration, 'status'>): boolean {
  return ENDED_MIGRATIONS.includes(status);
}
