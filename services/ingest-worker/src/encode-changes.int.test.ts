import { rename, symlink } from 'node:fs/promises';
import { setTimeout as sleepFor } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { SightlineEvent } from '@sightline/shared/contracts/events';
import { DEFAULT_TENANT, pictureAssetId } from '@sightline/shared/contracts/ids';
import { withWrites } from '@sightline/shared/ingestion/index-writes';
import { raiseTenantFence } from '@sightline/shared/ingestion/tenant-fence';
import type { AssetPoint } from '@sightline/shared/ports/vector-index';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { Noticed } from './core/change-feed.ts';
import { Crash, FlowRig } from './testing/flow-rig.ts';

let rig: FlowRig;
let told: SightlineEvent[];

beforeEach(async () => {
  rig = await FlowRig.open();
  told = [];
  await rig.events.subscribe('test', async (events) => void told.push(...events));
});

afterEach(() => rig.close());

const idOf = (key: string): string => pictureAssetId(DEFAULT_TENANT, rig.source, key);
const seen = (key: string, changedAt: number | null = null): Noticed => ({
  kind: 'object',
  bucket: rig.source,
  keys: [key],
  changedAt,
});

async function pointOf(key: string, withVectors = false): Promise<AssetPoint | undefined> {
  return (await rig.index.get(DEFAULT_TENANT, [idOf(key)], { withVectors })).get(idOf(key));
}

async function isShown(key: string): Promise<boolean> {
  const point = await pointOf(key);
  return point !== undefined && !point.deleted;
}

/** Each change that is noticed, worked to the end. */
async function change(...keys: string[]): Promise<void> {
  await rig.notice(keys.map((key) => seen(key)));
  await rig.driveChanges();
}

/** What was told since the last call, each id once. */
async function heard(): Promise<SightlineEvent[]> {
  await sleepFor(10);
  return [...new Map(told.splice(0).map((event) => [event.id, event])).values()];
}

async function expectClean(): Promise<void> {
  expect((await rig.audit()).findings).toEqual([]);
}

/** An ingested source of these files, long ago. */
async function ingested(files: Record<string, string>): Promise<void> {
  for (const [key, content] of Object.entries(files)) await rig.write(key, content);
  await rig.run();
  rig.passLeases();
  await heard();
  rig.encoder.decodes = 0;
}

test('a hundred changes of one key in a burst cost one encode', async () => {
  await ingested({ 'a.png': 'first' });
  for (let n = 1; n <= 100; n++) {
    await rig.write('a.png', `state ${n}`);
    await rig.notice([seen('a.png')]);
  }
  await rig.driveChanges();
  expect(rig.encoder.decodes).toBe(1);
  expect((await pointOf('a.png'))?.sizeBytes).toBe('state 100'.length);
  await expectClean();
});

test('a hundred changes that come while the first is worked cost one encode more', async () => {
  await ingested({ 'a.png': 'first' });
  await rig.write('a.png', 'state 0');
  await rig.notice([seen('a.png')]);
  let isBurst = false;
  rig.onCall = async (call, when) => {
    if (call !== 'index.writePictures' || when !== 'before' || isBurst) return;
    isBurst = true;
    for (let n = 1; n <= 100; n++) {
      await rig.write('a.png', `state ${n}`);
      await rig.notice([seen('a.png')]);
    }
  };
  await rig.driveChanges();
  expect(isBurst).toBe(true);
  expect(rig.encoder.decodes).toBe(2);
  expect((await pointOf('a.png'))?.sizeBytes).toBe('state 100'.length);
  await expectClean();
});

test('what is told of and stands in the index already costs a look', async () => {
  await ingested({ 'a.png': 'one', 'b.png': 'two' });
  await change('a.png', 'b.png', 'never-there.png');
  expect(rig.encoder.decodes).toBe(0);
  expect(await heard()).toEqual([]);
  expect(await pointOf('never-there.png')).toBeUndefined();
});

test('copied content is not encoded again', async () => {
  await ingested({ 'a.png': 'the same' });
  await rig.write('copies/b.png', 'the same');
  await change('copies/b.png');
  expect(rig.encoder.decodes).toBe(0);
  expect(await isShown('copies/b.png')).toBe(true);
  await expectClean();
});

test.each([
  ['the deletion is told first', ['a.png', 'moved/a.png']],
  ['the deletion is told last', ['moved/a.png', 'a.png']],
])('moved content is not encoded again when %s', async (_, order) => {
  await ingested({ 'a.png': 'the same' });
  await rig.remove('a.png');
  await rig.write('moved/a.png', 'the same');
  await change(...order);
  expect(rig.encoder.decodes).toBe(0);
  expect([await isShown('a.png'), await isShown('moved/a.png')]).toEqual([false, true]);
  await expectClean();
});

test('a changed picture keeps its records, its text vector and their version', async () => {
  await rig.write('a.png', 'one');
  const record = { item_id: 'A', title: 'Cooler', text: 'Quiet.', images: ['a.png'] };
  await rig.write('manifest.jsonl', JSON.stringify(record));
  await rig.run({ type: 'manifest', uri: `${rig.source}/manifest.jsonl` });
  const before = await pointOf('a.png', true);
  expect(before?.hasText).toBe(true);
  await rig.write('a.png', 'another picture');
  await change('a.png');
  const after = await pointOf('a.png', true);
  expect(after?.vectors?.text).toEqual(before?.vectors?.text);
  expect(after?.vectors?.image).not.toEqual(before?.vectors?.image);
  expect(after).toMatchObject({ records: before?.records, recordVersion: before?.recordVersion });
  await expectClean();
});

test('a bad picture becomes a failure with its code, which the audit honours and a good picture ends', async () => {
  await ingested({ 'a.png': 'good' });
  await rig.write('a.png', 'BAD');
  await rig.write('new.png', 'BAD too');
  await change('a.png', 'new.png');
  const failures = await rig.ledger.changeFailures(DEFAULT_TENANT, { limit: 10 });
  expect(failures.map(({ change: own, code }) => [own.kind === 'object' && own.key, code])).toEqual([
    ['a.png', 'picture_corrupt'],
    ['new.png', 'picture_corrupt'],
  ]);
  expect(failures.every(({ eTag, failedAt }) => eTag !== null && failedAt > 0)).toBe(true);
  expect(await pointOf('a.png')).toMatchObject({ deleted: true, deletedBecause: 'failed' });
  const { findings, report } = await rig.audit();
  expect(findings).toEqual([]);
  expect(report.agreed).toMatchObject({ failed: 2 });
  expect((await heard()).map(({ type, subject }) => `${type} ${subject}`).toSorted()).toEqual(
    [`asset.deleted ${idOf('a.png')}`, `asset.failed ${idOf('a.png')}`, `asset.failed ${idOf('new.png')}`].toSorted(),
  );

  await rig.write('a.png', 'good again');
  await rig.remove('new.png');
  await change('a.png', 'new.png');
  expect(await rig.ledger.changeFailures(DEFAULT_TENANT, { limit: 10 })).toEqual([]);
  expect(await isShown('a.png')).toBe(true);
  await expectClean();
});

test('while the store is away changes wait, nothing fails and nothing is told; then they are worked', async () => {
  await ingested({ 'a.png': 'one', 'b.png': 'two' });
  await rig.write('a.png', 'changed');
  await rig.remove('b.png');
  let isAway = true;
  rig.onCall = () => {};
  const { head, get } = rig.store;
  rig.store.head = (ref) => (isAway ? Promise.reject(new SightlineError('object_store_unavailable')) : head.call(rig.store, ref));
  rig.store.get = (ref, options) =>
    isAway ? Promise.reject(new SightlineError('object_store_unavailable')) : get.call(rig.store, ref, options);
  await rig.notice([seen('a.png'), seen('b.png')]);
  for (let turn = 0; turn < 20; turn++) {
    await rig.workChanges();
    rig.passClaims();
  }
  expect(await rig.ledger.owedChanges(rig.now())).toMatchObject([{ owed: 2, free: 2 }]);
  expect(await rig.ledger.changeFailures(DEFAULT_TENANT, { limit: 10 })).toEqual([]);
  expect(await heard()).toEqual([]);
  expect([await isShown('a.png'), await isShown('b.png')]).toEqual([true, true]);
  isAway = false;
  await rig.driveChanges();
  expect((await pointOf('a.png'))?.sizeBytes).toBe('changed'.length);
  expect(await isShown('b.png')).toBe(false);
  await expectClean();
});

test('what is given back comes again after a pause that grows with its waiting', async () => {
  await ingested({ 'a.png': 'one' });
  rig.store.head = () => Promise.reject(new SightlineError('object_store_unavailable'));
  await rig.notice([seen('a.png')]);
  expect(await rig.workChanges()).toBe(1);
  expect(await rig.workChanges()).toBe(0);
  const at = rig.now();
  expect((await rig.ledger.owedChanges(at + 2_000))[0]?.free).toBe(1);
  // An hour later.
  for (let n = 0; n < 60; n++) rig.passLeases();
  expect(await rig.workChanges()).toBe(1);
  expect((await rig.ledger.owedChanges(rig.now() + 50_000))[0]?.free).toBe(0);
  expect((await rig.ledger.owedChanges(rig.now() + 61_000))[0]?.free).toBe(1);
});

test('of a deleted tenant a late worker writes nothing', async () => {
  await ingested({ 'a.png': 'one' });
  await rig.write('a.png', 'two');
  await rig.write('b.png', 'three');
  await rig.notice([seen('a.png'), seen('b.png')]);
  let isDeleted = false;
  rig.onCall = async (call, when) => {
    if (call !== 'store.get' || when !== 'after' || isDeleted) return;
    isDeleted = true;
    const { version } = await rig.ledger.leaseKeys([], { ttlMs: 1 });
    await raiseTenantFence(rig.ledger, DEFAULT_TENANT, version);
    await rig.ledger.deleteTenant(DEFAULT_TENANT);
    await rig.index.deleteTenant(DEFAULT_TENANT);
  };
  await rig.workChanges();
  expect(isDeleted).toBe(true);
  await rig.driveChanges();
  expect(await rig.index.count(DEFAULT_TENANT)).toEqual({ live: 0, deleted: 0 });
  expect(await rig.ledger.owedChanges(rig.now())).toEqual([]);
  expect(await heard()).toEqual([]);
});

test('what was told is told of as documented: changed_at from the teller, else from the store', async () => {
  await ingested({ 'a.png': 'one', 'b.png': 'two' });
  await rig.write('a.png', 'changed');
  await rig.write('c.png', 'new');
  await rig.remove('b.png');
  const changedAt = Date.UTC(2026, 0, 2, 3, 4, 5);
  await rig.notice([seen('a.png', changedAt), seen('b.png', changedAt), seen('c.png')]);
  await rig.driveChanges();
  const events = new Map((await heard()).map((event) => [event.subject, event]));
  expect(events.get(idOf('a.png'))).toMatchObject({
    type: 'asset.indexed',
    data: { changed_at: '2026-01-02T03:04:05.000Z', ingestion_id: null, has_image: true, size_bytes: 7 },
  });
  expect(events.get(idOf('b.png'))).toMatchObject({
    type: 'asset.deleted',
    data: { because: 'gone', changed_at: '2026-01-02T03:04:05.000Z', ingestion_id: null },
  });
  const info = await rig.store.head({ bucket: rig.source, key: 'c.png' });
  expect(events.get(idOf('c.png'))).toMatchObject({
    type: 'asset.indexed',
    data: { changed_at: info?.modifiedAt.toISOString() },
  });
  expect(events.size).toBe(3);
  expect(rig.freshness).toHaveLength(3);
});

test('a manifest that changes starts one ingestion of it, however often it is told of', async () => {
  const uri = `${rig.source}/manifest.jsonl`;
  const write = (title: string) => rig.write('manifest.jsonl', JSON.stringify({ item_id: 'A', title, text: 'Words.' }));
  await write('one');
  await rig.run({ type: 'manifest', uri });
  await write('two');
  for (let n = 0; n < 5; n++) await rig.notice([seen('manifest.jsonl'), seen('manifest.jsonl')]);
  const all = await rig.ledger.listIngestions(DEFAULT_TENANT, { limit: 10 });
  expect(all.map(({ status }) => status)).toEqual(['planning', 'completed']);
  await rig.drive();
  const [point] = await rig.index.findByItem(DEFAULT_TENANT, 'A');
  expect(point?.records.map(({ title }) => title)).toEqual(['two']);
  await expectClean();
});

test('above the high-water mark a feed is held until there is room, and nothing of it is lost', async () => {
  await ingested({ 'a.png': 'one' });
  rig.highWaterChanges = 3;
  for (const key of ['b.png', 'c.png', 'd.png', 'e.png']) await rig.write(key, key);
  await rig.notice([seen('b.png'), seen('c.png'), seen('d.png')]);
  let isTaken = false;
  const noticing = rig.notice([seen('e.png')]).then(() => (isTaken = true));
  await sleepFor(200);
  expect(isTaken).toBe(false);
  expect(await rig.ledger.owedChanges(rig.now())).toMatchObject([{ owed: 3 }]);
  await rig.driveChanges();
  await noticing;
  await rig.driveChanges();
  await expectClean();
});

test('changes of what a running ingestion is still to write end in the present state, and nothing is lost', async () => {
  for (let n = 0; n < 40; n++) await rig.write(`${n}.png`, `picture ${n}`);
  const ingestionId = await rig.ingest();
  let calls = 0;
  rig.onCall = async (call, when) => {
    if (when !== 'before' || !['index.writePictures', 'store.get'].includes(call)) return;
    calls += 1;
    if (calls > 30) return;
    const key = `${calls}.png`;
    if (calls % 3 === 0) await rig.remove(key);
    else await rig.write(key, `changed ${calls}`);
    await rig.notice([seen(key)]);
  };
  await Promise.all([
    rig.drive(),
    (async () => {
      for (let turn = 0; turn < 30; turn++) {
        await rig.workChanges();
        await sleepFor(5);
      }
    })(),
  ]);
  rig.onCall = () => {};
  await rig.driveChanges();
  await rig.drive();
  expect((await rig.ingestion(ingestionId)).status).toBe('completed');
  expect(calls).toBeGreaterThan(30);
  await expectClean();
});

test('what is no object and never was fails nothing, and its neighbours are shown', async () => {
  await ingested({ 'a.png': 'one' });
  await rig.write('b.png', 'two');
  const names = ['half \ud800.png', 'nul \0.png', '../outside.png', 'folder/', '//', 'x'.repeat(4_000)];
  await rig.notice([...names.map((name) => seen(name)), seen('b.png')]);
  await rig.driveChanges();
  expect(await isShown('b.png')).toBe(true);
  expect(await rig.ledger.changeFailures(DEFAULT_TENANT, { limit: 10 })).toEqual([]);
  await expectClean();
});

test('a change over which its batch fails keeps no other from being shown', async () => {
  await ingested({ 'a.png': 'one' });
  const keys = Array.from({ length: 10 }, (_, n) => `${n}.png`);
  for (const key of keys) await rig.write(key, `picture ${key}`);
  await rig.notice(keys.map((key) => seen(key)));
  // Fake: a fault of our own that one of them brings about.
  const { writePictures } = rig.index;
  rig.index.writePictures = (writes) => {
    if (writes.some(({ object }) => object.key === '4.png')) throw new TypeError('cannot read properties of undefined');
    return writePictures.call(rig.index, writes);
  };
  await rig.workChanges();
  expect(await Promise.all(keys.map(isShown))).toEqual(keys.map((key) => key !== '4.png'));
  expect(await rig.ledger.owedChanges(rig.now())).toMatchObject([{ owed: 1 }]);
  expect(await heard()).toHaveLength(9);
  // A day of trying later it is a failure.
  for (let n = 0; n < 24 * 60 + 1; n++) rig.passLeases();
  await rig.workChanges();
  expect(await rig.ledger.changeFailures(DEFAULT_TENANT, { limit: 10 })).toMatchObject([{ code: 'internal' }]);
  expect(await rig.ledger.owedChanges(rig.now())).toEqual([]);
});

test('a file that is replaced by a link out of its folder leaves the index, as a listing leaves it out', async () => {
  await ingested({ 'a.png': 'one' });
  await rig.remove('a.png');
  await symlink('/etc/hostname', `${rig.source}/a.png`);
  await change('a.png');
  expect(await isShown('a.png')).toBe(false);
  await expectClean();
});

test('a folder that is taken away and comes back takes nothing off the index', async () => {
  await ingested({ 'a.png': 'one', 'b.png': 'two' });
  await rename(rig.source, `${rig.source}-away`);
  await sleepFor(1_100);
  await rig.notice([seen('a.png'), seen('b.png')]);
  await rig.workChanges();
  expect([await isShown('a.png'), await isShown('b.png')]).toEqual([true, true]);
  expect(await rig.ledger.owedChanges(rig.now())).toMatchObject([{ owed: 2 }]);
  await rename(`${rig.source}-away`, rig.source);
  await rig.driveChanges();
  await expectClean();
});

test.each([
  ['that was never there', 'goes', {}],
  ['that had gone before', 'goes', { 'late.png': 'old' }],
  ['that was never there', 'cannot be decoded', {}],
  ['that had gone before', 'cannot be decoded', { 'late.png': 'old' }],
])('what a worker wrote late, of an object %s, does not stand where another found that it %s', async (_, end, files) => {
  await ingested({ 'other.png': 'other', ...files });
  if (await isShown('late.png')) {
    await rig.remove('late.png');
    await change('late.png');
  }
  await rig.write('late.png', 'new');
  await rig.notice([seen('late.png')]);
  const standingStill = rig.workChanges(DEFAULT_TENANT, ({ store, index, ledger }) => ({
    store,
    ledger,
    index: withWrites(index, {
      writeRecords: (writes) => index.writeRecords(writes),
      delete: (deletions) => index.delete(deletions),
      writePictures: async (writes) => {
        // The object goes, or is another; this worker's time has run out, and another is given the change and settles it.
        if (end === 'goes') await rig.remove('late.png');
        else await rig.write('late.png', 'BAD picture');
        rig.passLeases();
        await rig.workChanges();
        expect(await rig.ledger.owedChanges(rig.now())).toEqual([]);
        await index.writePictures(writes);
        rig.onCall = () => {
          throw new Error('dies before it looks again');
        };
      },
    }),
  }));
  await expect(standingStill).rejects.toBeInstanceOf(Crash);
  rig.onCall = () => {};
  expect(await isShown('late.png')).toBe(false);
  await expectClean();
});

test('what a bad picture was replaced by while its tombstone was written is shown, though nobody tells of it', async () => {
  await ingested({ 'a.png': 'old' });
  await rig.write('a.png', 'BAD picture');
  await rig.notice([seen('a.png')]);
  await rig.workChanges(DEFAULT_TENANT, ({ store, index, ledger }) => ({
    store,
    ledger,
    index: withWrites(index, {
      writeRecords: (writes) => index.writeRecords(writes),
      writePictures: (writes) => index.writePictures(writes),
      delete: async (deletions) => {
        await rig.write('a.png', 'new');
        await index.delete(deletions);
      },
    }),
  }));
  expect(await isShown('a.png')).toBe(true);
  await expectClean();
});
