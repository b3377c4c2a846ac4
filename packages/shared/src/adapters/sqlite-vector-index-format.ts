import type { DatabaseSync } from 'node:sqlite';
import type { IndexSpec, Space } from '../ports/vector-index.ts';
import { SightlineError } from '../runtime/errors.ts';
import { inTransaction, type SqliteFormat } from './sqlite-database.ts';

/**
 * Point ids carry their tenant in the high bits: a tenant's vectors lie together, a scan is one range of ids, and no statement
 * can reach another tenant's points by leaving out a condition. 2^17 tenants, 2^36 points each, so that ids stay below 2^53.
 */
const POINTS_PER_TENANT = 2 ** 36;

/** First id (exclusive) and last id (inclusive) of a tenant's points. */
export interface IdRange {
  low: number;
  high: number;
}

export function idRange(tenantNo: number): IdRange {
  return { low: tenantNo * POINTS_PER_TENANT, high: (tenantNo + 1) * POINTS_PER_TENANT - 1 };
}

/**
 * A half's `*_live` is null before its first write, 1 while it holds, 0 once a deletion took it; a point is a tombstone when
 * neither half is 1. Vectors are plain tables scanned with sqlite-vec's vec_distance_cosine instead of vec0: vec0 stops at
 * k = 4096, cuts ties at k in an order of its own and scans everything under a filter; the plain scan of 20,000 x 256
 * was 15 ms against its 10, and 0.03 ms against 4 under a filter that leaves three points.
 *
 * `named_pictures` has the asset id of each picture that a point's records name, whether it is indexed or not.
 *
 * `attributes.value` keeps SQLite's own types, so that "1", 1 and true differ: text, numbers as reals, booleans as blobs.
 */
export const INDEX_FORMAT: SqliteFormat = {
  name: 'vector index',
  applicationId: 0x736c6978,
  migrations: [
    `
    CREATE TABLE spaces (space TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, dimensions INTEGER NOT NULL) STRICT;
    CREATE TABLE tenants (tenant_no INTEGER PRIMARY KEY, tenant TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE points (
      id INTEGER PRIMARY KEY,
      tenant_no INTEGER NOT NULL REFERENCES tenants,
      asset_id TEXT NOT NULL,
      kind TEXT NOT NULL CHECK (kind IN ('picture', 'passage')),
      bucket TEXT, key TEXT, etag TEXT,
      sha256 TEXT, size_bytes INTEGER, width_px INTEGER, height_px INTEGER,
      records TEXT NOT NULL DEFAULT '[]',
      passage_no INTEGER NOT NULL DEFAULT 0,
      has_text INTEGER NOT NULL DEFAULT 0,
      image_live INTEGER, image_version INTEGER, image_at INTEGER,
      record_live INTEGER, record_version INTEGER, record_at INTEGER,
      deleted_because TEXT, deleted_at INTEGER,
      UNIQUE (tenant_no, asset_id)
    ) STRICT;
    CREATE INDEX points_by_sha256 ON points (tenant_no, sha256) WHERE image_live = 1;
    CREATE TABLE image_vectors (id INTEGER PRIMARY KEY, asset_id TEXT NOT NULL, vector BLOB NOT NULL) STRICT;
    CREATE TABLE text_vectors (id INTEGER PRIMARY KEY, asset_id TEXT NOT NULL, vector BLOB NOT NULL) STRICT;
    CREATE TABLE attributes (
      name TEXT NOT NULL, value ANY NOT NULL, id INTEGER NOT NULL, record_no INTEGER NOT NULL,
      PRIMARY KEY (name, value, id, record_no)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX attributes_by_point ON attributes (id);
    CREATE VIRTUAL TABLE keywords USING fts5 (words, content='', contentless_delete=1, tokenize="ascii tokenchars '_'");
    `,
    `
    CREATE TABLE named_pictures (
      picture_id TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (picture_id, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX named_pictures_by_point ON named_pictures (id);
    ALTER TABLE points ADD COLUMN pushed INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX pushed_points ON points (tenant_no, asset_id) WHERE pushed = 1;
    `,
  ],
};

/** Reads the spec that the index was made for; null while it has none. */
export function readSpec(db: DatabaseSync): IndexSpec | null {
  const rows = db.prepare('SELECT space, fingerprint, dimensions FROM spaces').all();
  const found = (space: Space) => {
    const row = rows.find((candidate) => candidate['space'] === space);
    return row && { fingerprint: String(row['fingerprint']), dimensions: Number(row['dimensions']) };
  };
  const image = found('image');
  const text = found('text');
  return image && text ? { image, text } : null;
}

/** Makes the index one for `spec`, or proves that it is. Errors: `index_encoder_mismatch`. */
export function claimSpec(db: DatabaseSync, file: string, spec: IndexSpec): void {
  inTransaction(db, () => {
    const held = readSpec(db);
    if (held === null) {
      const insert = db.prepare('INSERT INTO spaces (space, fingerprint, dimensions) VALUES (?, ?, ?)');
      for (const space of ['image', 'text'] as const) insert.run(space, spec[space].fingerprint, spec[space].dimensions);
      return;
    }
    for (const space of ['image', 'text'] as const) {
      const has = held[space];
      const wanted = spec[space];
      if (has.fingerprint === wanted.fingerprint && has.dimensions === wanted.dimensions) continue;
      throw new SightlineError(
        'index_encoder_mismatch',
        `${file} holds ${space} vectors of encoder ${has.fingerprint} (${has.dimensions} dimensions), this process has ` +
          `${wanted.fingerprint} (${wanted.dimensions}): start with the pack that made the index (ENCODER_PACK), ` +
          'or ingest again into a new DATA_DIR.',
      );
    }
  });
}
