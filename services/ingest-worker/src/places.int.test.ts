import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { DEFAULT_TENANT, pictureAssetId } from '@sightline/shared/contracts/ids';
import type { Source } from '@sightline/shared/contracts/records';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { ObjectRef } from '@sightline/shared/ports/object-store';
import { FlowRig } from './testing/flow-rig.ts';

const BUCKET = 'shop';
let rig: FlowRig;

beforeEach(async () => {
  rig = await FlowRig.open();
});

afterEach(() => rig.close());

const prefix = (name: string): Source => ({ type: 'prefix', bucket: BUCKET, prefix: name });
const manifest = (key: string): Source => ({ type: 'manifest', uri: `s3://${BUCKET}/${key}` });

function describe(key: string, ...lines: object[]): Promise<void> {
  return rig.put(BUCKET, key, lines.map((line) => JSON.stringify(line)).join('\n'));
}

async function titlesOf(key: string): Promise<string[] | undefined> {
  const id = pictureAssetId(DEFAULT_TENANT, BUCKET, key);
  const point = (await rig.index.get(DEFAULT_TENANT, [id])).get(id);
  return point && !point.deleted ? point.records.map(({ title }) => title) : undefined;
}

async function expectClean(): Promise<void> {
  expect((await rig.audit()).findings).toEqual([]);
}

/** What is asked of the store from now on. */
function watchStore(): { listed: string[]; headed: string[]; read: string[] } {
  const seen = { listed: [] as string[], headed: [] as string[], read: [] as string[] };
  const { list, head, stream } = rig.store;
  const counting = (ref: ObjectRef): ReturnType<typeof head> => {
    if (ref.bucket === BUCKET) seen.headed.push(ref.key);
    return head.call(rig.store, ref);
  };
  rig.store.head = counting;
  rig.store.list = async function* (place) {
    seen.listed.push(place.prefix);
    // A local listing looks at each file by itself.
    rig.store.head = head;
    yield* list.call(rig.store, place);
    rig.store.head = counting;
  };
  rig.store.stream = (ref, options) => {
    seen.read.push(ref.key);
    return stream.call(rig.store, ref, options);
  };
  return seen;
}

test('ingestions of places apart run side by side, one of an overlapping place waits and says for what', async () => {
  for (const key of ['a/1.png', 'ab/1.png', 'b/1.png']) await rig.put(BUCKET, key, key);
  const held = await rig.ingest(prefix('a/'));
  await rig.ledger.setHold(held, 'user', { at: rig.now() });
  const [apart, beside, above, within] = [
    await rig.ingest(prefix('b/')),
    await rig.ingest(prefix('ab/')),
    await rig.ingest(prefix('')),
    await rig.ingest(prefix('a/1')),
  ];
  for (let i = 0; i < 3; i++) await rig.turn();
  for (const id of [apart, beside]) expect((await rig.ingestion(id)).status).toBe('completed');
  expect(await rig.ingestion(above)).toMatchObject({
    status: 'planning',
    reason: `waits for ingestion ${held} of the same place, which is paused`,
  });
  expect(await rig.ingestion(within)).toMatchObject({ status: 'planning', reason: expect.stringContaining(above) });
  await rig.ledger.setHold(held, null, { at: rig.now() });
  await rig.drive();
  expect(await rig.ingestion(above)).toMatchObject({ status: 'completed', counts: { listed: 3, unchanged: 3 } });
  await expectClean();
});

test("the end of an ingestion asks the store for its own place only, and for a manifest's pictures by a listing", async () => {
  for (let i = 0; i < 600; i++) await rig.put(BUCKET, `a/${i}.png`, `a ${i}`);
  await rig.put(BUCKET, 'b/1.png', 'b');
  await describe('b/m.jsonl', { item_id: 'B', title: 'B', images: ['1.png'] });
  const images = Array.from({ length: 600 }, (_, i) => `${i}.png`);
  await describe('a/m.jsonl', ...images.map((image, i) => ({ item_id: `A${i}`, title: 'A', images: [image] })));
  for (const source of [prefix('b/'), manifest('b/m.jsonl'), manifest('a/m.jsonl')]) await rig.run(source);
  const first = watchStore();
  await rig.run(manifest('a/m.jsonl'));
  expect([...new Set(first.listed)]).toEqual(['a/']);
  expect([...new Set(first.read)]).toEqual(['a/m.jsonl']);
  // Planning looks at each once; the end lists them.
  expect(first.headed).toHaveLength(600);
  const second = watchStore();
  await rig.run(prefix('b/'));
  expect([...new Set(second.listed)]).toEqual(['b/']);
  expect([...new Set(second.read)]).toEqual(['b/m.jsonl']);
  expect(second.headed).toEqual([]);
  await expectClean();
}, 60_000);

test('an item that moves to a manifest elsewhere goes with it, whichever of the two is ingested', async () => {
  for (const key of ['a/1.png', 'b/1.png']) await rig.put(BUCKET, key, key);
  const item = { item_id: 'X', title: 'X', text: 'One. Two.', images: ['1.png'] };
  await describe('a/m.jsonl', item);
  await describe('b/m.jsonl', { item_id: 'Y', title: 'Y', images: ['1.png'] });
  await rig.run(manifest('a/m.jsonl'));
  await rig.run(manifest('b/m.jsonl'));
  // The new place is ingested before the old one is.
  await describe('b/m.jsonl', item);
  await describe('a/m.jsonl');
  await rig.run(manifest('b/m.jsonl'));
  expect([await titlesOf('a/1.png'), await titlesOf('b/1.png')]).toEqual([[], ['X']]);
  await rig.run(manifest('a/m.jsonl'));
  expect([await titlesOf('a/1.png'), await titlesOf('b/1.png')]).toEqual([undefined, ['X']]);
  await expectClean();
});

test('an item that leaves one manifest falls back to another that still has it, with its pictures there', async () => {
  for (const key of ['a/1.png', 'b/1.png']) await rig.put(BUCKET, key, key);
  await describe('b/m.jsonl', { item_id: 'X', title: 'old', text: 'One.', images: ['1.png'] });
  await describe('a/m.jsonl', { item_id: 'X', title: 'new', text: 'One. Two.', images: ['1.png'] });
  await rig.run(manifest('b/m.jsonl'));
  await rig.run(manifest('a/m.jsonl'));
  expect([await titlesOf('a/1.png'), await titlesOf('b/1.png')]).toEqual([['new'], []]);
  await describe('a/m.jsonl', { item_id: 'Z', title: 'Z', images: [] });
  await rig.run(manifest('a/m.jsonl'));
  expect([await titlesOf('a/1.png'), await titlesOf('b/1.png')]).toEqual([undefined, ['old']]);
  await expectClean();
});

test('a picture that a prefix has stays when its manifest drops it, and the record leaves it', async () => {
  await rig.put(BUCKET, 'a/1.png', 'one');
  await describe('m.jsonl', { item_id: 'X', title: 'X', images: ['a/1.png'] });
  await rig.run(prefix('a/'));
  await rig.run(manifest('m.jsonl'));
  expect(await titlesOf('a/1.png')).toEqual(['X']);
  await describe('m.jsonl', { item_id: 'Y', title: 'Y' });
  await rig.run(manifest('m.jsonl'));
  expect(await titlesOf('a/1.png')).toEqual([]);
  await rig.store.delete({ bucket: BUCKET, key: 'a/1.png' });
  await rig.run(prefix('a/'));
  expect(await titlesOf('a/1.png')).toBeUndefined();
  await expectClean();
});

test('what only an unreadable manifest may still name is right again when that is read', async () => {
  for (const key of ['a/1.png', 'b/1.png']) await rig.put(BUCKET, key, key);
  await describe('a/m.jsonl', { item_id: 'X', title: 'X', text: 'Words.', images: ['1.png'] });
  await describe('b/m.jsonl', { item_id: 'X', title: 'X', text: 'Words.', images: ['1.png'] });
  await rig.run(manifest('a/m.jsonl'));
  await rig.run(manifest('b/m.jsonl'));
  await describe('b/m.jsonl');
  const { stream } = rig.store;
  rig.store.stream = (ref, options) => {
    if (ref.key === 'a/m.jsonl') return Promise.reject(new SightlineError('object_forbidden'));
    return stream.call(rig.store, ref, options);
  };
  await rig.run(manifest('b/m.jsonl'));
  expect(await titlesOf('b/1.png')).toBeUndefined();
  // Its words stay for as long as nobody knows that no source has it.
  expect((await rig.index.findByItem(DEFAULT_TENANT, 'X')).map(({ kind }) => kind)).toEqual(['passage']);
  rig.store.stream = stream;
  await rig.run(manifest('a/m.jsonl'));
  expect(await titlesOf('a/1.png')).toEqual(['X']);
  await expectClean();
});

test('the n-th chunk that a tenant is owed has place n in the queue, whatever others are owed', async () => {
  rig.chunkEntries = 10;
  for (let i = 0; i < 50; i++) await rig.put(BUCKET, `a/${i}.png`, `a ${i}`);
  await rig.put(BUCKET, 'b/1.png', 'b');
  await rig.ingest(prefix('a/'), false, 'large');
  await rig.ingest(prefix('b/'), false, 'small');
  await rig.turn();
  const placesOf = (name: string) => rig.places.filter(({ tenant }) => tenant === name).map(({ place }) => place);
  expect([placesOf('large'), placesOf('small')]).toEqual([[0, 1, 2, 3, 4], [0]]);
});
