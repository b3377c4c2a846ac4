import { isMigrationOver, migrationRecord, type Migration } from '../contracts/migrations.ts';
import {
  standingOf,
  type IndexWriting,
  type NotedWrite,
  type OwedPoint,
  type OwedPointFailure,
  type PointName,
} from '../ports/migration-ledger.ts';
import type { ErrorCode } from '../runtime/errors.ts';
import { numberOrNull, text, type LedgerDatabase, type Row } from './sqlite-ledger-rows.ts';

export const MIGRATIONS_DDL = `
  CREATE TABLE ledger_migrations (
    migration_id TEXT PRIMARY KEY, revision INTEGER NOT NULL, is_over INTEGER NOT NULL, created_at INTEGER NOT NULL, record TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE ledger_index_writing (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER, mirror INTEGER, closed INTEGER) STRICT;
  CREATE TABLE ledger_copy_generation (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL) STRICT;
  INSERT INTO ledger_copy_generation VALUES (1, 0);
  CREATE TABLE ledger_copies (
    version INTEGER NOT NULL, tenant TEXT NOT NULL, asset_id TEXT NOT NULL, generation INTEGER NOT NULL,
    held_until INTEGER NOT NULL, held_by INTEGER NOT NULL, claimed_until INTEGER NOT NULL, code TEXT, reason TEXT,
    PRIMARY KEY (version, tenant, asset_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX ledger_copies_by_turn ON ledger_copies (version, max(held_until, claimed_until), generation) WHERE code IS NULL;
`;

function toMigration(row: Row): Migration {
  return migrationRecord.parse(JSON.parse(text(row['record'])));
}

/** Ledger's methods on migrations between versions of the index. */
export function migrationMethods({ sql, transaction }: LedgerDatabase) {
  const nextGeneration = (): number =>
    Number(sql('UPDATE ledger_copy_generation SET last = last + 1 RETURNING last').get()?.['last']);

  /** `isWrite`: a writer holds them under this generation until it frees them; another reason leaves the holder as it is. */
  const owe = (version: number, points: PointName[], heldUntil: number, isWrite: boolean): number => {
    const generation = nextGeneration();
    const holder = isWrite ? generation : 0;
    for (const { tenant, assetId } of points)
      sql(
        `INSERT INTO ledger_copies VALUES (?, ?, ?, ?, ?, ?, 0, NULL, NULL) ON CONFLICT DO UPDATE SET
         generation = excluded.generation, held_until = max(held_until, excluded.held_until),
         held_by = max(held_by, excluded.held_by), code = NULL, reason = NULL`,
      ).run(version, tenant, assetId, generation, heldUntil, holder);
    return generation;
  };

  const indexWriting = (): IndexWriting | null => {
    const row = sql('SELECT version, mirror, closed FROM ledger_index_writing').get();
    const numberOf = (name: string): number | null => numberOrNull(row?.[name] ?? null);
    return row ? { version: numberOf('version'), mirror: numberOf('mirror'), closed: numberOf('closed') } : null;
  };

  return {
    indexWriting,

    addMigration(migration: Migration): boolean {
      return transaction(() => {
        if (sql('SELECT 1 FROM ledger_migrations WHERE is_over = 0 OR migration_id = ?').get(migration.migrationId)) return false;
        sql('INSERT INTO ledger_migrations VALUES (?, ?, ?, ?, ?)').run(
          migration.migrationId,
          migration.revision,
          isMigrationOver(migration) ? 1 : 0,
          migration.createdAt,
          JSON.stringify(migration),
        );
        return true;
      });
    },

    getMigration(migrationId: string): Migration | null {
      const row = sql('SELECT record FROM ledger_migrations WHERE migration_id = ?').get(migrationId);
      return row ? toMigration(row) : null;
    },

    listMigrations(limit: number): Migration[] {
      return sql('SELECT record FROM ledger_migrations ORDER BY created_at DESC, migration_id DESC LIMIT ?')
        .all(limit)
        .map(toMigration);
    },

    changeMigration(migration: Migration, writing: IndexWriting | undefined): boolean {
      return transaction(() => {
        const record = JSON.stringify(migration);
        const { migrationId, revision } = migration;
        const { changes } = sql(
          'UPDATE ledger_migrations SET revision = ?, is_over = ?, record = ? WHERE migration_id = ? AND revision = ?',
        ).run(revision, isMigrationOver(migration) ? 1 : 0, record, migrationId, revision - 1);
        if (changes === 0)
          return (
            sql('SELECT 1 FROM ledger_migrations WHERE migration_id = ? AND record = ?').get(migrationId, record) !== undefined
          );
        if (writing)
          sql('INSERT OR REPLACE INTO ledger_index_writing VALUES (1, ?, ?, ?)').run(
            writing.version,
            writing.mirror,
            writing.closed,
          );
        return true;
      });
    },

    noteWrites(version: number, points: PointName[], heldUntil: number): NotedWrite {
      return transaction(() => {
        const writing = indexWriting();
        const outcome = standingOf(writing, version);
        if (outcome !== 'noted') return { outcome };
        const mirror = writing?.mirror ?? null;
        return { outcome, mirror, generation: mirror === null ? 0 : owe(mirror, points, heldUntil, true) };
      });
    },

    freeWrites(mirror: number, points: PointName[], generation: number, at: number): void {
      transaction(() => {
        const missing: PointName[] = [];
        for (const point of points) {
          const key = [mirror, point.tenant, point.assetId] as const;
          const { changes } = sql(
            `UPDATE ledger_copies SET held_until = CASE held_by WHEN ? THEN ? ELSE held_until END
             WHERE version = ? AND tenant = ? AND asset_id = ?`,
          ).run(generation, at, ...key);
          if (changes === 0) missing.push(point);
        }
        if (missing.length > 0) owe(mirror, missing, at, false);
      });
    },

    oweCopies(version: number, points: PointName[], at: number): void {
      transaction(() => owe(version, points, at, false));
    },

    takeCopies(version: number, limit: number, claimMs: number, at: number): OwedPoint[] {
      return transaction(() => {
        const rows = sql(
          `SELECT tenant, asset_id, generation FROM ledger_copies
           WHERE version = ? AND code IS NULL AND max(held_until, claimed_until) <= ?
           ORDER BY max(held_until, claimed_until), generation LIMIT ?`,
        ).all(version, at, limit);
        const taken = rows.map((row) => ({
          tenant: text(row['tenant']),
          assetId: text(row['asset_id']),
          generation: Number(row['generation']),
        }));
        for (const { tenant, assetId } of taken)
          sql('UPDATE ledger_copies SET claimed_until = ? WHERE version = ? AND tenant = ? AND asset_id = ?').run(
            at + claimMs,
            version,
            tenant,
            assetId,
          );
        return taken;
      });
    },

    settleCopies(
      version: number,
      settled: (OwedPoint & { retryAt?: number; failure?: { code: ErrorCode; reason: string } })[],
    ): void {
      transaction(() => {
        for (const { tenant, assetId, generation, retryAt, failure } of settled) {
          const key = [version, tenant, assetId, generation] as const;
          const where = 'WHERE version = ? AND tenant = ? AND asset_id = ? AND generation = ?';
          if (failure) {
            sql(`UPDATE ledger_copies SET code = ?, reason = ?, claimed_until = 0 ${where}`).run(
              failure.code,
              failure.reason,
              ...key,
            );
          } else if (retryAt !== undefined) sql(`UPDATE ledger_copies SET claimed_until = ? ${where}`).run(retryAt, ...key);
          else sql(`DELETE FROM ledger_copies ${where}`).run(...key);
          sql(
            'UPDATE ledger_copies SET claimed_until = 0 WHERE version = ? AND tenant = ? AND asset_id = ? AND generation <> ?',
          ).run(...key);
        }
      });
    },

    countCopies(version: number): { owed: number; failed: number } {
      const row = sql('SELECT count(*) AS n, count(code) AS failed FROM ledger_copies WHERE version = ?').get(version);
      const failed = Number(row?.['failed']);
      return { owed: Number(row?.['n']) - failed, failed };
    },

    stillOwed(version: number, points: PointName[]): PointName[] {
      return points.filter(({ tenant, assetId }) =>
        sql('SELECT 1 FROM ledger_copies WHERE version = ? AND tenant = ? AND asset_id = ? AND code IS NULL').get(
          version,
          tenant,
          assetId,
        ),
      );
    },

    failedCopies(version: number, limit: number): OwedPointFailure[] {
      const rows = sql(
        'SELECT tenant, asset_id, code, reason FROM ledger_copies WHERE version = ? AND code IS NOT NULL ORDER BY tenant, asset_id LIMIT ?',
      ).all(version, limit);
      return rows.map((row) => ({
        tenant: text(row['tenant']),
        assetId: text(row['asset_id']),
        code: text(row['code']) as ErrorCode,
        reason: text(row['reason']),
      }));
    },

    retryCopies(version: number, at: number): number {
      const { changes } = sql(
        'UPDATE ledger_copies SET code = NULL, reason = NULL, held_until = ?, claimed_until = 0 WHERE version = ? AND code IS NOT NULL',
      ).run(at, version);
      return Number(changes);
    },

    dropCopies(version: number): void {
      sql('DELETE FROM ledger_copies WHERE version = ?').run(version);
    },
  };
}
