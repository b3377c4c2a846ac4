import { DatabaseSync } from 'node:sqlite';
import { SightlineError, toSightlineError, type ErrorCode } from '../runtime/errors.ts';

/** The layout of one kind of file. `migrations[n]` leads from version n to n + 1; the file's version is `PRAGMA user_version`. */
export interface SqliteFormat {
  /** For messages: "index", "ledger". */
  name: string;
  /** `PRAGMA application_id`: tells an index from a ledger. */
  applicationId: number;
  migrations: readonly string[];
}

export interface OpenDatabase {
  file: string;
  format: SqliteFormat;
  /** A connection that only reads; the layout must be there already. */
  readOnly: boolean;
  /** How long a statement waits for another process's write. */
  busyTimeoutMs?: number;
  /** Extension to load before anything else, as a path without suffix. */
  extension?: string;
}

/**
 * Opens a file in WAL mode, so that readers never wait for writers, and brings its layout up to date in one transaction.
 * `synchronous=FULL`: a write that was answered survives a power cut, which WAL's usual NORMAL does not promise.
 * A local disk is needed: WAL's shared memory does not work over network file systems.
 * Errors: `store_format_unsupported`, `store_damaged`, else SQLite's own (see toStoreError).
 */
export function openDatabase({ file, format, readOnly, busyTimeoutMs = 15_000, extension }: OpenDatabase): DatabaseSync {
  const db = new DatabaseSync(file, { timeout: busyTimeoutMs, allowExtension: extension !== undefined });
  try {
    if (extension) {
      db.loadExtension(extension);
      db.enableLoadExtension(false);
    }
    // Before the first write: a file of a newer version is refused untouched.
    assertKnownFormat(db, file, format);
    enterWal(db, busyTimeoutMs);
    db.exec('PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-65536;');
    if (readOnly) db.exec('PRAGMA query_only=ON');
    else migrate(db, file, format);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Runs `work` in one IMMEDIATE transaction: a deferred one that turns writer midway fails at once instead of waiting. */
export function inTransaction<T>(db: DatabaseSync, work: () => T): T {
  db.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    db.exec('COMMIT');
    return result;
  } catch (error) {
    // A full disk or an I/O error has already rolled back.
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

function pragmaNumber(db: DatabaseSync, name: 'user_version' | 'application_id'): number {
  return Number(db.prepare(`PRAGMA ${name}`).get()?.[name] ?? 0);
}

function assertKnownFormat(db: DatabaseSync, file: string, format: SqliteFormat): void {
  // First: another process may be making the file, and what is read after its tables were seen is that of after they were made.
  const isEmpty = db.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.['n'] === 0;
  const applicationId = pragmaNumber(db, 'application_id');
  const version = pragmaNumber(db, 'user_version');
  if (!isEmpty && applicationId !== format.applicationId) {
    throw new SightlineError(
      'store_format_unsupported',
      `${file} is not a Sightline ${format.name}: name another file or another DATA_DIR.`,
    );
  }
  if (version > format.migrations.length) {
    throw new SightlineError(
      'store_format_unsupported',
      `${file} is a ${format.name} of format ${version}, this version knows up to ${format.migrations.length}: ` +
        'start the newer Sightline that wrote it, or ingest again into a new DATA_DIR.',
    );
  }
}

function enterWal(db: DatabaseSync, busyTimeoutMs: number): void {
  const endsAt = Date.now() + busyTimeoutMs;
  for (;;) {
    try {
      db.exec('PRAGMA journal_mode=WAL');
      return;
    } catch (error) {
      // Changing the mode does not wait for other processes' locks as statements do.
      if (primaryCode(error) !== SQLITE_BUSY || Date.now() > endsAt) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
}

function migrate(db: DatabaseSync, file: string, format: SqliteFormat): void {
  if (pragmaNumber(db, 'user_version') === format.migrations.length) return;
  inTransaction(db, () => {
    // Again under the lock: another process may have been first.
    assertKnownFormat(db, file, format);
    for (const step of format.migrations.slice(pragmaNumber(db, 'user_version'))) db.exec(step);
    db.exec(`PRAGMA application_id=${format.applicationId}; PRAGMA user_version=${format.migrations.length}`);
  });
}

const SQLITE_BUSY = 5;
/** https://sqlite.org/rescode.html, primary codes: what may pass, and what a repair needs. */
const MAY_PASS: Record<number, string> = {
  5: 'Another process holds the file.',
  6: 'Another connection holds a table.',
  7: 'SQLite is out of memory.',
  8: 'The file or its folder cannot be written.',
  10: 'The disk reports an I/O error.',
  13: 'The disk is full.',
  14: 'The file cannot be opened: check that its folder exists and may be written.',
};
const SQLITE_FULL = 13;
/** Stores whose callers want to know that there is no room, and wait for it longer than for an answer. */
const FULL: Partial<Record<ErrorCode, ErrorCode>> = { ledger_unavailable: 'ledger_full' };
const DAMAGED: ReadonlySet<number> = new Set([11, 26]);

function primaryCode(error: unknown): number | null {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return null;
  return error.errcode & 0xff;
}

/**
 * Any value thrown by a store: SQLite's busy, full and I/O errors become `unavailable` (a full disk under the ledger
 * `ledger_full`), a broken file `store_damaged`.
 */
export function toStoreError(thrown: unknown, unavailable: ErrorCode): SightlineError {
  const code = primaryCode(thrown);
  if (code === SQLITE_FULL && FULL[unavailable]) return new SightlineError(FULL[unavailable], MAY_PASS[code], { cause: thrown });
  if (code !== null && MAY_PASS[code]) return new SightlineError(unavailable, MAY_PASS[code], { cause: thrown });
  if (code !== null && DAMAGED.has(code)) {
    return new SightlineError('store_damaged', 'Restore it from a backup, or move it away and ingest again.', { cause: thrown });
  }
  return toSightlineError(thrown);
}
