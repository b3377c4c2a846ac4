import type { SqliteFormat } from './sqlite-database.ts';
import { AUDITS_LAYOUT } from './sqlite-ledger-audits.ts';
import { FEEDBACK_LAYOUT } from './sqlite-ledger-feedback.ts';
import { MIGRATIONS_DDL } from './sqlite-ledger-migrations.ts';
import { OUTBOX_LAYOUT } from './sqlite-ledger-outbox.ts';
import { QUESTIONS_LAYOUT } from './sqlite-ledger-questions.ts';

/** The layout of the ledger's file. */
export const LEDGER_FORMAT: SqliteFormat = {
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
    `
    ALTER TABLE ledger_ingestions ADD COLUMN hold TEXT;
    ALTER TABLE ledger_failures ADD COLUMN retried INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE ledger_suspects ADD COLUMN asker TEXT NOT NULL DEFAULT '';
    CREATE TABLE ledger_api_keys (
      key_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, secret_hash TEXT NOT NULL UNIQUE, scopes TEXT NOT NULL,
      created_at INTEGER NOT NULL, expires_at INTEGER, revoked_at INTEGER, last_used_at INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX ledger_api_keys_by_tenant ON ledger_api_keys (tenant, created_at, key_id);
    `,
    `
    CREATE TABLE ledger_changes (
      tenant TEXT NOT NULL, place TEXT NOT NULL, change TEXT NOT NULL, generation INTEGER NOT NULL, noticed_at INTEGER NOT NULL,
      noted_at INTEGER NOT NULL, changed_at INTEGER, attempts INTEGER NOT NULL, free_at INTEGER NOT NULL, PRIMARY KEY (tenant, place)
    ) STRICT;
    CREATE INDEX ledger_changes_by_age ON ledger_changes (tenant, noticed_at, place);
    CREATE TABLE ledger_change_failures (
      failure_no INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, place TEXT NOT NULL, change TEXT NOT NULL,
      code TEXT NOT NULL, reason TEXT NOT NULL, etag TEXT, failed_at INTEGER NOT NULL, UNIQUE (tenant, place)
    ) STRICT;
    CREATE TABLE ledger_change_generation (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL) STRICT;
    INSERT INTO ledger_change_generation VALUES (1, 0);
    `,
    AUDITS_LAYOUT,
    MIGRATIONS_DDL,
    QUESTIONS_LAYOUT,
    OUTBOX_LAYOUT,
    FEEDBACK_LAYOUT,
  ],
};
