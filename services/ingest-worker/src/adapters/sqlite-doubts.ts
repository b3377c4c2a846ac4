import { DatabaseSync, type SQLOutputValue } from 'node:sqlite';
import type { DoubtedPoint, Doubts } from '../core/doubts.ts';

/** Of no use after a crash: neither journal nor sync. */
const LAYOUT = `
  PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16384;
  CREATE TABLE points (asset_id TEXT PRIMARY KEY, bucket TEXT, key TEXT, etag TEXT) STRICT, WITHOUT ROWID;
  CREATE TABLE items (item_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
  BEGIN;
`;

/** Doubts in a temporary SQLite file, which the system drops when it is closed, also by a crash. */
export function openSqliteDoubts(): Doubts {
  const db = new DatabaseSync('');
  db.exec(LAYOUT);
  const sql = {
    addPoint: db.prepare('INSERT OR IGNORE INTO points VALUES (?, ?, ?, ?)'),
    addItem: db.prepare('INSERT OR IGNORE INTO items VALUES (?)'),
    point: db.prepare('SELECT * FROM points WHERE asset_id = ?'),
    hasItem: db.prepare('SELECT 1 FROM items WHERE item_id = ?'),
    points: db.prepare('SELECT * FROM points WHERE asset_id > ? ORDER BY asset_id LIMIT ?'),
    items: db.prepare('SELECT item_id FROM items WHERE item_id > ? ORDER BY item_id LIMIT ?'),
    count: db.prepare('SELECT (SELECT count(*) FROM points) + (SELECT count(*) FROM items) AS n'),
  };
  return {
    addPoint: ({ assetId, object, seenETag }) => {
      sql.addPoint.run(assetId, object?.bucket ?? null, object?.key ?? null, seenETag);
    },
    addItem: (itemId) => {
      sql.addItem.run(itemId);
    },
    point: (assetId) => {
      const row = sql.point.get(assetId);
      return row ? toPoint(row) : null;
    },
    hasItem: (itemId) => sql.hasItem.get(itemId) !== undefined,
    points: (after, limit) => sql.points.all(after, limit).map(toPoint),
    items: (after, limit) => sql.items.all(after, limit).map((row) => String(row['item_id'])),
    count: () => Number(sql.count.get()?.['n']),
    close: () => db.close(),
  };
}

function toPoint(row: Record<string, SQLOutputValue>): DoubtedPoint {
  const { bucket, key, etag } = row;
  return {
    assetId: String(row['asset_id']),
    object: bucket === null || key === null ? null : { bucket: String(bucket), key: String(key) },
    seenETag: etag === null ? null : String(etag),
  };
}
