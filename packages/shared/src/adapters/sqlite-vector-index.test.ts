import { afterEach, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { describeVectorIndex } from '../../testing/vector-index-contract.ts';
import {
  assetIdOf,
  batchKeys,
  CONTRACT_SPEC,
  imageVector,
  itemRecord,
  picture,
  pictureRecord,
  TENANT,
} from '../../testing/vector-index-points.ts';
import { expectRaceWon } from '../../testing/vector-index-race-contract.ts';
import { race, raceSteps } from '../../testing/vector-index-race.ts';
import type { IndexSpec, VectorIndex } from '../ports/vector-index.ts';
import { openSqliteVectorIndex } from './sqlite-vector-index.ts';

const WRITER = new URL('../../testing/index-writer-process.ts', import.meta.url).pathname;
const closers: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function newFile(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-index-'));
  closers.push(() => rm(folder, { recursive: true }));
  return join(folder, 'index.sqlite');
}

async function open(file: string, spec?: IndexSpec): Promise<VectorIndex> {
  const index = await openSqliteVectorIndex({ file, spec });
  closers.push(() => index.close());
  return index;
}

function startWriter(...args: (string | number)[]) {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', WRITER, ...args.map(String)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  closers.push(async () => {
    if (child.exitCode === null && child.signalCode === null && child.kill('SIGKILL')) await once(child, 'exit');
  });
  return child;
}

/** Everything that the index keeps about its points agrees, row by row. */
function expectSound(file: string): void {
  const db = new DatabaseSync(file);
  try {
    const numbers = (sql: string) =>
      db
        .prepare(sql)
        .all()
        .map((row) => Number(Object.values(row)[0]));
    expect(db.prepare('PRAGMA integrity_check').all()).toEqual([{ integrity_check: 'ok' }]);
    db.exec("INSERT INTO keywords (keywords) VALUES ('integrity-check')");
    const live = numbers('SELECT id FROM points WHERE image_live = 1 ORDER BY id');
    expect(numbers('SELECT id FROM image_vectors ORDER BY id')).toEqual(live);
    expect(numbers('SELECT id FROM text_vectors ORDER BY id')).toEqual(
      numbers('SELECT id FROM points WHERE has_text = 1 ORDER BY id'),
    );
    const withRecords = numbers("SELECT id FROM points WHERE records <> '[]' ORDER BY id");
    expect(numbers('SELECT DISTINCT id FROM attributes ORDER BY id')).toEqual(withRecords);
    expect(numbers('SELECT rowid FROM keywords ORDER BY rowid')).toEqual(withRecords);
  } finally {
    db.close();
  }
}

describeVectorIndex('sqlite', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-index-'));
  const index = await openSqliteVectorIndex({ file: join(folder, 'index.sqlite'), spec: CONTRACT_SPEC });
  return {
    index,
    close: async () => {
      await index.close();
      await rm(folder, { recursive: true });
    },
  };
});

test('an index from before records had their pictures is brought up to date with what it holds', async () => {
  const file = await newFile();
  const before = await openSqliteVectorIndex({ file, spec: CONTRACT_SPEC });
  await before.writePictures([picture('a')]);
  await before.writeRecords([pictureRecord('a', [itemRecord('a', 'shoe', { colour: 'red' })])]);
  await before.close();
  const old = new DatabaseSync(file);
  old.exec(`DROP TABLE named_pictures; DROP INDEX pushed_points; ALTER TABLE points DROP COLUMN pushed;
    UPDATE points SET records = '[{"itemId":"a","title":"Old","text":"shoe","attributes":{"colour":"red"}}]'; PRAGMA user_version=1`);
  old.close();

  const index = await open(file);
  const upgraded = (await index.findByItem(TENANT, 'a'))[0];
  expect(upgraded?.records).toEqual([
    { itemId: 'a', title: 'Old', text: 'shoe', attributes: { colour: 'red' }, pictures: [], pushed: false },
  ]);
  const record = itemRecord('a', 'shoe', {}, { keys: ['a'], pushed: true });
  await index.writeRecords([pictureRecord('a', [record], { recordVersion: 2 })]);
  expect((await index.findByPicture(TENANT, [assetIdOf('a')])).size).toBe(1);
  expect(await index.scan(TENANT, { limit: 5, pushed: true })).toHaveLength(1);
  expectSound(file);
});

test('two processes and this one write the same points, and the versions decide', async () => {
  const file = await newFile();
  const index = await open(file, CONTRACT_SPEC);
  const steps = raceSteps(21);
  const exits = [1, 2].map((no) => once(startWriter('race', file, 21, no, 3), 'exit'));
  await race(index, steps, { no: 0, of: 3 });
  expect((await Promise.all(exits)).map(([code]) => code)).toEqual([0, 0]);
  await expectRaceWon(index, steps);
  expectSound(file);
});

test('a writer killed in the midst of a batch leaves whole batches only, and all that it acknowledged', async () => {
  const file = await newFile();
  let next = 0;
  for (const delayMs of [3, 17, 41, 88]) {
    const child = startWriter('for-ever', file, next);
    let acknowledged = next - 1;
    createInterface({ input: child.stdout }).on('line', (line) => (acknowledged = Number(line)));
    await Promise.race([once(child.stdout, 'data'), once(child, 'close')]);
    expect(child.exitCode).toBeNull();
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    child.kill('SIGKILL');
    await once(child, 'close');

    const index = await open(file);
    for (let batchNo = next; batchNo <= acknowledged + 1; batchNo++) {
      const points = [
        ...(
          await index.get(
            TENANT,
            batchKeys(batchNo).map((key) => assetIdOf(key)),
          )
        ).values(),
      ];
      const pictures = points.filter((point) => point.hasImage).length;
      const records = points.filter((point) => point.hasText && point.records.length === 1).length;
      const whole = batchKeys(batchNo).length;
      if (batchNo <= acknowledged) expect([pictures, records]).toEqual([whole, whole]);
      else
        expect([
          [0, 0],
          [whole, 0],
          [whole, whole],
        ]).toContainEqual([pictures, records]);
    }
    await index.close();
    expectSound(file);
    next = acknowledged + 2;
  }
});

test('another process sees a write at its next search', async () => {
  const file = await newFile();
  const writer = await open(file, CONTRACT_SPEC);
  const reader = await open(file);
  const leg = { space: 'image', vector: imageVector(1), limit: 5 } as const;
  expect(await reader.search(TENANT, undefined, [leg])).toEqual([[]]);
  await writer.writePictures([picture('a')]);
  expect(await reader.search(TENANT, undefined, [leg])).toMatchObject([[{ assetId: assetIdOf('a') }]]);
});

test('what was written is there after reopening, with and without naming the encoder', async () => {
  const file = await newFile();
  const first = await openSqliteVectorIndex({ file, spec: CONTRACT_SPEC });
  await first.writePictures([picture('a')]);
  await first.close();
  for (const spec of [undefined, CONTRACT_SPEC]) {
    const again = await open(file, spec);
    expect(again.spec).toEqual(CONTRACT_SPEC);
    expect(await again.count(TENANT)).toEqual({ live: 1, deleted: 0 });
  }
});

test('an index of another encoder is refused with what to do', async () => {
  const file = await newFile();
  await open(file, CONTRACT_SPEC);
  for (const space of ['image', 'text'] as const) {
    const others = [
      { ...CONTRACT_SPEC[space], fingerprint: 'sha256:other' },
      { ...CONTRACT_SPEC[space], dimensions: 9 },
    ];
    for (const other of others) {
      await expect(openSqliteVectorIndex({ file, spec: { ...CONTRACT_SPEC, [space]: other } })).rejects.toMatchObject({
        code: 'index_encoder_mismatch',
        detail: expect.stringMatching(/ENCODER_PACK.*new DATA_DIR/),
      });
    }
  }
});

test('of two encoders that open a new file at once, one gets it', async () => {
  const file = await newFile();
  const specs = ['one', 'two'].map((fingerprint) => ({ image: { fingerprint, dimensions: 8 }, text: CONTRACT_SPEC.text }));
  const outcomes = await Promise.allSettled(specs.map((spec) => open(file, spec)));
  expect(outcomes.map((outcome) => outcome.status).toSorted()).toEqual(['fulfilled', 'rejected']);
  expect(outcomes.find((outcome) => outcome.status === 'rejected')?.reason).toMatchObject({ code: 'index_encoder_mismatch' });
});

test('without an encoder named, an absent or empty index is unavailable and no file is made', async () => {
  const file = await newFile();
  await expect(openSqliteVectorIndex({ file })).rejects.toMatchObject({ code: 'index_unavailable', retryable: true });
  expect(existsSync(file)).toBe(false);
  await writeFile(file, '');
  await expect(openSqliteVectorIndex({ file })).rejects.toMatchObject({ code: 'index_unavailable' });
});

test('a file of a newer format is refused untouched', async () => {
  const file = await newFile();
  await (await openSqliteVectorIndex({ file, spec: CONTRACT_SPEC })).close();
  const db = new DatabaseSync(file);
  db.exec('PRAGMA user_version = 99');
  db.close();
  const before = await readFile(file);
  await expect(open(file, CONTRACT_SPEC)).rejects.toMatchObject({
    code: 'store_format_unsupported',
    detail: expect.stringMatching(/format 99.*newer Sightline/),
  });
  expect(await readFile(file)).toEqual(before);
});

test("another application's file and a damaged file are told apart", async () => {
  const foreign = await newFile();
  const db = new DatabaseSync(foreign);
  db.exec('CREATE TABLE points (a)');
  db.close();
  await expect(open(foreign, CONTRACT_SPEC)).rejects.toMatchObject({ code: 'store_format_unsupported' });
  const damaged = await newFile();
  await writeFile(damaged, 'certainly no database'.repeat(1_000));
  await expect(open(damaged, CONTRACT_SPEC)).rejects.toMatchObject({ code: 'store_damaged' });

  const torn = await newFile();
  const index = await openSqliteVectorIndex({ file: torn, spec: CONTRACT_SPEC });
  await index.writePictures(batchKeys(0).map((key) => picture(key)));
  await index.close();
  // Whoever of its two threads closed last may have left pages in the write-ahead log.
  const settled = new DatabaseSync(torn);
  settled.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  settled.close();
  const bytes = await readFile(torn);
  await writeFile(torn, bytes.fill(0xa5, 4096));
  await expect(open(torn).then((opened) => opened.count(TENANT))).rejects.toMatchObject({
    code: 'store_damaged',
    retryable: false,
  });
});

test('a leg may ask for more than vec0 would give', async () => {
  const index = await open(await newFile(), CONTRACT_SPEC);
  const keys = Array.from({ length: 5_000 }, (_, i) => `key-${i}`);
  await index.writePictures(keys.map((key, i) => picture(key, { vector: imageVector(1, i) })));
  await index.writeRecords(
    keys.map((key, i) => pictureRecord(key, [itemRecord(key, '', { odd: i % 2 === 1 })], { keywords: [] })),
  );
  const leg = { space: 'image', vector: imageVector(1), limit: 10_000 } as const;
  expect((await index.search(TENANT, undefined, [leg]))[0]).toHaveLength(5_000);
  expect((await index.search(TENANT, { odd: true }, [leg]))[0]).toHaveLength(2_500);
});
