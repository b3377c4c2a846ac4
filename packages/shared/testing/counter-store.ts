import { inTransaction, openDatabase, type SqliteFormat } from '../src/adapters/sqlite-database.ts';
import { SightlineError } from '../src/runtime/errors.ts';

export const COUNTER_FORMAT: SqliteFormat = {
  name: 'counter',
  applicationId: 0x736c7473,
  migrations: ['CREATE TABLE counter (n INTEGER NOT NULL) STRICT; INSERT INTO counter VALUES (0)'],
};

export interface CounterOptions {
  file: string;
  busyTimeoutMs?: number;
}

/** The smallest store: what the tests of sqlite-thread.ts load into a thread. */
export function open({ file, busyTimeoutMs }: CounterOptions) {
  const db = openDatabase({ file, format: COUNTER_FORMAT, readOnly: false, busyTimeoutMs });
  const read = db.prepare('SELECT n FROM counter');
  const write = db.prepare('UPDATE counter SET n = n + ?');
  const methods = {
    add: (by: number): number =>
      inTransaction(db, () => {
        write.run(by);
        return Number(read.get()?.['n']);
      }),
    addThenFail: (by: number): void =>
      inTransaction(db, () => {
        write.run(by);
        throw new SightlineError('item_not_found', 'on purpose');
      }),
    sum: (numbers: Float32Array): number => numbers.reduce((a, b) => a + b, 0),
    fill: (): void => {
      db.exec('PRAGMA max_page_count=4; CREATE TABLE filler (b BLOB)');
      db.exec('INSERT INTO filler VALUES (zeroblob(1000000))');
    },
    exit: (): void => process.exit(3),
  };
  return { methods, close: () => db.close() };
}

export type CounterStore = ReturnType<typeof open>['methods'];
