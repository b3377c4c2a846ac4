import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { Change } from '@sightline/shared/contracts/changes';
import { DEFAULT_TENANT, passageAssetId, pictureAssetId } from '@sightline/shared/contracts/ids';
import type { ItemRecord } from '@sightline/shared/contracts/records';
import fc from 'fast-check';
import { Repair } from './core/repair.ts';
import { Crash, FlowRig } from './testing/flow-rig.ts';

const BUCKET = 'shop';
const KEYS = ['1.png', '2.png', '3.png'];

let rig: FlowRig;

beforeEach(async () => {
  rig = await FlowRig.open();
  await rig.put(BUCKET, 'unrelated.png', 'unrelated');
});

afterEach(async () => {
  await rig.close();
});

function item(itemId: string, keys: string[], more: Partial<ItemRecord> = {}): ItemRecord {
  const pictures = keys.map((key) => ({ bucket: BUCKET, key }));
  return { itemId, title: `Title ${itemId}`, text: 'One. Two.', attributes: {}, pictures, ...more };
}

const push = (record: ItemRecord): Change => ({ kind: 'item', itemId: record.itemId, record });
const dropped = (itemId: string): Change => ({ kind: 'item', itemId, record: null });
const object = (key: string): Change => ({ kind: 'object', bucket: BUCKET, key });
const idOf = (key: string): string => pictureAssetId(DEFAULT_TENANT, BUCKET, key);
const passageId = (itemId: string, no: number): string => passageAssetId(DEFAULT_TENANT, itemId, no);

async function put(key: string, content = key): Promise<void> {
  await rig.put(BUCKET, key, content);
  await rig.change(object(key));
}

async function remove(key: string): Promise<void> {
  await rig.store.delete({ bucket: BUCKET, key });
  await rig.change(object(key));
}

async function live() {
  const points = await rig.index.scan(DEFAULT_TENANT, { limit: 1_000, withVectors: true });
  return new Map(points.filter(({ deleted }) => !deleted).map((point) => [point.assetId, point]));
}

/** What the index holds of these records alone, given what is in the bucket: the picture or the passage that carries each text. */
async function expectInStep(records: ItemRecord[], alsoListed: string[] = []): Promise<void> {
  const present: string[] = [];
  for (const key of KEYS) if (await rig.store.head({ bucket: BUCKET, key })) present.push(key);
  const expected = new Map<string, string[]>(alsoListed.map((key) => [idOf(key), []]));
  const note = (assetId: string, text: string): void => void expected.set(assetId, [...(expected.get(assetId) ?? []), text]);
  for (const { itemId, title, text, pictures } of [...records].sort((a, b) => (a.itemId < b.itemId ? -1 : 1))) {
    const [first = '', ...further] = rig.encoder.splitPassages(text);
    const carriers = pictures.filter(({ key }) => present.includes(key));
    for (const { key } of carriers) note(idOf(key), `${itemId}/${title}/${first}`);
    if (carriers.length === 0) note(passageId(itemId, 0), `${itemId}/${title}/${first}`);
    further.forEach((passage, i) => note(passageId(itemId, i + 1), `${itemId}/${title}/${passage}`));
  }
  const found = new Map(
    [...(await live())].map(([id, point]) => [id, point.records.map(({ itemId, title, text }) => `${itemId}/${title}/${text}`)]),
  );
  expect(Object.fromEntries(found)).toEqual(Object.fromEntries(expected));
  for (const point of (await live()).values()) {
    expect({ pushed: point.records.every(({ pushed }) => pushed), hasText: point.hasText }).toEqual({
      pushed: true,
      hasText: point.records.length > 0,
    });
    if (point.kind === 'picture') expect(point.hasImage).toBe(true);
  }
}

test('a record brings its pictures in, those that come later too, and takes them along when it goes', async () => {
  await rig.put(BUCKET, '1.png', 'one');
  const lamp = item('lamp', ['1.png', '2.png']);
  await rig.change(push(lamp));
  await expectInStep([lamp]);
  expect((await live()).get(idOf('1.png'))?.records[0]).toEqual({ ...lamp, text: 'One.', pushed: true });

  rig.encoder.texts.length = 0;
  await put('2.png', 'two');
  await expectInStep([lamp]);
  expect(rig.encoder.texts).toEqual([]);

  // Of no record and no source.
  await put('3.png');
  await expectInStep([lamp]);
  await rig.change(dropped('lamp'));
  await expectInStep([]);
  await rig.change(dropped('lamp'), dropped('never-was'));
  await expectInStep([]);
});

test('a record in which nothing changed writes nothing, and changed words or attributes fetch no picture', async () => {
  await rig.put(BUCKET, '1.png', 'one');
  const lamp = item('lamp', ['1.png', '2.png']);
  await rig.change(push(lamp));
  const calls: string[] = [];
  rig.onCall = (call, when) => void (when === 'before' && calls.push(call));
  await rig.change(push(lamp));
  expect(calls.filter((call) => /^index\.(write|delete)|^store\.(?!head)/.test(call))).toEqual([]);

  [calls.length, rig.encoder.texts.length] = [0, 0];
  await rig.change(push({ ...lamp, attributes: { price: 3 } }));
  expect(rig.encoder.texts).toEqual([]);
  await rig.change(push({ ...lamp, attributes: { price: 3 }, text: 'One. Three.' }));
  expect(rig.encoder.texts).toEqual(['Title lamp\nThree.']);
  expect(calls.filter((call) => /^store\.(?!head)/.test(call))).toEqual([]);
  await expectInStep([{ ...lamp, text: 'One. Three.' }]);
});

test('a picture that a record drops leaves the index, unless another record names it or a source lists it', async () => {
  for (const key of KEYS) await rig.put(BUCKET, key, key);
  const [lamp, chair] = [item('lamp', KEYS), item('chair', ['2.png'])];
  await rig.change(push(lamp), push(chair));
  await rig.run({ type: 'prefix', bucket: BUCKET, prefix: '3' });
  await expectInStep([lamp, chair]);
  const bare = item('lamp', []);
  await rig.change(push(bare));
  await expectInStep([bare, chair], ['3.png']);
  await rig.change(dropped('chair'));
  await expectInStep([bare], ['3.png']);
});

test('a text whose picture goes has a point of its own until it is back, and nothing is encoded again', async () => {
  await rig.put(BUCKET, '1.png', 'one');
  const records = [item('lamp', ['1.png']), item('chair', ['1.png', '2.png']), item('desk', ['2.png'])];
  await rig.change(...records.map(push));
  await expectInStep(records);
  rig.encoder.texts.length = 0;
  await remove('1.png');
  await expectInStep(records);
  await put('1.png', 'one');
  await expectInStep(records);
  // Two records together on one picture are a text of their own, and so was each alone.
  expect(rig.encoder.texts.filter((text) => text.split('Title').length === 2).toSorted()).toEqual([
    'Title chair\nOne.',
    'Title lamp\nOne.',
  ]);
});

test('bytes that cannot be encoded take the picture off and not its record', async () => {
  await rig.put(BUCKET, '1.png', 'one');
  const lamp = item('lamp', ['1.png']);
  await rig.change(push(lamp));
  await put('1.png', 'BAD');
  const points = await live();
  expect([...points.keys()].sort()).toEqual([passageId('lamp', 0), passageId('lamp', 1)].sort());
  expect(await rig.ledger.changeFailures(DEFAULT_TENANT, { limit: 5 })).toMatchObject([{ code: 'picture_corrupt' }]);
  await put('1.png', 'better');
  await expectInStep([lamp]);
  await rig.put(BUCKET, '1.png', 'BAD again');
  await rig.change(push({ ...lamp, title: 'New' }));
  const failures = await rig.ledger.changeFailures(DEFAULT_TENANT, { limit: 5 });
  expect(failures).toMatchObject([{ code: 'picture_corrupt', change: { kind: 'object', key: '1.png' } }]);
  expect((await live()).get(passageId('lamp', 0))?.records[0]).toMatchObject({ title: 'New' });
});

test('an item that a user removed comes back when its record is pushed again, its pictures with it', async () => {
  for (const key of ['1.png', '2.png']) await rig.put(BUCKET, key, key);
  const lamp = item('lamp', ['1.png', '2.png']);
  await rig.change(push(lamp));
  await rig.removeItem('lamp');
  await expectInStep([]);
  await put('1.png');
  await expectInStep([]);
  await rig.change(push(lamp));
  await expectInStep([lamp]);
});

test('a picture that a user removed by itself stays off while its record goes on naming it', async () => {
  for (const key of ['1.png', '2.png']) await rig.put(BUCKET, key, key);
  const lamp = item('lamp', ['1.png', '2.png']);
  await rig.change(push(lamp));
  const point = (await live()).get(idOf('1.png'));
  const { version } = await rig.ledger.leaseKeys([], { ttlMs: 1 });
  await rig.index.delete([
    { assetId: idOf('1.png'), tenant: DEFAULT_TENANT, version, reason: 'removed', object: point?.object ?? null, at: 1 },
  ]);
  await rig.change(push({ ...lamp, title: 'New' }));
  expect([...(await live()).keys()]).not.toContain(idOf('1.png'));
  await rig.change(push(item('lamp', ['2.png'])));
  await rig.change(push(lamp));
  await expectInStep([lamp]);
});

test('a picture that comes while its record is being written is not passed over', async () => {
  const lamp = item('lamp', ['1.png']);
  let isThere = false;
  rig.onCall = async (call, when) => {
    if (isThere || call !== 'index.writeRecords' || when !== 'before') return;
    isThere = true;
    await rig.put(BUCKET, '1.png', 'one');
  };
  await rig.change(push(lamp));
  expect(isThere).toBe(true);
  await expectInStep([lamp]);
});

const SEED = 20_261_129;
const RUNS = 30;

type Step =
  | { do: 'push'; itemId: string; keys: string[]; title: number }
  | { do: 'drop'; itemId: string }
  | { do: 'put'; key: string }
  | { do: 'delete'; key: string };

const someItem = fc.constantFrom('lamp', 'chair');
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant('push' as const),
    itemId: someItem,
    keys: fc.uniqueArray(fc.constantFrom(...KEYS), { maxLength: 3 }),
    title: fc.nat({ max: 1 }),
  }),
  fc.record({ do: fc.constant('drop' as const), itemId: someItem }),
  fc.record({ do: fc.constant('put' as const), key: fc.constantFrom(...KEYS) }),
  fc.record({ do: fc.constant('delete' as const), key: fc.constantFrom(...KEYS) }),
);

test('whatever is pushed, dropped, written and deleted, with a worker dying at any call, ends in step', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom<[string, string[]][]>(
        [
          ['lamp', ['1.png']],
          ['chair', ['1.png', '2.png']],
        ],
        [['lamp', KEYS]],
      ),
      fc.array(fc.tuple(step, fc.option(fc.nat({ max: 30 }), { freq: 2 }), fc.boolean()), { minLength: 1, maxLength: 8 }),
      async (began, steps) => {
        const own = await FlowRig.open();
        const outer = rig;
        rig = own;
        try {
          await rig.put(BUCKET, 'unrelated.png', 'unrelated');
          const records = new Map<string, ItemRecord>();
          for (const key of KEYS) await rig.put(BUCKET, key, key);
          for (const [itemId, keys] of began) await rig.change(await apply({ do: 'push', itemId, keys, title: 0 }, records));
          for (const [one, diesAfter, isWorked] of steps) {
            await rig.ledger.noteChanges(DEFAULT_TENANT, [{ change: await apply(one, records), changedAt: null }], rig.now());
            if (!isWorked) continue;
            let calls = 0;
            rig.onCall = () => {
              if (diesAfter !== null && calls++ === diesAfter) throw new Crash();
            };
            await rig.driveChanges().catch((error: unknown) => {
              if (!(error instanceof Crash)) throw error;
              rig.passLeases();
            });
          }
          rig.onCall = () => {};
          await rig.driveChanges();
          await expectInStep([...records.values()]);
        } finally {
          rig = outer;
          await own.close();
        }
      },
    ),
    { numRuns: RUNS, seed: SEED },
  );
}, 240_000);

async function apply(one: Step, records: Map<string, ItemRecord>): Promise<Change> {
  if (one.do === 'put') await rig.put(BUCKET, one.key, `${one.key} ${Math.floor(rig.now() / 2) % 2}`);
  if (one.do === 'delete') await rig.store.delete({ bucket: BUCKET, key: one.key });
  if (one.do === 'put' || one.do === 'delete') return object(one.key);
  if (one.do === 'drop') {
    records.delete(one.itemId);
    return dropped(one.itemId);
  }
  const record = item(one.itemId, one.keys, { title: `Title ${one.title}` });
  records.set(one.itemId, record);
  return push(record);
}

async function expectClean(): Promise<void> {
  expect((await rig.audit()).findings).toEqual([]);
}

async function found(): Promise<string[]> {
  return (await rig.audit()).findings.map(({ kind, key }) => `${kind} ${key}`).toSorted();
}

test('a pushed record is its own truth: ingestions leave it, the audit agrees, and finds what its pictures lack', async () => {
  for (const key of ['1.png', '2.png']) await rig.put(BUCKET, key, key);
  const lamp = item('lamp', ['1.png', '3.png'], { text: 'One. Two. Three.' });
  await rig.change(push(lamp));
  await expectClean();
  await rig.run({ type: 'prefix', bucket: BUCKET, prefix: '2' });
  await expectInStep([lamp], ['2.png']);
  await expectClean();
  await rig.run({ type: 'prefix', bucket: BUCKET, prefix: '' });
  await expectClean();

  // Changed, arrived and gone, and nobody told of it.
  await rig.put(BUCKET, '1.png', 'changed');
  await rig.put(BUCKET, '3.png', 'three');
  expect(await found()).toEqual(['missing 3.png', 'stale 1.png']);
  await rig.change(object('1.png'), object('3.png'));
  await expectClean();
  await rig.store.delete({ bucket: BUCKET, key: '1.png' });
  expect(await found()).toEqual(['extra 1.png']);
  await rig.run({ type: 'prefix', bucket: BUCKET, prefix: '' });
  await expectClean();
  await rig.put(BUCKET, '1.png', 'BAD');
  await rig.change(object('1.png'));
  await expectClean();
});

test('what a point lacks of a pushed record is completed from the others by the next ingestion of its place', async () => {
  for (const key of ['1.png', '2.png']) await rig.put(BUCKET, key, key);
  const lamp = item('lamp', ['1.png', '2.png']);
  await rig.change(push(lamp));
  const point = (await live()).get(idOf('1.png'));
  const { version } = await rig.ledger.leaseKeys([], { ttlMs: 1 });
  const bare = { keywords: [], vector: null, recordVersion: version, indexedAt: 1, records: [] };
  await rig.index.writeRecords([
    { ...bare, assetId: idOf('1.png'), tenant: DEFAULT_TENANT, kind: 'picture', object: point?.object ?? null, passageNo: 0 },
  ]);
  expect(await found()).toEqual(['malformed 1.png']);
  await rig.run({ type: 'prefix', bucket: BUCKET, prefix: '1' });
  await expectInStep([lamp]);
  await expectClean();
});

test('of a pushed record and a line of a manifest the one that came later stands', async () => {
  await rig.put(BUCKET, '1.png', 'one');
  const line = (title: string) => JSON.stringify({ item_id: 'lamp', title, text: 'One. Two.', images: ['1.png'] });
  const manifest = { type: 'manifest', uri: `s3://${BUCKET}/m.jsonl` } as const;
  const title = async () => [...(await live()).values()].flatMap(({ records }) => records.map((record) => record.title));
  await rig.put(BUCKET, 'm.jsonl', line('By manifest'));
  await rig.run(manifest);
  await rig.change(push(item('lamp', ['1.png'], { title: 'Pushed' })));
  expect(new Set(await title())).toEqual(new Set(['Pushed']));
  await expectClean();
  await rig.run({ type: 'prefix', bucket: BUCKET, prefix: '1' });
  expect(new Set(await title())).toEqual(new Set(['Pushed']));
  await rig.put(BUCKET, 'm.jsonl', line('By manifest again'));
  await rig.run(manifest);
  expect(new Set(await title())).toEqual(new Set(['By manifest again']));
  await expectClean();
  await rig.change(dropped('lamp'));
  expect(await title()).toEqual([]);
  expect(await found()).toEqual(['malformed 1.png', 'missing item:lamp']);
});

test('what an audit finds of pushed records and their pictures is put right by its repair, and no record is lost by it', async () => {
  for (const key of ['1.png', '2.png']) await rig.put(BUCKET, key, key);
  const records = [item('lamp', ['1.png', '3.png']), item('chair', ['2.png'])];
  await rig.change(...records.map(push));
  await rig.put(BUCKET, '3.png', 'three');
  await rig.put(BUCKET, '2.png', 'changed');
  await rig.store.delete({ bucket: BUCKET, key: '1.png' });
  const { version } = await rig.ledger.leaseKeys([], { ttlMs: 1 });
  const at = { tenant: DEFAULT_TENANT, version, reason: 'gone' as const, object: null, at: 1 };
  await rig.index.delete([{ ...at, assetId: passageId('chair', 1) }]);

  const { findings } = await rig.audit();
  expect(findings.map(({ kind, key }) => `${kind} ${key}`).toSorted()).toEqual([
    'extra 1.png',
    'malformed item:lamp',
    'missing 3.png',
    'stale 2.png',
  ]);
  const { ledger, index, store } = rig;
  const repair = new Repair({ ledger, index, store, now: () => rig.now(), sleep: async () => {} }, DEFAULT_TENANT);
  for (const finding of findings) await repair.take(finding);
  expect(await repair.finish()).toEqual({ ingestions: [], changes: 4 });
  await rig.driveChanges();
  await expectClean();
  await expectInStep([records[0]!, { ...records[1]!, text: 'One.' }]);
});

test('a record that an audit saw does not undo one that was pushed since', async () => {
  const old = item('lamp', ['1.png']);
  await rig.change(push(old));
  const newer = item('lamp', ['2.png'], { title: 'Newer' });
  await rig.change(push(newer));
  await rig.change(push({ ...old, pushed: true }));
  await expectInStep([newer]);
  const newest = { ...newer, title: 'Newest' };
  await rig.change(push(newest), push({ ...newer, pushed: true }));
  await expectInStep([newest]);
  await rig.change(dropped('lamp'));
  await rig.change(push({ ...old, pushed: true }));
  await expectInStep([]);
});

test('a worker that stood still with an old record does not undo what was pushed since', async () => {
  const old = item('lamp', ['1.png']);
  const newer = item('lamp', ['1.png'], { title: 'Newer' });
  await rig.ledger.noteChanges(DEFAULT_TENANT, [{ change: push(old), changedAt: null }], rig.now());
  let stands = true;
  const stalled = rig.workChanges(DEFAULT_TENANT, (ports) => ({
    ...ports,
    ledger: new Proxy(ports.ledger, {
      get: (ledger, name, self) => {
        const method: unknown = Reflect.get(ledger, name, self);
        if (name !== 'leaseKeys' || !stands) return method;
        return async (...args: Parameters<typeof ledger.leaseKeys>) => {
          // Between being given the change and holding its item.
          if (stands) {
            stands = false;
            rig.passClaims();
            await rig.change(push(newer));
          }
          return ledger.leaseKeys(...args);
        };
      },
    }),
  }));
  await stalled;
  await rig.driveChanges();
  expect(stands).toBe(false);
  await expectInStep([newer]);
});

test('a picture that two records drop at the same time leaves the index, whichever is the last', async () => {
  for (const key of KEYS) await rig.put(BUCKET, key, key);
  for (let i = 0; i < 5; i++) {
    await rig.change(push(item('lamp', ['1.png'])), push(item('chair', ['1.png', '2.png'])));
    const [lamp, chair] = [item('lamp', ['2.png']), item('chair', [], { title: 'New' })];
    await rig.change(...(i % 2 ? [push(chair), push(lamp)] : [push(lamp), push(chair)]));
    await expectInStep([lamp, chair]);
  }
});
