import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { newMigration } from '../../testing/migration-builder.ts';
import {
  assetIdOf,
  CONTRACT_SPEC,
  deletion,
  imageVector,
  itemRecord,
  picture,
  pictureRecord,
  TENANT,
} from '../../testing/vector-index-points.ts';
import { SqliteLedger } from '../adapters/sqlite-ledger.ts';
import { sqliteIndexVersions } from '../adapters/sqlite-index-versions.ts';
import type { IndexVersions } from '../ports/index-versions.ts';
import type { IndexWriting } from '../ports/migration-ledger.ts';
import type { IndexSpec } from '../ports/vector-index.ts';
import { sleep } from '../runtime/sleep.ts';
import { ServingIndex } from './serving-index.ts';

/** Another image space; the text space is the same. */
const OTHER: IndexSpec = { ...CONTRACT_SPEC, image: { fingerprint: 'sha256:other', dimensions: 4 } };
const other = (key: string, version = 1) => picture(key, { vector: imageVector(1).slice(0, 4), imageVersion: version });

let folder: string;
let versions: IndexVersions;
let ledger: SqliteLedger;
let index: ServingIndex;
let revision = 0;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-serving-'));
  versions = sqliteIndexVersions({ file: join(folder, 'index.db') });
  ledger = await SqliteLedger.open({ file: join(folder, 'ledger.db') });
  await versions.found(CONTRACT_SPEC);
  await (await versions.open(2, OTHER)).close();
  revision = 0;
  await ledger.addMigration(newMigration('m'));
  index = await ServingIndex.open({ versions, ledger, logger: pino({ level: 'silent' }), now: Date.now, sleep, lookEveryMs: 20 });
});
afterEach(async () => {
  await index.close();
  await ledger.close();
  await rm(folder, { recursive: true });
});

const write = async (writing: Partial<IndexWriting>): Promise<void> => {
  revision += 1;
  const whole = { version: null, mirror: null, closed: null, ...writing };
  expect(await ledger.changeMigration(newMigration('m', { revision }), whole)).toBe(true);
};
const until = async (is: () => boolean): Promise<void> => {
  for (let i = 0; i < 200 && !is(); i++) await sleep(10);
  expect(is()).toBe(true);
};

test('it follows the version that serves, and what was pinned stays', async () => {
  await index.writePictures([picture('a')]);
  const before = index.pinned();
  await versions.serve(2);
  await until(() => index.version === 2);
  expect(index.spec).toEqual(OTHER);
  expect(await index.count(TENANT)).toEqual({ live: 0, deleted: 0 });
  expect(before.spec).toEqual(CONTRACT_SPEC);
  expect(await before.count(TENANT)).toEqual({ live: 1, deleted: 0 });
});

test('what is written is owed to the mirror, and is not given out before it is written', async () => {
  await index.writePictures([picture('before')]);
  await write({ version: 1, mirror: 2 });
  await index.writePictures([picture('a')]);
  await index.writeRecords([pictureRecord('b', [itemRecord('b')])]);
  await index.delete([deletion('c', 5)]);
  const taken = await ledger.takeCopies(2, { limit: 10, claimMs: 1, at: Date.now() });
  expect(taken.map(({ assetId }) => assetId).toSorted()).toEqual(['a', 'b', 'c'].map((key) => assetIdOf(key)).toSorted());
});

test('a write that fails is owed all the same: it may have been done', async () => {
  await write({ version: 1, mirror: 2 });
  await expect(index.writePictures([other('a')])).rejects.toMatchObject({ code: 'index_encoder_mismatch' });
  expect(await ledger.takeCopies(2, { limit: 10, claimMs: 1, at: Date.now() })).toHaveLength(1);
});

test('a cut-over is waited for; deletions and the records of a space that is the same go to the new version, vectors of another do not', async () => {
  await write({ version: null, mirror: 2 });
  const stale = index.pinned();
  const deleting = index.delete([deletion('a', 7)]);
  const recording = index.writeRecords([pictureRecord('b', [itemRecord('b')], { recordVersion: 8 })]);
  const picturing = expect(index.writePictures([picture('c')])).rejects.toMatchObject({ code: 'lease_lost' });
  await sleep(150);
  expect(await index.count(TENANT)).toEqual({ live: 0, deleted: 0 });
  await versions.serve(2);
  await write({ version: 2, mirror: 1 });
  await Promise.all([deleting, recording, picturing]);
  expect(index.version).toBe(2);
  expect(await index.count(TENANT)).toEqual({ live: 1, deleted: 1 });
  await expect(stale.delete([deletion('d', 9)])).rejects.toMatchObject({ code: 'lease_lost' });
  expect((await ledger.countCopies(1)).owed).toBe(2);
});

test('what goes past the mirroring is done to both versions', async () => {
  await write({ version: 1, mirror: 2 });
  const second = await versions.open(2);
  try {
    await index.writePictures([picture('a')]);
    await second.writePictures([other('a'), other('b')]);
    await index.delete([deletion('gone', 5, { at: 10 })]);
    await second.delete([deletion('gone', 5, { at: 10 })]);
    expect(await index.purge(TENANT, 20)).toBe(1);
    expect(await second.count(TENANT)).toEqual({ live: 2, deleted: 0 });
    expect(await index.deleteTenant(TENANT)).toBe(1);
    expect(await second.count(TENANT)).toEqual({ live: 0, deleted: 0 });
  } finally {
    await second.close();
  }
});
