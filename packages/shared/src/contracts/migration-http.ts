import { z } from 'zod';
import { MIGRATION_STATUSES, migrationBounds, migrationGate, migrationPreview, migrationQuery } from './migrations.ts';

export const migrationRequest = z.strictObject({
  /** Name of the encoder pack to migrate to, as ENCODER_PACK takes it. */
  pack: z.string().min(1).max(1_024),
  /** What results are compared on; titles of the catalogue when left out. */
  queries: z
    .array(migrationQuery.omit({ tenant: true }).extend({ tenant: z.string().min(1).max(64).optional() }))
    .max(500)
    .default([]),
  bounds: migrationBounds.prefault({}),
  /** Stops after the preview, until it is resumed. */
  preview_only: z.boolean().default(false),
  /** Cuts over by itself once the gate is passed. */
  cut_over: z.enum(['manual', 'auto']).default('manual'),
});

export const migrationResume = z.strictObject({ bounds: migrationBounds.partial().optional() }).nullish();

export const migrationParams = z.strictObject({ migration_id: z.string().min(1).max(64) });

const versionView = z.strictObject({
  version: z.int(),
  pack: z.string().nullable(),
  encoder: z.strictObject({ image: z.string(), text: z.string() }),
});

export const migrationView = z.strictObject({
  migration_id: z.string(),
  status: z.enum(MIGRATION_STATUSES),
  hold: z.enum(['user', 'gate']).nullable(),
  reason: z.string().nullable(),
  pack: z.string(),
  from: versionView,
  to: versionView.nullable(),
  bounds: migrationBounds,
  cut_over: z.enum(['manual', 'auto']),
  preview: migrationPreview.nullable(),
  progress: z.strictObject({
    points: z.int(),
    /** Looked at and copied. */
    copied: z.int(),
    /** Known, and not copied yet: changes of the moment among them. */
    owed: z.int(),
    failed: z.int(),
    points_per_second: z.number().nullable(),
    eta_seconds: z.int().nullable(),
  }),
  /** The first hundred of the points that could not be copied. */
  failures: z.array(z.strictObject({ tenant: z.string(), asset_id: z.string(), code: z.string(), reason: z.string() })),
  gate: migrationGate.omit({ checked_at: true }).extend({ checked_at: z.string() }).nullable(),
  created_at: z.string(),
  finished_at: z.string().nullable(),
});
export type MigrationView = z.infer<typeof migrationView>;

export const migrationList = z.strictObject({ migrations: z.array(migrationView) });
