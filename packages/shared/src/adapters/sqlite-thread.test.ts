import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { CounterOptions, CounterStore } from '../../testing/counter-store.ts';
import { openSqliteThread, type SqliteThread } from './sqlite-thread.ts';

const MODULE = new URL('../../testing/counter-store.ts', import.meta.url);
let folder: string;
let file: string;
const opened: SqliteThread<CounterStore>[] = [];

async function open(busyTimeoutMs?: number): Promise<SqliteThread<CounterStore>> {
  const thread = await openSqliteThread<CounterStore, CounterOptions>(MODULE, { file, busyTimeoutMs }, 'ledger_unavailable');
  opened.push(thread);
  return thread;
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-thread-'));
  file = join(folder, 'counter.sqlite');
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((thread) => thread.close()));
  await rm(folder, { recursive: true });
});

test('calls are answered in order and survive a reopening', async () => {
  const first = await open();
  expect(await Promise.all([1, 2, 3].map((n) => first.call('add', n)))).toEqual([1, 3, 6]);
  await first.close();
  const second = await open();
  expect(await second.call('add', 1)).toBe(7);
});

test('typed arrays cross the thread', async () => {
  const thread = await open();
  expect(await thread.call('sum', new Float32Array([1, 2, 3.5]))).toBe(6.5);
});

test('an error keeps its code and rolls its transaction back', async () => {
  const thread = await open();
  await expect(thread.call('addThenFail', 5)).rejects.toMatchObject({ code: 'item_not_found', detail: 'on purpose' });
  expect(await thread.call('add', 1)).toBe(1);
});

test('two threads that write one file lose no update', async () => {
  const [a, b] = await Promise.all([open(), open()]);
  await Promise.all(Array.from({ length: 200 }, (_, i) => (i % 2 ? a : b).call('add', 1)));
  expect(await a.call('add', 0)).toBe(200);
});

test('a file that another process holds is unavailable once the wait is over', async () => {
  const thread = await open(50);
  const holder = new DatabaseSync(file);
  holder.exec('BEGIN IMMEDIATE');
  try {
    await expect(thread.call('add', 1)).rejects.toMatchObject({ code: 'ledger_unavailable', retryable: true });
  } finally {
    holder.close();
  }
  expect(await thread.call('add', 1)).toBe(1);
});

test('a full disk is told apart and the store goes on', async () => {
  const thread = await open();
  await expect(thread.call('fill')).rejects.toMatchObject({ code: 'ledger_full', detail: 'The disk is full.' });
  expect(await thread.call('add', 1)).toBe(1);
});

test('closing waits for the calls already made; later calls are refused', async () => {
  const thread = await open();
  const adding = thread.call('add', 4);
  const closing = thread.close();
  await expect(thread.call('add', 1)).rejects.toMatchObject({ code: 'ledger_unavailable' });
  expect(await adding).toBe(4);
  await closing;
  await thread.close();
});

test('a thread that dies rejects what waits for it', async () => {
  const thread = await open();
  const waiting = thread.call('add', 1).then(() => thread.call('exit'));
  await expect(waiting).rejects.toMatchObject({ code: 'ledger_unavailable' });
  await expect(thread.call('add', 1)).rejects.toMatchObject({ code: 'ledger_unavailable' });
});

test('a newer format is refused untouched, with what to do', async () => {
  await (await open()).close();
  const db = new DatabaseSync(file);
  db.exec('PRAGMA user_version=9');
  db.close();
  await expect(open()).rejects.toMatchObject({
    code: 'store_format_unsupported',
    detail: expect.stringContaining('new DATA_DIR'),
  });
});

test('a file of another kind is refused', async () => {
  const db = new DatabaseSync(file);
  db.exec('CREATE TABLE other (a)');
  db.close();
  await expect(open()).rejects.toMatchObject({ code: 'store_format_unsupported' });
});

test('a file that is no database is damaged', async () => {
  await writeFile(file, Buffer.alloc(8192, 'not a database '));
  await expect(open()).rejects.toMatchObject({ code: 'store_damaged', retryable: false });
});

test('a folder that does not exist is unavailable', async () => {
  file = join(folder, 'absent', 'counter.sqlite');
  await expect(open()).rejects.toMatchObject({ code: 'ledger_unavailable' });
});
