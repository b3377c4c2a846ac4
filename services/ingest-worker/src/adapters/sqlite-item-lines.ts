import { DatabaseSync } from 'node:sqlite';
import type { ItemLines } from '../core/item-lines.ts';

/** ItemLines in a temporary SQLite file, which the system drops when it is closed, also by a crash. */
export function openSqliteItemLines(): ItemLines {
  const db = new DatabaseSync('');
  // Of no use after a crash: neither journal nor sync.
  db.exec('PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16384');
  db.exec('CREATE TABLE lines (item_id TEXT PRIMARY KEY, line_no INTEGER NOT NULL) STRICT, WITHOUT ROWID; BEGIN');
  const put = db.prepare('INSERT OR REPLACE INTO lines VALUES (?, ?)');
  const get = db.prepare('SELECT line_no FROM lines WHERE item_id = ?');
  return {
    put: (itemId, lineNo) => {
      put.run(itemId, lineNo);
    },
    lineOf: (itemId) => {
      const row = get.get(itemId);
      return row ? Number(row['line_no']) : null;
    },
    close: () => db.close(),
  };
}
