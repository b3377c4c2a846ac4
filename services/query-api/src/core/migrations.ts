import { isMigrationOver, migrationBounds, type Migration, type MigrationStatus } from '@sightline/shared/contracts/migrations';
import type { migrationRequest, migrationResume, MigrationView } from '@sightline/shared/contracts/migration-http';
import { newId } from '@sightline/shared/contracts/ids';
import { changeMigration } from '@sightline/shared/migration/change-migration';
import type { IndexWriting, MigrationLedger } from '@sightline/shared/ports/migration-ledger';
import type { IndexSpec } from '@sightline/shared/ports/vector-index';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { z } from 'zod';

export interface MigrationsDeps {
  ledger: MigrationLedger;
  /** The version that serves now, and the pack that made it where that is known. */
  serving: () => { version: number; spec: IndexSpec; pack: string | null };
  /** Where packs can be looked for: throws `pack_not_found` and what else is wrong with one. */
  checkPack: (pack: string) => Promise<void>;
  /** Unix milliseconds. */
  now: () => number;
}

const SHOWN_FAILURES = 100;
const LISTED = 100;

/** Begins a migration; a worker of the new pack takes it up. Errors: `migration_running`, those of `checkPack`. */
export async function startMigration(
  { ledger, serving, checkPack, now }: MigrationsDeps,
  request: z.output<typeof migrationRequest>,
  tenant: string,
): Promise<Migration> {
  await checkPack(request.pack);
  const { version, spec, pack } = serving();
  const migration: Migration = {
    migrationId: newId(),
    pack: request.pack,
    status: 'waiting',
    revision: 0,
    hold: null,
    reason: `Waits for an encode worker of the pack ${request.pack}.`,
    queries: request.queries.map((query) => ({ ...query, tenant: query.tenant ?? tenant })),
    bounds: request.bounds,
    previewOnly: request.preview_only,
    autoCutOver: request.cut_over === 'auto',
    from: { version, spec, pack },
    to: null,
    preview: null,
    fill: { cursor: null, scanned: 0, total: 0, startedAt: null, endedAt: null },
    gate: null,
    createdAt: now(),
    finishedAt: null,
  };
  if (!(await ledger.addMigration(migration))) throw new SightlineError('migration_running');
  return migration;
}

/** Error: `migration_not_found`. */
export async function knownMigration({ ledger }: MigrationsDeps, migrationId: string): Promise<Migration> {
  const migration = await ledger.getMigration(migrationId);
  if (!migration) throw new SightlineError('migration_not_found');
  return migration;
}

export const listMigrations = ({ ledger }: MigrationsDeps): Promise<Migration[]> => ledger.listMigrations(LISTED);

export type MigrationAction = 'pause' | 'cut-over' | 'roll-back' | 'finish' | 'cancel';

interface Step {
  from: MigrationStatus[];
  change: (migration: Migration, now: number) => Partial<Migration>;
  writing?: (migration: Migration) => IndexWriting;
}

const STEPS: Record<MigrationAction, Step> = {
  pause: { from: ['previewing', 'filling', 'verifying'], change: () => ({ hold: 'user', reason: null }) },
  'cut-over': { from: ['ready'], change: () => ({ status: 'cutting_over', hold: null, reason: null }) },
  'roll-back': { from: ['serving'], change: () => ({ status: 'rolling_back', hold: null, reason: null }) },
  finish: {
    from: ['serving'],
    change: (_, now) => ({ status: 'completed', reason: null, finishedAt: now }),
    writing: ({ from, to }) => ({ version: to?.version ?? null, mirror: null, closed: from.version }),
  },
  cancel: {
    from: ['waiting', 'previewing', 'previewed', 'filling', 'verifying', 'ready'],
    change: (_, now) => ({ status: 'cancelled', hold: null, reason: null, finishedAt: now }),
    writing: ({ from, to }) => ({ version: from.version, mirror: null, closed: to?.version ?? null }),
  },
};

/** Errors: `migration_not_found`, `migration_state`. */
export async function actOnMigration(deps: MigrationsDeps, migrationId: string, action: MigrationAction): Promise<Migration> {
  const { from, change, writing } = STEPS[action];
  const changed = await changeMigration(deps.ledger, migrationId, from, (now) => change(now, deps.now()), writing);
  if (changed) return changed;
  const { status } = await knownMigration(deps, migrationId);
  throw new SightlineError('migration_state', `It is ${status}: ${action} is possible while it is ${from.join(' or ')}.`);
}

/**
 * Lets a migration go on from its preview, a pause or the gate, with other bounds if they are given: what failed is tried again and
 * the gate asked anew. Errors: `migration_not_found`, `migration_state`.
 */
export async function resumeMigration(
  deps: MigrationsDeps,
  migrationId: string,
  body: z.output<typeof migrationResume>,
): Promise<Migration> {
  const before = await knownMigration(deps, migrationId);
  if (before.hold === null && before.status !== 'previewed')
    throw new SightlineError('migration_state', `It is ${before.status} and not held.`);
  if (before.to && before.fill.startedAt !== null) await deps.ledger.retryCopies(before.to.version, deps.now());
  const changed = await changeMigration(deps.ledger, migrationId, [before.status], ({ status, bounds }) => ({
    status: status === 'previewed' ? 'filling' : status,
    hold: null,
    reason: null,
    bounds: migrationBounds.parse({ ...bounds, ...body?.bounds }),
  }));
  if (!changed) throw new SightlineError('migration_state', 'It has changed meanwhile.');
  return changed;
}

/** The migration as it is told, with what its new version is owed. */
export async function viewMigration({ ledger, now }: MigrationsDeps, migration: Migration): Promise<MigrationView> {
  const { from, to, fill, gate, bounds, autoCutOver, createdAt, finishedAt } = migration;
  const isFilled = fill.startedAt !== null && to !== null;
  const { owed, failed } = isFilled ? await ledger.countCopies(to.version) : { owed: 0, failed: 0 };
  const failures = failed > 0 && to ? await ledger.failedCopies(to.version, SHOWN_FAILURES) : [];
  const points = Math.max(fill.total, fill.scanned);
  const copied = Math.max(0, fill.scanned - owed - failed);
  const seconds = fill.startedAt === null ? 0 : ((fill.endedAt ?? now()) - fill.startedAt) / 1_000;
  const rate = seconds > 0 && copied > 0 ? copied / seconds : null;
  const isGoing = migration.status === 'filling' && migration.hold === null && !isMigrationOver(migration);
  const version = ({ version: number, pack, spec }: Migration['from']) => ({
    version: number,
    pack,
    encoder: { image: spec.image.fingerprint, text: spec.text.fingerprint },
  });
  return {
    migration_id: migration.migrationId,
    status: migration.status,
    hold: migration.hold,
    reason: migration.reason,
    pack: migration.pack,
    from: version(from),
    to: to && version(to),
    bounds,
    cut_over: autoCutOver ? 'auto' : 'manual',
    preview: migration.preview,
    progress: {
      points,
      copied,
      owed,
      failed,
      points_per_second: rate === null ? null : Math.round(rate * 10) / 10,
      eta_seconds: rate === null || !isGoing ? null : Math.ceil(Math.max(0, points - copied) / rate),
    },
    failures: failures.map(({ tenant, assetId, code, reason }) => ({ tenant, asset_id: assetId, code, reason })),
    gate: gate && { ...gate, checked_at: new Date(gate.checked_at).toISOString() },
    created_at: new Date(createdAt).toISOString(),
    finished_at: finishedAt === null ? null : new Date(finishedAt).toISOString(),
  };
}
