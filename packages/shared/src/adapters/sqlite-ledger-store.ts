import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import { source } from '../contracts/records.ts';
import { sourceKey } from '../contracts/source-place.ts';
import type { ChunkEntry, ChunkOutcome, Failure, Ingestion, IngestionStatus, KeyLease } from '../ports/ledger.ts';
import { SightlineError, type ErrorCode } from '../runtime/errors.ts';
import { inTransaction, openDatabase, type SqliteFormat } from './sqlite-database.ts';

export interface LedgerStoreOptions {
  file: string;
  readOnly: boolean;
  busyTimeoutMs?: number;
}

export type LedgerMethods = ReturnType<typeof methods>;

type Row = Record<string, SQLOutputValue>;

const TERMINAL: ReadonlySet<IngestionStatus> = new Set(['completed', 'failed', 'cancelled']);

const FORMAT: SqliteFormat = {
  name: 'ledger',
  applicationId: 0x534c4c47,
  migrations: [
    `
    CREATE TABLE ledger_ingestions (
      ingestion_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, source TEXT NOT NULL, source_key TEXT NOT NULL,
      status TEXT NOT NULL, reason TEXT,
      listed INTEGER NOT NULL DEFAULT 0, indexed INTEGER NOT NULL DEFAULT 0, unchanged INTEGER NOT NULL DEFAULT 0,
      duplicate INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
      planned INTEGER NOT NULL DEFAULT 0, cursor TEXT, next_chunk_no INTEGER NOT NULL DEFAULT 0,
      created_at INTEGER NOT NULL, finished_at INTEGER
    ) STRICT;
    CREATE INDEX ledger_ingestions_by_source ON ledger_ingestions (tenant, source_key, created_at, ingestion_id);
    CREATE INDEX ledger_ingestions_by_status ON ledger_ingestions (status, created_at);
    CREATE TABLE ledger_chunks (
      ingestion_id TEXT NOT NULL REFERENCES ledger_ingestions ON DELETE CASCADE, chunk_no INTEGER NOT NULL,
      entries TEXT NOT NULL, added_at INTEGER NOT NULL, PRIMARY KEY (ingestion_id, chunk_no)
    ) STRICT;
    CREATE INDEX ledger_chunks_by_age ON ledger_chunks (added_at, ingestion_id, chunk_no);
    CREATE TABLE ledger_failures (
      failure_no INTEGER PRIMARY KEY AUTOINCREMENT,
      ingestion_id TEXT NOT NULL REFERENCES ledger_ingestions ON DELETE CASCADE, key TEXT NOT NULL,
      code TEXT NOT NULL, reason TEXT NOT NULL, etag TEXT, attempts INTEGER NOT NULL, last_attempt_at INTEGER NOT NULL,
      UNIQUE (ingestion_id, key)
    ) STRICT;
    CREATE INDEX ledger_failures_in_order ON ledger_failures (ingestion_id, failure_no);
    CREATE TABLE ledger_leases (key TEXT PRIMARY KEY, token TEXT NOT NULL, expires_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX ledger_leases_by_token ON ledger_leases (token);
    CREATE INDEX ledger_leases_by_expiry ON ledger_leases (expires_at);
    CREATE TABLE ledger_settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE ledger_version (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL) STRICT;
    INSERT INTO ledger_version VALUES (1, 0);
    `,
    `
    ALTER TABLE ledger_ingestions ADD COLUMN dry_run INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE ledger_chunks ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE ledger_suspects (
      ingestion_id TEXT NOT NULL, chunk_no INTEGER NOT NULL, key TEXT NOT NULL, PRIMARY KEY (ingestion_id, chunk_no, key),
      FOREIGN KEY (ingestion_id, chunk_no) REFERENCES ledger_chunks ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;
    `,
  ],
};

/** The thread's side of SqliteLedger. */
export function open({ file, readOnly, busyTimeoutMs }: LedgerStoreOptions): { methods: LedgerMethods; close: () => void } {
  const db = openDatabase({ file, format: FORMAT, readOnly, busyTimeoutMs });
  return { methods: methods(db), close: () => db.close() };
}

function methods(db: DatabaseSync) {
  const statements = new Map<string, ReturnType<DatabaseSync['prepare']>>();
  const sql = (text: string): ReturnType<DatabaseSync['prepare']> => {
    let statement = statements.get(text);
    if (!statement) statements.set(text, (statement = db.prepare(text)));
    return statement;
  };
  const mustExist = (ingestionId: string): Row => {
    const row = sql('SELECT * FROM ledger_ingestions WHERE ingestion_id = ?').get(ingestionId);
    if (!row) throw new SightlineError('ingestion_not_found');
    return row;
  };
  const addFailures = (ingestionId: string, failures: ChunkOutcome['failures'], at: number): void => {
    for (const { key, code, reason, eTag } of failures) {
      sql(
        `INSERT INTO ledger_failures (ingestion_id, key, code, reason, etag, attempts, last_attempt_at) VALUES (?, ?, ?, ?, ?, 1, ?)
         ON CONFLICT (ingestion_id, key) DO UPDATE SET code = excluded.code, reason = excluded.reason, etag = excluded.etag,
           attempts = attempts + 1, last_attempt_at = excluded.last_attempt_at`,
      ).run(ingestionId, key, code, reason, eTag ?? null, at);
    }
  };

  return {
    createIngestion(ingestion: {
      ingestionId: string;
      tenant: string;
      source: Ingestion['source'];
      dryRun?: boolean;
      createdAt: number;
    }): Ingestion {
      return inTransaction(db, () => {
        sql(
          `INSERT INTO ledger_ingestions (ingestion_id, tenant, source, source_key, dry_run, status, created_at)
           VALUES (?, ?, ?, ?, ?, 'planning', ?) ON CONFLICT DO NOTHING`,
        ).run(
          ingestion.ingestionId,
          ingestion.tenant,
          JSON.stringify(ingestion.source),
          sourceKey(ingestion.source),
          ingestion.dryRun ? 1 : 0,
          ingestion.createdAt,
        );
        return toIngestion(mustExist(ingestion.ingestionId));
      });
    },

    getIngestion(tenant: string, ingestionId: string): Ingestion | null {
      const row = sql('SELECT * FROM ledger_ingestions WHERE tenant = ? AND ingestion_id = ?').get(tenant, ingestionId);
      return row ? toIngestion(row) : null;
    },

    listIngestions(tenant: string | null, { statuses, limit }: { statuses?: IngestionStatus[]; limit: number }): Ingestion[] {
      return sql(
        `SELECT * FROM ledger_ingestions WHERE (?1 IS NULL OR tenant = ?1)
           AND (?2 IS NULL OR status IN (SELECT value FROM json_each(?2)))
         ORDER BY created_at DESC, ingestion_id DESC LIMIT ?3`,
      )
        .all(tenant, statuses ? JSON.stringify(statuses) : null, limit)
        .map(toIngestion);
    },

    latestIngestions(tenant: string | null): Ingestion[] {
      return sql(
        `SELECT i.* FROM ledger_ingestions i WHERE (?1 IS NULL OR i.tenant = ?1) AND i.dry_run = 0 AND NOT EXISTS (
           SELECT 1 FROM ledger_ingestions newer WHERE newer.tenant = i.tenant AND newer.source_key = i.source_key
             AND newer.dry_run = 0 AND (newer.created_at, newer.ingestion_id) > (i.created_at, i.ingestion_id))
         ORDER BY created_at, ingestion_id`,
      )
        .all(tenant)
        .map(toIngestion);
    },

    setStatus(
      ingestionId: string,
      from: IngestionStatus[],
      to: IngestionStatus,
      { reason, at }: { reason?: string; at: number },
    ): boolean {
      return inTransaction(db, () => {
        mustExist(ingestionId);
        const { changes } = sql(
          `UPDATE ledger_ingestions SET status = ?2, reason = ?3, finished_at = ?4
           WHERE ingestion_id = ?1 AND status IN (SELECT value FROM json_each(?5))`,
        ).run(ingestionId, to, reason ?? null, TERMINAL.has(to) ? at : null, JSON.stringify(from));
        return Number(changes) === 1;
      });
    },

    addChunk(
      ingestionId: string,
      chunk: {
        chunkNo: number;
        entries: ChunkEntry[];
        listed: number;
        failures: ChunkOutcome['failures'];
        cursor: string;
        at: number;
      },
    ): void {
      inTransaction(db, () => {
        const nextChunkNo = Number(mustExist(ingestionId)['next_chunk_no']);
        if (chunk.chunkNo < nextChunkNo) return;
        if (chunk.chunkNo > nextChunkNo) {
          throw new SightlineError('internal', `Chunk ${chunk.chunkNo} came before chunk ${nextChunkNo}.`);
        }
        if (chunk.entries.length > 0) {
          sql('INSERT INTO ledger_chunks (ingestion_id, chunk_no, entries, added_at) VALUES (?, ?, ?, ?)').run(
            ingestionId,
            chunk.chunkNo,
            JSON.stringify(chunk.entries),
            chunk.at,
          );
        }
        addFailures(ingestionId, chunk.failures, chunk.at);
        sql(
          `UPDATE ledger_ingestions SET next_chunk_no = next_chunk_no + 1, cursor = ?, listed = listed + ?, failed = failed + ?
           WHERE ingestion_id = ?`,
        ).run(chunk.cursor, chunk.listed, chunk.failures.length, ingestionId);
      });
    },

    finishPlanning(ingestionId: string): void {
      inTransaction(db, () => {
        mustExist(ingestionId);
        sql('UPDATE ledger_ingestions SET planned = 1 WHERE ingestion_id = ?').run(ingestionId);
      });
    },

    takeChunk(ingestionId: string, chunkNo: number): { entries: ChunkEntry[]; addedAt: number; attempts: number } | null {
      const row = sql(
        `UPDATE ledger_chunks SET attempts = attempts + 1 WHERE ingestion_id = ? AND chunk_no = ?
         RETURNING entries, added_at, attempts`,
      ).get(ingestionId, chunkNo);
      if (!row) return null;
      // Written by addChunk, of this version or an older one of this format.
      const entries = JSON.parse(text(row['entries'])) as ChunkEntry[];
      return { entries, addedAt: Number(row['added_at']), attempts: Number(row['attempts']) };
    },

    giveBackChunk(ingestionId: string, chunkNo: number): void {
      sql('UPDATE ledger_chunks SET attempts = max(attempts - 1, 0) WHERE ingestion_id = ? AND chunk_no = ?').run(
        ingestionId,
        chunkNo,
      );
    },

    addSuspect(ingestionId: string, chunkNo: number, key: string): boolean {
      return inTransaction(db, () => {
        const of = 'ingestion_id = ?1 AND chunk_no = ?2';
        if (sql(`SELECT 1 FROM ledger_suspects WHERE ${of} AND key = ?3`).get(ingestionId, chunkNo, key)) return false;
        sql(`INSERT INTO ledger_suspects SELECT ingestion_id, chunk_no, ?3 FROM ledger_chunks WHERE ${of}`).run(
          ingestionId,
          chunkNo,
          key,
        );
        return true;
      });
    },

    clearSuspect(ingestionId: string, chunkNo: number, key: string): void {
      sql('DELETE FROM ledger_suspects WHERE ingestion_id = ? AND chunk_no = ? AND key = ?').run(ingestionId, chunkNo, key);
    },

    completeChunk(ingestionId: string, chunkNo: number, outcome: ChunkOutcome, at: number): boolean {
      return inTransaction(db, () => {
        const dropped = sql('DELETE FROM ledger_chunks WHERE ingestion_id = ? AND chunk_no = ?').run(ingestionId, chunkNo);
        if (Number(dropped.changes) === 0) return false;
        addFailures(ingestionId, outcome.failures, at);
        sql(
          `UPDATE ledger_ingestions SET indexed = indexed + ?, unchanged = unchanged + ?, duplicate = duplicate + ?, failed = failed + ?
           WHERE ingestion_id = ?`,
        ).run(outcome.indexed, outcome.unchanged, outcome.duplicate, outcome.failures.length, ingestionId);
        return true;
      });
    },

    outstandingChunks({ ingestionId, limit }: { ingestionId?: string; limit: number }) {
      return sql(
        `SELECT i.tenant, c.ingestion_id, c.chunk_no, c.added_at FROM ledger_chunks c JOIN ledger_ingestions i USING (ingestion_id)
         WHERE ?1 IS NULL OR c.ingestion_id = ?1 ORDER BY c.added_at, c.ingestion_id, c.chunk_no LIMIT ?2`,
      )
        .all(ingestionId ?? null, limit)
        .map((row) => ({
          tenant: text(row['tenant']),
          ingestionId: text(row['ingestion_id']),
          chunkNo: Number(row['chunk_no']),
          addedAt: Number(row['added_at']),
        }));
    },

    countOutstandingChunks(ingestionId?: string): number {
      const row = sql('SELECT count(*) AS n FROM ledger_chunks WHERE ?1 IS NULL OR ingestion_id = ?1').get(ingestionId ?? null);
      return Number(row?.['n']);
    },

    failures(ingestionId: string, { cursor, limit }: { cursor?: string; limit: number }) {
      const after = cursor === undefined ? 0 : Number(cursor);
      if (!Number.isSafeInteger(after)) throw new SightlineError('request_invalid', 'The cursor is not one of this list.');
      mustExist(ingestionId);
      const rows = sql('SELECT * FROM ledger_failures WHERE ingestion_id = ? AND failure_no > ? ORDER BY failure_no LIMIT ?').all(
        ingestionId,
        after,
        limit + 1,
      );
      const page = rows.slice(0, limit);
      const failures: Failure[] = page.map((row) => ({
        key: text(row['key']),
        code: text(row['code']) as ErrorCode,
        reason: text(row['reason']),
        attempts: Number(row['attempts']),
        lastAttemptAt: Number(row['last_attempt_at']),
      }));
      return { failures, nextCursor: rows.length > limit ? String(page.at(-1)?.['failure_no']) : null };
    },

    /** A page of failedObjects after failure number `after`. */
    failedObjectsPage(ingestionId: string, after: number, limit: number) {
      return sql(
        'SELECT failure_no, key, etag, code FROM ledger_failures WHERE ingestion_id = ? AND failure_no > ? ORDER BY failure_no LIMIT ?',
      )
        .all(ingestionId, after, limit)
        .map((row) => ({
          failureNo: Number(row['failure_no']),
          key: text(row['key']),
          eTag: row['etag'] === null ? null : text(row['etag']),
          code: text(row['code']) as ErrorCode,
        }));
    },

    leaseKeys(token: string, keys: string[], ttlMs: number, now: number): KeyLease {
      return inTransaction(db, () => {
        sql('DELETE FROM ledger_leases WHERE expires_at <= ?').run(now);
        const granted: string[] = [];
        const busy: string[] = [];
        for (const key of new Set(keys)) {
          const { changes } = sql(
            'INSERT INTO ledger_leases (key, token, expires_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
          ).run(key, token, now + ttlMs);
          (Number(changes) === 1 ? granted : busy).push(key);
        }
        // Never behind the clock: an index that outlives its ledger still sees its versions grow.
        const row = sql('UPDATE ledger_version SET last = max(last + 1, ?) RETURNING last').get(now);
        return { token, version: Number(row?.['last']), granted, busy };
      });
    },

    renewKeys(token: string, ttlMs: number, now: number): boolean {
      return inTransaction(db, () => {
        const lost = sql('SELECT 1 FROM ledger_leases WHERE token = ? AND expires_at <= ? LIMIT 1').get(token, now);
        if (lost) return false;
        return Number(sql('UPDATE ledger_leases SET expires_at = ? WHERE token = ?').run(now + ttlMs, token).changes) > 0;
      });
    },

    releaseKeys(token: string): void {
      sql('DELETE FROM ledger_leases WHERE token = ?').run(token);
    },

    getSetting(name: string): string | null {
      const row = sql('SELECT value FROM ledger_settings WHERE name = ?').get(name);
      return row ? text(row['value']) : null;
    },

    putSetting(name: string, value: string): void {
      sql('INSERT INTO ledger_settings VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value').run(name, value);
    },

    prune(before: number): number {
      const { changes } = sql(
        `DELETE FROM ledger_ingestions WHERE finished_at < ? AND (dry_run = 1 OR EXISTS (
           SELECT 1 FROM ledger_ingestions newer WHERE newer.tenant = ledger_ingestions.tenant
             AND newer.source_key = ledger_ingestions.source_key AND newer.dry_run = 0
             AND (newer.created_at, newer.ingestion_id) > (ledger_ingestions.created_at, ledger_ingestions.ingestion_id)))`,
      ).run(before);
      return Number(changes);
    },
  };
}

function toIngestion(row: Row): Ingestion {
  return {
    ingestionId: text(row['ingestion_id']),
    tenant: text(row['tenant']),
    source: source.parse(JSON.parse(text(row['source']))),
    dryRun: row['dry_run'] === 1,
    status: text(row['status']) as IngestionStatus,
    reason: row['reason'] === null ? null : text(row['reason']),
    counts: {
      listed: Number(row['listed']),
      indexed: Number(row['indexed']),
      unchanged: Number(row['unchanged']),
      duplicate: Number(row['duplicate']),
      failed: Number(row['failed']),
    },
    planned: row['planned'] === 1,
    cursor: row['cursor'] === null ? null : text(row['cursor']),
    nextChunkNo: Number(row['next_chunk_no']),
    createdAt: Number(row['created_at']),
    finishedAt: row['finished_at'] === null ? null : Number(row['finished_at']),
  };
}

function text(value: SQLOutputValue | undefined): string {
  if (typeof value !== 'string') throw new SightlineError('store_damaged', 'A ledger row holds what is not text.');
  return value;
}
