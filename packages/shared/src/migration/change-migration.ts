import type { Migration, MigrationStatus } from '../contracts/migrations.ts';
import type { IndexWriting, MigrationLedger } from '../ports/migration-ledger.ts';

/** The migration that is going; null when none is. */
export async function latestMigration(ledger: Pick<MigrationLedger, 'listMigrations'>): Promise<Migration | null> {
  return (await ledger.listMigrations(1))[0] ?? null;
}

/**
 * Changes a migration while it is in one of these statuses; answers it as it is then, or null when it is in another. Who changes it at
 * the same time is not overwritten: the change is made again on what they left.
 */
export async function changeMigration(
  ledger: Pick<MigrationLedger, 'getMigration' | 'changeMigration'>,
  migrationId: string,
  from: readonly MigrationStatus[],
  change: (migration: Migration) => Partial<Migration>,
  writing?: (migration: Migration) => IndexWriting,
): Promise<Migration | null> {
  for (;;) {
    const now = await ledger.getMigration(migrationId);
    if (!now || !from.includes(now.status)) return null;
    const next = { ...now, ...change(now), revision: now.revision + 1 };
    if (await ledger.changeMigration(next, writing?.(next))) return next;
  }
}
