-- A ledger file as format 2 left it, frozen: newer versions must open it.
PRAGMA application_id=1397509191;
PRAGMA user_version=2;
CREATE TABLE ledger_ingestions (
      ingestion_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, source TEXT NOT NULL, source_key TEXT NOT NULL,
      status TEXT NOT NULL, reason TEXT,
      listed INTEGER NOT NULL DEFAULT 0, indexed INTEGER NOT NULL DEFAULT 0, unchanged INTEGER NOT NULL DEFAULT 0,
      duplicate INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
      planned INTEGER NOT NULL DEFAULT 0, cursor TEXT, next_chunk_no INTEGER NOT NULL DEFAULT 0,
      created_at INTEGER NOT NULL, finished_at INTEGER
    , dry_run INTEGER NOT NULL DEFAULT 0) STRICT;
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
      code TEXT NOT NULL, reason TEXT NOT NULL, etag TEXT, attempts INTEGER NOT NULL, last_attempt_at INTEGER NOT NULL,
      UNIQUE (ingestion_id, key)
    ) STRICT;
CREATE INDEX ledger_failures_in_order ON ledger_failures (ingestion_id, failure_no);
CREATE TABLE ledger_leases (key TEXT PRIMARY KEY, token TEXT NOT NULL, expires_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_leases_by_token ON ledger_leases (token);
CREATE INDEX ledger_leases_by_expiry ON ledger_leases (expires_at);
CREATE TABLE ledger_settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE ledger_version (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL) STRICT;
CREATE TABLE ledger_suspects (
      ingestion_id TEXT NOT NULL, chunk_no INTEGER NOT NULL, key TEXT NOT NULL, PRIMARY KEY (ingestion_id, chunk_no, key),
      FOREIGN KEY (ingestion_id, chunk_no) REFERENCES ledger_chunks ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;
INSERT INTO ledger_ingestions (ingestion_id, tenant, source, source_key, status, reason, listed, indexed, unchanged, duplicate, failed, planned, cursor, next_chunk_no, created_at, finished_at, dry_run) VALUES ('i1', 't', '{"type":"directory","path":"/pictures"}', '["/pictures","",null]', 'planning', NULL, 2, 0, 0, 0, 1, 0, 'c0', 1, 1, NULL, 0);
INSERT INTO ledger_ingestions (ingestion_id, tenant, source, source_key, status, reason, listed, indexed, unchanged, duplicate, failed, planned, cursor, next_chunk_no, created_at, finished_at, dry_run) VALUES ('i2', 't', '{"type":"directory","path":"/pictures"}', '["/pictures","",null]', 'completed', NULL, 0, 0, 0, 0, 0, 0, NULL, 0, 2, 20, 1);
INSERT INTO ledger_chunks (ingestion_id, chunk_no, entries, added_at, attempts) VALUES ('i1', 0, '[{"object":{"bucket":"/pictures","key":"a.png","eTag":"e1","sizeBytes":3}}]', 10, 1);
INSERT INTO ledger_failures (failure_no, ingestion_id, key, code, reason, etag, attempts, last_attempt_at) VALUES (1, 'i1', 'b.png', 'picture_corrupt', 'r', 'e2', 1, 10);
INSERT INTO ledger_leases (key, token, expires_at) VALUES ('k', '22df3239-4ba6-4a4b-85c9-b573396396d7', 6000);
INSERT INTO ledger_settings (name, value) VALUES ('pack', 'starter');
INSERT INTO ledger_version (id, last) VALUES (1, 5000);
INSERT INTO ledger_suspects (ingestion_id, chunk_no, key) VALUES ('i1', 0, 'a.png');
