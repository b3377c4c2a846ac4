-- A ledger file as format 6 left it, frozen: newer versions must open it.
PRAGMA application_id=1397509191;
PRAGMA user_version=6;
CREATE TABLE ledger_ingestions (
      ingestion_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, source TEXT NOT NULL, source_key TEXT NOT NULL,
      status TEXT NOT NULL, reason TEXT,
      listed INTEGER NOT NULL DEFAULT 0, indexed INTEGER NOT NULL DEFAULT 0, unchanged INTEGER NOT NULL DEFAULT 0,
      duplicate INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
      planned INTEGER NOT NULL DEFAULT 0, cursor TEXT, next_chunk_no INTEGER NOT NULL DEFAULT 0,
      created_at INTEGER NOT NULL, finished_at INTEGER
    , dry_run INTEGER NOT NULL DEFAULT 0, hold TEXT) STRICT;
CREATE INDEX ledger_ingestions_by_source ON ledger_ingestions (tenant, source_key, created_at, ingestion_id);
CREATE INDEX ledger_ingestions_by_status ON ledger_ingestions (status, created_at);
CREATE TABLE ledger_chunks (
      ingestion_id TEXT NOT NULL REFERENCES ledger_ingestions ON DELETE CASCADE, chunk_no INTEGER NOT NULL,
      entries TEXT NOT NULL, added_at INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (ingestion_id, chunk_no)
    ) STRICT;
CREATE INDEX ledger_chunks_by_age ON ledger_chunks (added_at, ingestion_id, chunk_no);
CREATE TABLE ledger_failures (
      failure_no INTEGER PRIMARY KEY AUTOINCREMENT,
      ingestion_id TEXT NOT NULL REFERENCES ledger_ingestions ON DELETE CASCADE, key TEXT NOT NULL,
      code TEXT NOT NULL, reason TEXT NOT NULL, etag TEXT, attempts INTEGER NOT NULL, last_attempt_at INTEGER NOT NULL, retried INTEGER NOT NULL DEFAULT 0,
      UNIQUE (ingestion_id, key)
    ) STRICT;
CREATE INDEX ledger_failures_in_order ON ledger_failures (ingestion_id, failure_no);
CREATE TABLE ledger_leases (key TEXT PRIMARY KEY, token TEXT NOT NULL, expires_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_leases_by_token ON ledger_leases (token);
CREATE INDEX ledger_leases_by_expiry ON ledger_leases (expires_at);
CREATE TABLE ledger_settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE ledger_version (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL) STRICT;
CREATE TABLE ledger_suspects (
      ingestion_id TEXT NOT NULL, chunk_no INTEGER NOT NULL, key TEXT NOT NULL, asker TEXT NOT NULL DEFAULT '', PRIMARY KEY (ingestion_id, chunk_no, key),
      FOREIGN KEY (ingestion_id, chunk_no) REFERENCES ledger_chunks ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;
CREATE TABLE ledger_api_keys (
      key_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, secret_hash TEXT NOT NULL UNIQUE, scopes TEXT NOT NULL,
      created_at INTEGER NOT NULL, expires_at INTEGER, revoked_at INTEGER, last_used_at INTEGER
    ) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_api_keys_by_tenant ON ledger_api_keys (tenant, created_at, key_id);
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
CREATE TABLE ledger_audits (
    audit_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, place TEXT, repair INTEGER NOT NULL, grace_ms INTEGER NOT NULL,
    asked_by TEXT NOT NULL, status TEXT NOT NULL, reason TEXT, attempts INTEGER NOT NULL DEFAULT 0, result TEXT, clean INTEGER,
    created_at INTEGER NOT NULL, finished_at INTEGER
  ) STRICT;
CREATE INDEX ledger_audits_by_tenant ON ledger_audits (tenant, created_at, audit_id);
CREATE INDEX ledger_audits_active ON ledger_audits (created_at, audit_id) WHERE finished_at IS NULL;
CREATE TABLE ledger_migrations (
    migration_id TEXT PRIMARY KEY, revision INTEGER NOT NULL, is_over INTEGER NOT NULL, created_at INTEGER NOT NULL, record TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
CREATE TABLE ledger_index_writing (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER, mirror INTEGER, closed INTEGER) STRICT;
CREATE TABLE ledger_copy_generation (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL) STRICT;
CREATE TABLE ledger_copies (
    version INTEGER NOT NULL, tenant TEXT NOT NULL, asset_id TEXT NOT NULL, generation INTEGER NOT NULL,
    held_until INTEGER NOT NULL, held_by INTEGER NOT NULL, claimed_until INTEGER NOT NULL, code TEXT, reason TEXT,
    PRIMARY KEY (version, tenant, asset_id)
  ) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_copies_by_turn ON ledger_copies (version, max(held_until, claimed_until), generation) WHERE code IS NULL;
INSERT INTO ledger_ingestions VALUES ('i1', 't', '{"type":"directory","path":"/pictures"}', '["/pictures","",null]', 'paused', 'why', 2, 0, 0, 0, 1, 0, 'c0', 1, 10, NULL, 0, 'user');
INSERT INTO ledger_chunks VALUES ('i1', 0, '[{"object":{"bucket":"/pictures","key":"a.png","eTag":"e1","sizeBytes":3}}]', 11, 0);
INSERT INTO ledger_failures VALUES (1, 'i1', 'b.png', 'picture_corrupt', 'r', NULL, 1, 11, 0);
INSERT INTO ledger_settings VALUES ('pack', 'starter');
INSERT INTO ledger_version VALUES (1, 0);
INSERT INTO ledger_api_keys VALUES ('k1', 't', 'n', 'h', '["read","ask"]', 5, NULL, NULL, NULL);
INSERT INTO ledger_changes VALUES ('t', 'object:["b","c.png"]', '{"kind":"object","bucket":"b","key":"c.png"}', 1, 13, 13, 7, 0, 0);
INSERT INTO ledger_change_generation VALUES (1, 1);
INSERT INTO ledger_audits VALUES ('a1', 't', NULL, 0, 5, 'request', 'queued', NULL, 0, NULL, NULL, 14, NULL);
INSERT INTO ledger_copy_generation VALUES (1, 0);
