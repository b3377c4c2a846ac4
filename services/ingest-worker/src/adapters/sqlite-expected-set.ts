import { DatabaseSync, type SQLOutputValue } from 'node:sqlite';
import { pictureAssetId } from '@sightline/shared/contracts/ids';
import type { PointRecord } from '@sightline/shared/contracts/records';
import type { ErrorCode } from '@sightline/shared/runtime/errors';
import type { ExpectedItem, ExpectedPicture, ExpectedSet, SeenItem } from '../core/expected-set.ts';

/** Of no use after a crash: neither journal nor sync. */
const LAYOUT = `
  PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32768;
  CREATE TABLE pictures (
    asset_id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, etag TEXT, state TEXT
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX pictures_unlisted ON pictures (bucket, key) WHERE etag IS NULL;
  CREATE TABLE items (item_id TEXT PRIMARY KEY, record TEXT NOT NULL, rank INTEGER NOT NULL) STRICT;
  CREATE TABLE item_pictures (asset_id TEXT, item_id TEXT, PRIMARY KEY (asset_id, item_id)) STRICT, WITHOUT ROWID;
  CREATE INDEX pictures_of_item ON item_pictures (item_id);
  CREATE TABLE failures (key TEXT, bucket TEXT, etag TEXT NOT NULL, code TEXT NOT NULL, PRIMARY KEY (key, bucket, etag)) STRICT, WITHOUT ROWID;
  CREATE TABLE passages (item_id TEXT, passage_no INTEGER, text TEXT NOT NULL, PRIMARY KEY (item_id, passage_no)) STRICT, WITHOUT ROWID;
  CREATE TABLE removed_passages (asset_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
  CREATE TABLE doubtful_points (asset_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
  CREATE TABLE doubtful_items (item_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
  CREATE TABLE pushed (item_id TEXT, passage_no INTEGER, record TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (item_id, passage_no)) STRICT, WITHOUT ROWID;
  BEGIN;
`;

const SEEN_ITEMS = `
  SELECT item_id, record,
    (SELECT count(*) FROM item_pictures JOIN pictures USING (asset_id) WHERE item_id = items.item_id AND state = 'live') AS live,
    (SELECT count(*) FROM item_pictures JOIN pictures USING (asset_id) WHERE item_id = items.item_id AND state = 'removed') AS removed
  FROM items WHERE item_id > ?`;
/** Keys under a prefix: bucket, prefix, and what sorts behind all that begin with it. */
const UNLISTED = 'FROM pictures WHERE etag IS NULL AND bucket = ? AND key >= ? AND key < ?';

const PAGE = 500;
/** Above every source's. */
const PUSHED_RANK = 2 ** 40;

/** ExpectedSet in a temporary SQLite file, which the system drops when it is closed, also by a crash. */
export function openSqliteExpectedSet(): ExpectedSet {
  const db = new DatabaseSync('');
  db.exec(LAYOUT);
  const sql = {
    addPicture: db.prepare(
      `INSERT INTO pictures (asset_id, bucket, key, etag) VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET etag = coalesce(excluded.etag, etag)`,
    ),
    addItem: db.prepare(
      `INSERT INTO items VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET record = excluded.record, rank = excluded.rank
       WHERE excluded.rank >= rank`,
    ),
    addPushed: db.prepare(
      `INSERT INTO pushed VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET record = excluded.record, version = excluded.version
       WHERE excluded.version > version`,
    ),
    pushedItems: db.prepare('SELECT DISTINCT item_id FROM pushed WHERE item_id > ? ORDER BY item_id LIMIT ?'),
    pushed: db.prepare('SELECT record, version FROM pushed WHERE item_id = ? ORDER BY passage_no'),
    dropItem: db.prepare('DELETE FROM items WHERE item_id = ?'),
    dropItemPictures: db.prepare('DELETE FROM item_pictures WHERE item_id = ?'),
    addItemPicture: db.prepare('INSERT OR IGNORE INTO item_pictures VALUES (?, ?)'),
    addFailure: db.prepare('INSERT OR REPLACE INTO failures (key, bucket, etag, code) VALUES (?, ?, ?, ?)'),
    picture: db.prepare('SELECT * FROM pictures WHERE asset_id = ?'),
    item: db.prepare('SELECT record FROM items WHERE item_id = ?'),
    itemsOfPicture: db.prepare('SELECT record FROM item_pictures JOIN items USING (item_id) WHERE asset_id = ? ORDER BY item_id'),
    failure: db.prepare('SELECT code FROM failures WHERE key = ? AND bucket = ? AND etag = ?'),
    anyFailure: db.prepare('SELECT code FROM failures WHERE key = ? LIMIT 1'),
    unlisted: db.prepare(`SELECT * ${UNLISTED} AND key > ? ORDER BY key LIMIT ?`),
    countUnlisted: db.prepare(`SELECT count(*) AS n ${UNLISTED}`),
    unlistedBuckets: db.prepare('SELECT DISTINCT bucket FROM pictures WHERE etag IS NULL'),
    addDoubtfulPoint: db.prepare('INSERT OR IGNORE INTO doubtful_points VALUES (?)'),
    addDoubtfulItem: db.prepare('INSERT OR IGNORE INTO doubtful_items VALUES (?)'),
    isDoubtful: db.prepare('SELECT 1 FROM doubtful_items WHERE item_id = ?'),
    doubtfulPoints: db.prepare('SELECT asset_id FROM doubtful_points WHERE asset_id > ? ORDER BY asset_id LIMIT ?'),
    doubtfulItems: db.prepare(`${SEEN_ITEMS} AND item_id IN (SELECT item_id FROM doubtful_items) ORDER BY item_id LIMIT ?`),
    markSeen: db.prepare('UPDATE pictures SET state = ? WHERE asset_id = ?'),
    addPassage: db.prepare('INSERT OR REPLACE INTO passages VALUES (?, ?, ?)'),
    addRemovedPassage: db.prepare('INSERT OR IGNORE INTO removed_passages VALUES (?)'),
    isRemovedPassage: db.prepare('SELECT 1 FROM removed_passages WHERE asset_id = ?'),
    unseen: db.prepare(
      'SELECT * FROM pictures WHERE etag IS NOT NULL AND state IS NULL AND asset_id > ? ORDER BY asset_id LIMIT ?',
    ),
    items: db.prepare(`${SEEN_ITEMS} ORDER BY item_id LIMIT ?`),
    passages: db.prepare('SELECT passage_no, text FROM passages WHERE item_id = ? ORDER BY passage_no'),
  };
  const addPicture = ({ assetId, bucket, key, eTag }: ExpectedPicture): void => {
    sql.addPicture.run(assetId, bucket, key, eTag);
  };
  const addItem: ExpectedSet['addItem'] = (item, pictures, rank) => {
    const { changes } = sql.addItem.run(item.itemId, JSON.stringify(item), rank);
    for (const picture of pictures) addPicture(picture);
    if (Number(changes) === 0) return;
    sql.dropItemPictures.run(item.itemId);
    for (const { assetId } of pictures) sql.addItemPicture.run(assetId, item.itemId);
  };
  const expectPushed: ExpectedSet['expectPushed'] = (tenant) => {
    for (let after = ''; ;) {
      const page = sql.pushedItems.all(after, PAGE).map((row) => String(row['item_id']));
      for (const itemId of page) {
        const item = pushedItem(sql.pushed.all(itemId));
        const pictures = item.pictures.map(({ bucket, key }) => ({
          assetId: pictureAssetId(tenant, bucket, key),
          bucket,
          key,
          eTag: null,
        }));
        addItem(item, pictures, PUSHED_RANK);
      }
      after = page.at(-1) ?? '';
      if (page.length < PAGE) return;
    }
  };
  const toSeenItem = (row: Row): SeenItem => ({
    item: toItem(row),
    livePictures: Number(row['live']),
    removedPictures: Number(row['removed']),
    passages: sql.passages
      .all(String(row['item_id']))
      .map((passage) => ({ passageNo: Number(passage['passage_no']), text: String(passage['text']) })),
  });
  return {
    addPicture,
    addItem,
    addPushed: (record, passageNo, recordVersion) => {
      sql.addPushed.run(record.itemId, passageNo, JSON.stringify(record), recordVersion);
    },
    expectPushed,
    dropItem: (itemId) => {
      sql.dropItem.run(itemId);
      sql.dropItemPictures.run(itemId);
    },
    addFailure: ({ bucket, key, eTag, code }) => {
      sql.addFailure.run(key, bucket, eTag ?? '', code);
    },
    picture: (assetId) => {
      const row = sql.picture.get(assetId);
      return row ? toPicture(row) : null;
    },
    item: (itemId) => {
      const row = sql.item.get(itemId);
      return row ? toItem(row) : null;
    },
    itemsOfPicture: (assetId) => sql.itemsOfPicture.all(assetId).map(toItem),
    failure: (bucket, key, eTag) => toCode(sql.failure.get(key, bucket, eTag ?? '')),
    anyFailure: (key) => toCode(sql.anyFailure.get(key)),
    unlisted: ({ bucket, prefix }, after, limit) => sql.unlisted.all(bucket, prefix, behind(prefix), after, limit).map(toPicture),
    countUnlisted: ({ bucket, prefix }) => Number(sql.countUnlisted.get(bucket, prefix, behind(prefix))?.['n']),
    unlistedBuckets: () => sql.unlistedBuckets.all().map((row) => String(row['bucket'])),
    markSeen: (assetId, state) => {
      sql.markSeen.run(state, assetId);
    },
    addPassage: ({ itemId, passageNo, text }) => {
      sql.addPassage.run(itemId, passageNo, text);
    },
    addRemovedPassage: (assetId) => {
      sql.addRemovedPassage.run(assetId);
    },
    isRemovedPassage: (assetId) => sql.isRemovedPassage.get(assetId) !== undefined,
    addFirstPassage: (itemId, text) => {
      sql.addPassage.run(itemId, 0, text);
    },
    unseen: (after, limit) => sql.unseen.all(after, limit).map(toPicture),
    items: (after, limit) => sql.items.all(after, limit).map(toSeenItem),
    addDoubt: ({ assetId, itemIds }) => {
      if (assetId !== null) sql.addDoubtfulPoint.run(assetId);
      for (const itemId of itemIds) sql.addDoubtfulItem.run(itemId);
    },
    isDoubtful: (itemId) => sql.isDoubtful.get(itemId) !== undefined,
    doubtfulPoints: (after, limit) => sql.doubtfulPoints.all(after, limit).map((row) => String(row['asset_id'])),
    doubtfulItems: (after, limit) => sql.doubtfulItems.all(after, limit).map(toSeenItem),
    close: () => db.close(),
  };
}

/** Sorts behind every key that begins with `prefix`: text is compared by its bytes, and no character has larger ones. */
function behind(prefix: string): string {
  return `${prefix}\u{10FFFF}\u{10FFFF}`;
}

/** One item of the passages that points have of it, the newest words and pictures first. */
function pushedItem(rows: Row[]): ExpectedItem {
  // Written by addPushed above, of this process.
  const records = rows.map((row) => ({ version: Number(row['version']), ...(JSON.parse(String(row['record'])) as PointRecord) }));
  const newest = records.reduce((best, one) => (one.version > best.version ? one : best));
  const { itemId, title, attributes, pictures } = newest;
  return { itemId, title, attributes, pictures, text: records.map(({ text }) => text).join('\n'), pushed: true };
}

type Row = Record<string, SQLOutputValue>;

function toPicture(row: Row): ExpectedPicture {
  const eTag = row['etag'] === null ? null : String(row['etag']);
  return { assetId: String(row['asset_id']), bucket: String(row['bucket']), key: String(row['key']), eTag };
}

function toItem(row: Row): ExpectedItem {
  // Written by addItem above, of this process.
  return JSON.parse(String(row['record'])) as ExpectedItem;
}

function toCode(row: Row | undefined): ErrorCode | null {
  return row ? (String(row['code']) as ErrorCode) : null;
}
