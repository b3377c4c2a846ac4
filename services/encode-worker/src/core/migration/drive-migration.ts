import { ENDED_MIGRATIONS, isMigrationOver, type Migration } from '@sightline/shared/contracts/migrations';
import { migrationLockKey } from '@sightline/shared/contracts/ids';
import { withFreeKey, type HeldLease } from '@sightline/shared/ingestion/key-lease';
import { changeMigration, latestMigration } from '@sightline/shared/migration/change-migration';
import { isSameSpec } from '@sightline/shared/migration/same-spec';
import { copyPoints } from './copy-points.ts';
import { fillVersion } from './fill-version.ts';
import type { MigrationDeps } from './migration-deps.ts';
import { roleIn, targetOf, type MigrationRole } from './migration-role.ts';
import { previewMigration } from './preview-migration.ts';
import { cutOver, rollBack } from './switch-version.ts';
import { countAll, verifyMigration } from './verify-migration.ts';

/** In these a worker of the new pack has something to do, or of either. */
const DRIVEN: Record<'from' | 'to', readonly Migration['status'][]> = {
  to: ['waiting', 'previewing', 'filling', 'verifying', 'ready', 'cutting_over', 'rolling_back'],
  from: ['rolling_back'],
};

/**
 * Takes the migration that is going one step on, when this worker has a part in it and no other worker drives it. Each step begins from
 * what the ledger says, and may be begun again after a driver died in it. Answers whether there was something to do.
 * Errors: those of the ports and the encoders; the step is then tried again.
 */
export async function driveMigration(deps: MigrationDeps, signal: AbortSignal): Promise<boolean> {
  const { ledger, sleep, settings, encoder } = deps;
  const latest = await latestMigration(ledger);
  if (!latest) return false;
  const role = roleIn(latest, encoder, deps.pack);
  if (!role || !isDriven(latest, role)) return false;
  let didSomething = false;
  await withFreeKey({ ledger, sleep }, migrationLockKey(latest.migrationId), { ttlMs: settings.leaseTtlMs }, async (lease) => {
    // Under the lease: another may have taken the step meanwhile.
    const migration = await ledger.getMigration(latest.migrationId);
    if (!migration || !isDriven(migration, role)) return;
    didSomething = await step(deps, migration, lease, signal);
  });
  return didSomething;
}

function isDriven({ status, hold }: Migration, role: Exclude<MigrationRole, null>): boolean {
  return DRIVEN[role].includes(status) && hold === null;
}

async function step(deps: MigrationDeps, migration: Migration, lease: HeldLease, signal: AbortSignal): Promise<boolean> {
  const { ledger, encoder } = deps;
  const { status, to, migrationId } = migration;
  if (status === 'waiting' || !to) return begin(deps, migration);
  const known = { ...migration, to };
  if (status === 'previewing') {
    const preview = await previewMigration(deps, migration, encoder.spec, signal);
    const next = (now: Migration): Partial<Migration> => ({ preview, status: now.previewOnly ? 'previewed' : 'filling' });
    await changeMigration(ledger, migrationId, ['previewing'], next);
  } else if (status === 'filling') {
    if (migration.fill.startedAt === null) await startFill(deps, known);
    else await fillVersion(deps, migration, lease, signal);
  } else if (status === 'verifying') {
    const gate = await verifyMigration(deps, known, signal);
    const held = { hold: 'gate' as const, reason: gate.reasons.join('; ') };
    await changeMigration(ledger, migrationId, ['verifying'], () => ({
      gate,
      ...(gate.passed ? { status: 'ready' as const, reason: null } : held),
    }));
  } else if (status === 'ready') {
    // One that was called off is tried again when nothing is under way.
    if (!migration.autoCutOver || (await ledger.countCopies(to.version)).owed > 0) return false;
    await changeMigration(ledger, migrationId, ['ready'], () => ({ status: 'cutting_over' }));
  } else if (status === 'cutting_over') await cutOver(deps, known, signal);
  else if (status === 'rolling_back') await rollBack(deps, known, signal);
  return true;
}

/** The new pack's worker is here: what it makes is known now. */
async function begin(
  { ledger, encoder, versions, now }: MigrationDeps,
  { migrationId, from, pack }: Migration,
): Promise<boolean> {
  if (isSameSpec(from.spec, encoder.spec)) {
    const reason = 'The pack makes the same vectors as the one that serves: there is nothing to migrate.';
    await changeMigration(ledger, migrationId, ['waiting'], () => ({ status: 'failed', reason, finishedAt: now() }));
    return true;
  }
  // Numbers are not used twice: who still has an old version open must not take the new one for it.
  const used = (await ledger.listMigrations(1_000)).flatMap((migration) => [migration.from.version, migration.to?.version ?? 0]);
  const version = Math.max(...used, ...(await versions.numbers())) + 1;
  const to = { version, pack, spec: encoder.spec };
  await changeMigration(ledger, migrationId, ['waiting'], () => ({ status: 'previewing', to, reason: null }));
  return true;
}

async function startFill(
  deps: MigrationDeps,
  { migrationId, from, to }: Migration & { to: NonNullable<Migration['to']> },
): Promise<void> {
  await deps.open(to.version, to.spec);
  const { live, deleted } = await countAll(await deps.open(from.version));
  await changeMigration(
    deps.ledger,
    migrationId,
    ['filling'],
    ({ fill }) => ({ fill: { ...fill, total: live + deleted, startedAt: deps.now() }, reason: null }),
    () => ({ version: from.version, mirror: to.version, closed: null }),
  );
}

/** Copies a batch of what a version of this worker's encoder is owed. Answers whether there was any. */
export async function copyOwed(deps: MigrationDeps, signal: AbortSignal): Promise<boolean> {
  const { ledger, now, settings, encoder } = deps;
  const migration = await latestMigration(ledger);
  const plan = migration && targetOf(migration, roleIn(migration, encoder, deps.pack));
  if (!plan) return false;
  const taken = await ledger.takeCopies(plan.target, { limit: settings.batchPoints, claimMs: settings.claimMs, at: now() });
  if (taken.length === 0) return false;
  try {
    const versions = { source: await deps.open(plan.source), target: await deps.open(plan.target), isLate: plan.isLate };
    await ledger.settleCopies(plan.target, await copyPoints(deps, versions, taken, signal));
  } catch (error) {
    const retryAt = now() + settings.retryMs;
    await ledger.settleCopies(plan.target, taken.map((point) => ({ ...point, retryAt }))).catch(() => {}); // prettier-ignore
    throw error;
  }
  return true;
}

/** Takes away the version that a migration left, some time after its end, and what was noted for it. */
export async function dropLeftover({ ledger, versions, now, settings, logger }: MigrationDeps): Promise<void> {
  const writing = await ledger.indexWriting();
  const closed = writing?.closed ?? null;
  if (!writing || closed === null) return;
  const latest = await latestMigration(ledger);
  if (!latest || !isMigrationOver(latest) || now() - (latest.finishedAt ?? 0) < settings.leaveMs) return;
  // One that an operator let serve by other means is no leftover.
  if ((await versions.serving()) !== closed) {
    await versions.drop(closed);
    logger.info({ version: closed }, 'a version of the index that is out of use was dropped');
  }
  for (const version of [latest.from.version, latest.to?.version]) if (version !== undefined) await ledger.dropCopies(version);
  const forgotten = () => ({ ...writing, closed: null });
  await changeMigration(ledger, latest.migrationId, ENDED_MIGRATIONS, () => ({}), forgotten);
}
