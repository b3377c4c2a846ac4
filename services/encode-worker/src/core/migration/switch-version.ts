import type { Migration } from '@sightline/shared/contracts/migrations';
import { changeMigration } from '@sightline/shared/migration/change-migration';
import type { IndexWriting } from '@sightline/shared/ports/migration-ledger';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { settled } from './compare-versions.ts';
import type { MigrationDeps } from './migration-deps.ts';

type Known = Migration & { to: NonNullable<Migration['to']> };

/**
 * Lets the new version serve. Writers wait while the last writes are copied, some moments; searches do not. Every step may be taken
 * again by who comes after a driver that died: the version that serves is changed at one point, and the writing after it. What
 * does not come to rest in time is called off, and writers go on in the old version, which still is in step.
 */
export async function cutOver(deps: MigrationDeps, migration: Known, signal: AbortSignal): Promise<void> {
  const { ledger, versions, now, logger } = deps;
  const { migrationId, from, to } = migration;
  const during = ['cutting_over'] as const;
  if (
    !(await changeMigration(
      ledger,
      migrationId,
      during,
      () => ({}),
      () => writing(null, to.version),
    ))
  )
    return;
  if ((await versions.serving()) !== to.version) {
    const isSettled = await settled(deps, to.version, signal, deps.settings.cutOverMs);
    const reason = isSettled
      ? await uneven(deps, migration)
      : 'The last writes did not end in time. Nothing is lost: cut over again.';
    if (reason !== null) {
      logger.warn({ migrationId, reason }, 'the cut-over was called off');
      const back = isSettled ? { status: 'verifying' as const, hold: 'gate' as const } : { status: 'ready' as const };
      await changeMigration(
        ledger,
        migrationId,
        during,
        () => ({ ...back, reason }),
        () => writing(from.version, to.version),
      );
      return;
    }
    await versions.serve(to.version);
  }
  await changeMigration(
    ledger,
    migrationId,
    during,
    () => ({ status: 'serving', reason: null, autoCutOver: false }),
    () => writing(to.version, from.version),
  );
  logger.info({ migrationId, version: to.version, at: now() }, 'the new version of the index serves');
}

/**
 * Lets the old version serve again, with everything that was written since: writers wait while the last of it is copied back. Points
 * whose pictures cannot be encoded by the old pack any more are left as they were.
 */
export async function rollBack(deps: MigrationDeps, { migrationId, from, to }: Known, signal: AbortSignal): Promise<void> {
  const { ledger, versions, now, logger } = deps;
  const during = ['rolling_back'] as const;
  if (
    !(await changeMigration(
      ledger,
      migrationId,
      during,
      () => ({}),
      () => writing(null, from.version),
    ))
  )
    return;
  if ((await versions.serving()) !== from.version) {
    if (!(await settled(deps, from.version, signal, deps.settings.cutOverMs))) {
      const reason =
        'What was written since the cut-over was not copied back in time: is a worker of the old pack up? Roll back again.';
      logger.warn({ migrationId }, 'the roll-back was called off');
      await changeMigration(
        ledger,
        migrationId,
        during,
        () => ({ status: 'serving', reason }),
        () => writing(to.version, from.version),
      );
      return;
    }
    await versions.serve(from.version);
  }
  await changeMigration(
    ledger,
    migrationId,
    during,
    () => ({ status: 'rolled_back', reason: null, finishedAt: now() }),
    () => ({ version: from.version, mirror: null, closed: to.version }),
  );
  logger.info({ migrationId, version: from.version }, 'the old version of the index serves again');
}

function writing(version: number | null, mirror: number): IndexWriting {
  return { version, mirror, closed: null };
}

/** Nobody writes now: the counts must be equal, but for the points that failed. */
async function uneven(deps: MigrationDeps, { from, to }: Known): Promise<string | null> {
  const [source, target] = await Promise.all([deps.open(from.version), deps.open(to.version)]);
  const { failed } = await deps.ledger.countCopies(to.version);
  for (const tenant of await tenantsOf(source, target)) {
    const [before, after] = await Promise.all([source.count(tenant), target.count(tenant)]);
    if (Math.abs(before.live - after.live) > failed)
      return `A tenant has ${before.live} points in the old version and ${after.live} in the new one: resume the migration, which compares them again.`;
  }
  return null;
}

async function tenantsOf(source: VectorIndex, target: VectorIndex): Promise<Set<string>> {
  return new Set([...(await source.tenants()), ...(await target.tenants())]);
}
