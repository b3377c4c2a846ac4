import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { DEFAULT_TENANT, passageAssetId, pictureAssetId } from '@sightline/shared/contracts/ids';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { FlowRig } from './testing/flow-rig.ts';

let rig: FlowRig;

beforeEach(async () => {
  rig = await FlowRig.open();
});

afterEach(async () => {
  await rig.close();
});

async function expectClean(): Promise<void> {
  expect((await rig.audit()).findings).toEqual([]);
}

async function point(key: string) {
  const id = pictureAssetId(DEFAULT_TENANT, rig.source, key);
  return (await rig.index.get(DEFAULT_TENANT, [id], { withVectors: true })).get(id);
}

async function failures(ingestionId: string) {
  const { failures } = await rig.ledger.failures(ingestionId, { limit: 100 });
  return Object.fromEntries(failures.map(({ key, code }) => [key, code]));
}

function manifest(...lines: object[]): Promise<void> {
  return rig.write('manifest.jsonl', lines.map((line) => JSON.stringify(line)).join('\n'));
}

function ingestManifest() {
  return rig.run({ type: 'manifest', uri: `${rig.source}/manifest.jsonl` });
}

test('a folder goes in: pictures indexed, the same content copied, bad files named, sidecars passed over', async () => {
  await rig.write('a.png', 'one');
  await rig.write('b/c.png', 'two');
  await rig.write('b/copy.png', 'two');
  await rig.write('bad.png', 'BAD');
  await rig.write('empty.png', '');
  await rig.write('large.png', 'x'.repeat(1_001));
  await rig.write('notes.txt', 'no picture');
  await rig.write('.hidden.png', 'hidden');
  const { ingestionId, status, counts } = await rig.run();
  expect(status).toBe('completed');
  expect(counts).toEqual({ listed: 6, indexed: 2, unchanged: 0, duplicate: 1, failed: 3 });
  expect(await failures(ingestionId)).toEqual({
    'bad.png': 'picture_corrupt',
    'empty.png': 'picture_empty',
    'large.png': 'picture_too_many_bytes',
  });
  expect(rig.encoder.batches.reduce((sum, size) => sum + size, 0)).toBe(2);
  const { report } = await rig.audit();
  expect(report.agreed).toEqual({ indexed: 3, failed: 3, removed: 0 });
  await expectClean();
});

test('what did not change is not fetched again, what changed is, what is gone leaves', async () => {
  await rig.write('same.png', 'same');
  await rig.write('edited.png', 'before');
  await rig.write('gone.png', 'gone');
  await rig.run();
  await rig.write('edited.png', 'after');
  await rig.remove('gone.png');
  const decodes = rig.encoder.decodes;
  const { counts } = await rig.run();
  expect(counts).toEqual({ listed: 2, indexed: 1, unchanged: 1, duplicate: 0, failed: 0 });
  expect(rig.encoder.decodes).toBe(decodes + 1);
  expect(await point('gone.png')).toMatchObject({ deleted: true, deletedBecause: 'gone', hasImage: false });
  await expectClean();
});

test('new bytes that cannot be encoded leave no vectors of the old ones', async () => {
  await rig.write('a.png', 'good');
  await rig.run();
  await rig.write('a.png', 'BAD');
  const { counts } = await rig.run();
  expect(counts.failed).toBe(1);
  expect(await point('a.png')).toMatchObject({ deleted: true, deletedBecause: 'failed', hasImage: false });
  await expectClean();
  await rig.write('a.png', 'good again');
  await rig.run();
  expect(await point('a.png')).toMatchObject({ deleted: false, hasImage: true });
  await expectClean();
});

test('a picture that a user removed stays removed until its bytes change', async () => {
  await rig.write('a.png', 'one');
  await rig.run();
  const before = await point('a.png');
  const { version } = await rig.ledger.leaseKeys([], { ttlMs: 1 });
  await rig.index.delete([
    {
      assetId: before?.assetId ?? '',
      tenant: DEFAULT_TENANT,
      version,
      reason: 'removed',
      object: before?.object ?? null,
      at: rig.now(),
    },
  ]);
  expect((await rig.run()).counts).toMatchObject({ unchanged: 1, indexed: 0 });
  expect(await point('a.png')).toMatchObject({ deleted: true });
  await expectClean();
  await rig.write('a.png', 'two');
  await rig.run();
  expect(await point('a.png')).toMatchObject({ deleted: false });
});

test('a manifest goes in: records stand on their pictures, further passages alone, texts without pictures too', async () => {
  await rig.write('p/1.png', 'one');
  await rig.write('p/2.png', 'BAD');
  await manifest(
    { item_id: 'A', title: 'Cooler', text: 'First. Second. Third.', attributes: { socket: 'AM4', tdp: 65 }, images: ['p/1.png'] },
    { item_id: 'B', title: 'Shared', images: ['./p/1.png'] },
    { item_id: 'C', title: 'Broken picture', text: 'Still found.', images: ['p/2.png'] },
    { item_id: 'D', text: 'Only words.' },
  );
  const { counts, status } = await ingestManifest();
  expect(status).toBe('completed');
  expect(counts).toEqual({ listed: 4, indexed: 3, unchanged: 0, duplicate: 0, failed: 1 });
  const named = { pictures: [{ bucket: rig.source, key: 'p/1.png' }], pushed: false };
  expect((await point('p/1.png'))?.records).toEqual([
    { itemId: 'A', title: 'Cooler', text: 'First.', attributes: { socket: 'AM4', tdp: 65 }, ...named },
    { itemId: 'B', title: 'Shared', text: '', attributes: {}, ...named },
  ]);
  const passages = await rig.index.findByItem(DEFAULT_TENANT, 'A');
  expect(
    passages
      .filter(({ kind }) => kind === 'passage')
      .map(({ passageNo }) => passageNo)
      .toSorted((a, b) => a - b),
  ).toEqual([1, 2]);
  expect((await rig.index.get(DEFAULT_TENANT, [passageAssetId(DEFAULT_TENANT, 'C', 0)])).size).toBe(1);
  expect((await rig.index.get(DEFAULT_TENANT, [passageAssetId(DEFAULT_TENANT, 'D', 0)])).size).toBe(1);
  const [hits] = await rig.index.search(DEFAULT_TENANT, { socket: 'AM4' }, [{ space: 'keywords', keywords: ['am4'], limit: 5 }]);
  expect(hits?.map(({ assetId }) => assetId)).toContain((await point('p/1.png'))?.assetId);
  await expectClean();
  expect((await ingestManifest()).counts).toEqual({ listed: 4, indexed: 0, unchanged: 3, duplicate: 0, failed: 1 });
});

test('bad lines and keys are failures with their place and the rest goes in', async () => {
  await rig.write('ok.png', 'ok');
  const lines = [
    '{"item_id":"A","images":["ok.png","../out.png","missing.png","/etc/passwd"]}',
    'not json',
    '',
    '{"item_id":""}',
    '{"item_id":"B","colour":"red"}',
    '{"item_id":"C","title":"last"}',
  ];
  await rig.write('manifest.jsonl', `\uFEFF${lines.join('\r\n')}`);
  const { ingestionId, counts } = await ingestManifest();
  expect(counts).toEqual({ listed: 8, indexed: 2, unchanged: 0, duplicate: 0, failed: 6 });
  expect(await failures(ingestionId)).toEqual({
    'manifest.jsonl:1:../out.png': 'key_outside_source',
    'manifest.jsonl:1:/etc/passwd': 'key_outside_source',
    'missing.png': 'object_not_found',
    'manifest.jsonl:2': 'manifest_line_invalid',
    'manifest.jsonl:4': 'manifest_line_invalid',
    'manifest.jsonl:5': 'manifest_line_invalid',
  });
  await expectClean();
});

test('of two lines with one item_id the last counts', async () => {
  await rig.write('1.png', 'one');
  await rig.write('2.png', 'two');
  await manifest({ item_id: 'A', title: 'old', images: ['1.png'] }, { item_id: 'A', title: 'new', images: ['2.png'] });
  expect((await ingestManifest()).counts.listed).toBe(1);
  expect((await point('2.png'))?.records).toMatchObject([{ title: 'new' }]);
  expect(await point('1.png')).toBeUndefined();
  await expectClean();
});

test('a changed manifest drops records, pictures, passages and whole items', async () => {
  await rig.write('1.png', 'one');
  await rig.write('2.png', 'two');
  await manifest(
    { item_id: 'A', title: 'A', text: 'One. Two. Three.', images: ['1.png', '2.png'] },
    { item_id: 'B', title: 'B', images: ['1.png'] },
    { item_id: 'C', title: 'C', text: 'Alone.' },
  );
  await ingestManifest();
  await manifest({ item_id: 'A', title: 'A2', text: 'One. Two.', images: ['1.png'] });
  const { counts } = await ingestManifest();
  expect(counts).toMatchObject({ listed: 1, indexed: 1 });
  expect((await point('1.png'))?.records.map(({ itemId, title }) => [itemId, title])).toEqual([['A', 'A2']]);
  expect(await point('2.png')).toMatchObject({ deleted: true });
  expect(await rig.index.findByItem(DEFAULT_TENANT, 'C')).toEqual([]);
  expect(await rig.index.count(DEFAULT_TENANT)).toMatchObject({ live: 2 });
  await expectClean();
});

test('a manifest and its folder are two sources: neither takes what the other has', async () => {
  await rig.write('named.png', 'named');
  await rig.write('unnamed.png', 'unnamed');
  await manifest({ item_id: 'A', title: 'A', images: ['named.png'] });
  await rig.run();
  await ingestManifest();
  expect(await rig.index.count(DEFAULT_TENANT)).toMatchObject({ live: 2 });
  await rig.run();
  expect((await point('named.png'))?.records).toHaveLength(1);
  await expectClean();
});

test('a picture that goes after its record came leaves its text findable', async () => {
  await rig.write('1.png', 'one');
  await manifest({ item_id: 'A', title: 'A', text: 'Words.', images: ['1.png'] });
  await ingestManifest();
  await rig.write('1.png', 'BAD');
  await rig.run();
  const standing = await rig.index.findByItem(DEFAULT_TENANT, 'A');
  expect(standing.map(({ kind, passageNo }) => [kind, passageNo])).toEqual([['passage', 0]]);
  await expectClean();
});

test.each(['directory', 'manifest'] as const)(
  'a picture that is gone leaves its item findable by its text (seen by the %s)',
  async (by) => {
    await rig.write('1.png', 'one');
    await manifest({ item_id: 'A', title: 'A', text: 'Words.', images: ['1.png'] });
    await ingestManifest();
    await rig.run();
    await rig.remove('1.png');
    await (by === 'manifest' ? ingestManifest() : rig.run());
    const standing = await rig.index.findByItem(DEFAULT_TENANT, 'A');
    expect(standing.map(({ kind, passageNo }) => [kind, passageNo])).toEqual([['passage', 0]]);
  },
);

test('two ingestions of one source at once do the work once', async () => {
  for (let i = 0; i < 200; i++) await rig.write(`${i}.png`, `picture ${i}`);
  const first = await rig.ingest();
  const second = await rig.ingest();
  await rig.drive();
  expect((await rig.ingestion(first)).counts).toMatchObject({ listed: 200, indexed: 200 });
  expect((await rig.ingestion(second)).counts).toMatchObject({ listed: 200, unchanged: 200 });
  expect(rig.encoder.decodes).toBe(200);
});

test('a source that is not there fails with its reason and brings nothing', async () => {
  const ingestion = await rig.run({ type: 'directory', path: '/nowhere/at/all' });
  expect(ingestion).toMatchObject({ status: 'failed', reason: expect.stringContaining('source_not_found') });
  const prefix = await rig.run({ type: 'prefix', bucket: 'b', prefix: '' });
  expect(prefix).toMatchObject({ status: 'failed', reason: expect.stringContaining('source_not_found') });
  const relative = await rig.run({ type: 'directory', path: 'relative' });
  expect(relative).toMatchObject({ status: 'failed', reason: expect.stringContaining('source_not_found') });
  const lacking = await rig.run({ type: 'manifest', uri: `${rig.source}/none.jsonl` });
  expect(lacking).toMatchObject({ status: 'failed', reason: expect.stringContaining('source_not_found') });
});

test("an encoder that is away for long is waited for, and is nobody's failure", async () => {
  await rig.write('a.png', 'one');
  rig.encoder.failNext.push(new SightlineError('encoder_unavailable'));
  expect((await rig.run()).counts).toMatchObject({ indexed: 1, failed: 0 });
  await rig.write('a.png', 'two');
  // More than a job has attempts.
  for (let i = 0; i < 10; i++) rig.encoder.failNext.push(new SightlineError('encoder_unavailable'));
  const reasons = new Set<string | null>();
  const setStatus = rig.ledger.setStatus;
  rig.ledger.setStatus = (id, from, to, options) => {
    if (to === 'paused') reasons.add(options.reason ?? null);
    return setStatus(id, from, to, options);
  };
  expect(await rig.run()).toMatchObject({ status: 'completed', reason: null, counts: { indexed: 1, failed: 0 } });
  expect([...reasons]).toEqual([expect.stringMatching(/^encoder_unavailable.*by itself/)]);
});

test('an object store that is away fails no object; one object that it never gives does not stand in the way', async () => {
  for (const name of ['a', 'b', 'c']) await rig.write(`${name}.png`, name);
  const get = rig.store.get.bind(rig.store);
  let refused = 0;
  rig.store.get = async (ref, options) => {
    if (++refused <= 30) throw new SightlineError('object_store_unavailable');
    return get(ref, options);
  };
  expect(await rig.run()).toMatchObject({ status: 'completed', counts: { indexed: 3, failed: 0 } });
  await rig.write('b.png', 'new');
  await rig.write('d.png', 'd');
  rig.store.get = async (ref, options) => {
    if (ref.key === 'b.png') throw new SightlineError('object_store_unavailable');
    return get(ref, options);
  };
  const { ingestionId, counts } = await rig.run();
  expect(counts).toMatchObject({ listed: 4, indexed: 1, unchanged: 2, failed: 1 });
  expect(await failures(ingestionId)).toEqual({ 'b.png': 'object_store_unavailable' });
});

test('a picture that changes while it is written is written again', async () => {
  await rig.write('a.png', 'first');
  let changed = 0;
  rig.onCall = (call, when) => {
    if (call === 'index.writePictures' && when === 'before' && changed === 0) changed = 1;
  };
  const writing = rig.index.writePictures.bind(rig.index);
  rig.index.writePictures = async (writes) => {
    await writing(writes);
    if (changed === 1) {
      changed = 2;
      await rig.write('a.png', 'second');
    }
  };
  await rig.run();
  expect(changed).toBe(2);
  await expectClean();
});

test('planning hands its turn back above the high-water mark and goes on from its cursor', async () => {
  rig.highWaterChunks = 4;
  rig.chunkEntries = 5;
  for (let i = 0; i < 130; i++) await rig.write(`${i}.png`, `picture ${i}`);
  let most = 0;
  rig.onCall = async () => {
    most = Math.max(most, await rig.ledger.countOutstandingChunks());
  };
  const { counts, status } = await rig.run();
  expect({ counts, status }).toMatchObject({ status: 'completed', counts: { listed: 130, indexed: 130 } });
  expect(most).toBe(4);
  expect(rig.chunkRuns).toBe(26);
  // 26 chunks, four at first and then as many as were worked.
  expect(rig.turns).toBeGreaterThan(6);
});

test('a manifest that is planned in turns is read once to learn its lines, and once for each turn', async () => {
  rig.highWaterChunks = 2;
  rig.chunkEntries = 10;
  await manifest(...Array.from({ length: 60 }, (_, i) => ({ item_id: `i${i}`, title: `Item ${i}` })));
  const starts: number[] = [];
  const stream = rig.store.stream.bind(rig.store);
  rig.store.stream = (ref, options) => {
    starts.push(options.start ?? 0);
    return stream(ref, options);
  };
  const { counts } = await ingestManifest();
  expect(counts).toMatchObject({ listed: 60, indexed: 60 });
  // The two last: its end reads it once more, for the lines and for what they say.
  const planning = starts.slice(0, -2);
  expect(planning.filter((start) => start === 0)).toHaveLength(2);
  expect(planning.length).toBeGreaterThan(3);
});

test('what is encoded is in the index while another picture of its chunk is still decoded', async () => {
  await rig.write('quick.png', 'quick');
  await rig.write('slow.png', 'slow');
  const decode = rig.encoder.decode.bind(rig.encoder);
  let isQuickIn = false;
  rig.encoder.decode = async (bytes) => {
    for (let i = 0; i < 200 && !isQuickIn && Buffer.from(bytes).toString() === 'slow'; i++) {
      isQuickIn = (await point('quick.png'))?.hasImage === true;
      await sleep(10);
    }
    return decode(bytes);
  };
  const { counts } = await rig.run();
  expect(isQuickIn).toBe(true);
  expect(counts).toMatchObject({ indexed: 2 });
  await expectClean();
});
