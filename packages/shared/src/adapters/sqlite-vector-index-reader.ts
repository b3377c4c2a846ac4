import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import { z } from 'zod';
import type { Filter } from '../contracts/filter.ts';
import { pointRecord } from '../contracts/records.ts';
import type { AssetPoint, DeletionReason, IndexSpec, Leg, LegHit, PointCopy, PointHalf, Space } from '../ports/vector-index.ts';
import { filterSql } from './sqlite-filter.ts';
import { ftsQuery } from './sqlite-keywords.ts';
import { idRange, type IdRange } from './sqlite-vector-index-format.ts';
import { openIndexStore, type IndexStoreOptions } from './sqlite-vector-index-store.ts';
import { unitVector, vectorBytes } from './unit-vector.ts';

type Row = Record<string, SQLOutputValue>;

const storedRecords = z.array(pointRecord);
const kind = z.enum(['picture', 'passage']);
const reason = z.enum(['gone', 'removed', 'failed']) satisfies z.ZodType<DeletionReason>;

const text = (value: SQLOutputValue | undefined): string | null => (value == null ? null : String(value));
const number = (value: SQLOutputValue | undefined): number | null => (value == null ? null : Number(value));

function vectorOf(value: SQLOutputValue | undefined): Float32Array | undefined {
  // Copied: a blob's bytes need not start at a multiple of four.
  return value instanceof Uint8Array ? new Float32Array(value.slice().buffer) : undefined;
}

function toPoint(row: Row, tenant: string): AssetPoint {
  const hasImage = row['image_live'] === 1;
  const deleted = !hasImage && row['record_live'] !== 1;
  const bucket = text(row['bucket']);
  const key = text(row['key']);
  const point: AssetPoint = {
    assetId: String(row['asset_id']),
    tenant,
    kind: kind.parse(row['kind']),
    object: bucket !== null && key !== null ? { bucket, key, eTag: text(row['etag']) } : null,
    sha256: text(row['sha256']),
    sizeBytes: number(row['size_bytes']),
    widthPx: number(row['width_px']),
    heightPx: number(row['height_px']),
    records: storedRecords.parse(JSON.parse(String(row['records']))),
    passageNo: Number(row['passage_no']),
    deleted,
    deletedBecause: deleted ? reason.parse(row['deleted_because']) : null,
    imageVersion: number(row['image_version']) ?? 0,
    recordVersion: number(row['record_version']) ?? 0,
    hasImage,
    hasText: row['has_text'] === 1,
    indexedAt: Math.max(number(row['image_at']) ?? 0, number(row['record_at']) ?? 0),
  };
  if (!('image_vector' in row)) return point;
  const image = vectorOf(row['image_vector']);
  const textVector = vectorOf(row['text_vector']);
  return { ...point, vectors: { ...(image && { image }), ...(textVector && { text: textVector }) } };
}

function toCopy(row: Row, tenant: string): PointCopy {
  const half = (name: 'image' | 'record'): PointHalf | null => {
    const live = row[`${name}_live`];
    return live == null ? null : { version: Number(row[`${name}_version`]), at: Number(row[`${name}_at`]), live: live === 1 };
  };
  const { assetId, kind, passageNo, object, sha256, sizeBytes, widthPx, heightPx, records, vectors = {} } = toPoint(row, tenant);
  const because = text(row['deleted_because']);
  return {
    assetId,
    tenant,
    kind,
    passageNo,
    object,
    sha256,
    sizeBytes,
    widthPx,
    heightPx,
    image: half('image'),
    record: half('record'),
    records,
    deletedBecause: because === null ? null : reason.parse(because),
    deletedAt: number(row['deleted_at']),
    vectors,
  };
}

/** Several statements over one snapshot, whatever other connections commit meanwhile. */
function atOneMoment<T>(db: DatabaseSync, read: () => T): T {
  db.exec('BEGIN');
  try {
    return read();
  } finally {
    db.exec('ROLLBACK');
  }
}

const POINTS = 'SELECT points.* FROM points';
const POINTS_WITH_VECTORS = `
  SELECT points.*, image_vectors.vector AS image_vector, text_vectors.vector AS text_vector FROM points
  LEFT JOIN image_vectors ON image_vectors.id = points.id LEFT JOIN text_vectors ON text_vectors.id = points.id`;

/** The store module of the reading thread. */
export const open = (options: IndexStoreOptions) => openIndexStore(options, 'reader', indexReads);
export type IndexReader = ReturnType<typeof open>['methods'];

/** The reading half of the index over one connection. Never writes. */
function indexReads(db: DatabaseSync, spec: IndexSpec) {
  const tenants = db.prepare('SELECT tenant_no FROM tenants WHERE tenant = ?');
  const tenantNo = (tenant: string): number | null => number(tenants.get(tenant)?.['tenant_no']);

  const vectorLeg = (space: Space, query: Float32Array, limit: number, range: IdRange, filter: Filter | undefined): Row[] => {
    const { sql, params } = filterSql(filter, range);
    // Held to [-1, 1], which float32 rounding leaves; before the sorting, so that what became equal is ordered by id.
    return db
      .prepare(
        `SELECT asset_id, max(-1.0, min(1.0, 1 - vec_distance_cosine(vector, ?))) AS score FROM ${space}_vectors WHERE id > ? AND id <= ? AND ${sql}
         ORDER BY score DESC, asset_id LIMIT ?`,
      )
      .all(vectorBytes(unitVector(spec, space, query)), range.low, range.high, ...params, limit);
  };

  const keywordLeg = (keywords: string[], limit: number, range: IdRange, filter: Filter | undefined): Row[] => {
    const query = ftsQuery(keywords);
    if (query === null) return [];
    const { sql, params } = filterSql(filter, range);
    // The plus keeps the filter's ids out of the plan for FTS5, which would run the whole MATCH once for each of them.
    return db
      .prepare(
        `WITH matches AS (SELECT rowid AS id, -bm25(keywords) AS score FROM keywords WHERE keywords MATCH ? AND rowid > ? AND rowid <= ?)
         SELECT asset_id, score FROM matches JOIN points USING (id) WHERE +${sql} ORDER BY score DESC, asset_id LIMIT ?`,
      )
      .all(query, BigInt(range.low), BigInt(range.high), ...params, limit);
  };

  const pointRows = (tenant: string, where: string, params: (string | number)[], withVectors: boolean): Row[] => {
    const no = tenantNo(tenant);
    if (no === null) return [];
    return db.prepare(`${withVectors ? POINTS_WITH_VECTORS : POINTS} WHERE points.tenant_no = ? AND ${where}`).all(no, ...params);
  };
  const points = (tenant: string, where: string, params: (string | number)[], withVectors = false): AssetPoint[] =>
    pointRows(tenant, where, params, withVectors).map((row) => toPoint(row, tenant));

  return {
    get(tenant: string, assetIds: string[], withVectors: boolean): AssetPoint[] {
      return points(tenant, 'points.asset_id IN (SELECT value FROM json_each(?))', [JSON.stringify(assetIds)], withVectors);
    },

    findImageVectors(tenant: string, sha256s: string[]) {
      const no = tenantNo(tenant);
      if (no === null) return [];
      const rows = db
        .prepare(
          `SELECT sha256, width_px, height_px, vector FROM points JOIN image_vectors USING (id)
           WHERE tenant_no = ? AND sha256 IN (SELECT value FROM json_each(?)) AND image_live = 1 ORDER BY points.asset_id DESC`,
        )
        .all(no, JSON.stringify(sha256s));
      return rows.flatMap((row) => {
        const vector = vectorOf(row['vector']);
        return vector
          ? [{ sha256: String(row['sha256']), vector, widthPx: Number(row['width_px']), heightPx: Number(row['height_px']) }]
          : [];
      });
    },

    findByItem(tenant: string, itemId: string): AssetPoint[] {
      const no = tenantNo(tenant);
      if (no === null) return [];
      const { low, high } = idRange(no);
      return points(
        tenant,
        `points.id IN (SELECT id FROM attributes WHERE name = 'item_id' AND value = ? AND id > ? AND id <= ?) ORDER BY points.asset_id`,
        [itemId, low, high],
      );
    },

    findByPicture(tenant: string, assetIds: string[]): { pictureId: string; point: AssetPoint }[] {
      const no = tenantNo(tenant);
      if (no === null) return [];
      const { low, high } = idRange(no);
      const rows = db
        .prepare(
          `SELECT named_pictures.picture_id, points.* FROM named_pictures JOIN points USING (id)
           WHERE picture_id IN (SELECT value FROM json_each(?)) AND id > ? AND id <= ? ORDER BY points.asset_id`,
        )
        .all(JSON.stringify(assetIds), low, high);
      return rows.map((row) => ({ pictureId: String(row['picture_id']), point: toPoint(row, tenant) }));
    },

    search(tenant: string, filter: Filter | undefined, legs: Leg[]): LegHit[][] {
      return atOneMoment(db, () => {
        // Tenant numbers start at 1: the range of number 0 is empty.
        const range = idRange(tenantNo(tenant) ?? 0);
        return legs.map((leg) => {
          const limit = Math.max(0, leg.limit);
          const rows =
            leg.space === 'keywords'
              ? keywordLeg(leg.keywords, limit, range, filter)
              : vectorLeg(leg.space, leg.vector, limit, range, filter);
          return rows.map((row) => ({ assetId: String(row['asset_id']), score: Number(row['score']) }));
        });
      });
    },

    sample(tenant: string, space: Space, limit: number): Float32Array[] {
      const no = tenantNo(tenant);
      if (no === null || limit <= 0) return [];
      const live = space === 'image' ? 'image_live = 1' : 'has_text = 1';
      // Every id whose place i of n opens a new one of `limit` equal shares.
      const rows = db
        .prepare(
          `WITH placed AS (SELECT id, row_number() OVER (ORDER BY asset_id) - 1 AS i, count(*) OVER () AS n
                           FROM points WHERE tenant_no = ?1 AND ${live})
           SELECT vector FROM placed JOIN ${space}_vectors USING (id)
           WHERE n <= ?2 OR i = 0 OR i * ?2 / n > (i - 1) * ?2 / n ORDER BY i`,
        )
        .all(no, BigInt(limit));
      return rows.flatMap((row) => vectorOf(row['vector']) ?? []);
    },

    scan(tenant: string, after: string, limit: number, withVectors: boolean, pushed: boolean): AssetPoint[] {
      const which = pushed ? 'points.pushed = 1 AND' : '';
      return points(tenant, `${which} points.asset_id > ? ORDER BY points.asset_id LIMIT ?`, [after, limit], withVectors);
    },

    tenants(): string[] {
      const rows = db
        .prepare(
          'SELECT tenant FROM tenants WHERE EXISTS (SELECT 1 FROM points WHERE points.tenant_no = tenants.tenant_no) ORDER BY tenant',
        )
        .all();
      return rows.map(({ tenant }) => String(tenant));
    },

    copiesOf(tenant: string, assetIds: string[]): PointCopy[] {
      const rows = pointRows(tenant, 'points.asset_id IN (SELECT value FROM json_each(?))', [JSON.stringify(assetIds)], true);
      return rows.map((row) => toCopy(row, tenant));
    },

    copiesAfter(tenant: string, after: string, limit: number): PointCopy[] {
      const rows = pointRows(tenant, 'points.asset_id > ? ORDER BY points.asset_id LIMIT ?', [after, limit], true);
      return rows.map((row) => toCopy(row, tenant));
    },

    count(tenant: string): { live: number; deleted: number } {
      const row = db
        .prepare(
          `SELECT count(*) AS n, count(*) FILTER (WHERE image_live IS NOT 1 AND record_live IS NOT 1) AS deleted
           FROM points WHERE tenant_no = ?`,
        )
        .get(tenantNo(tenant));
      const deleted = Number(row?.['deleted']);
      return { live: Number(row?.['n']) - deleted, deleted };
    },
  };
}
