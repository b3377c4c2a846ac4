import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { DEFAULT_TENANT, reportKey, SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import { RETRY_CURSOR } from '@sightline/shared/contracts/ingestion-control';
import { acceptsFailuresSetting } from '@sightline/shared/ingestion/failure-storms';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { Crash, FlowRig } from './testing/flow-rig.ts';

let rig: FlowRig;

beforeEach(async () => {
  rig = await FlowRig.open();
  rig.chunkEntries = 10;
});

afterEach(() => rig.close());

const manifest = (): { type: 'manifest'; uri: string } => ({ type: 'manifest', uri: `${rig.source}/m.jsonl` });

async function writePictures(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await rig.write(`${String(i).padStart(4, '0')}.png`, `picture ${i}`);
}

function writeManifest(lines: object[]): Promise<void> {
  return rig.write('m.jsonl', lines.map((line) => JSON.stringify(line)).join('\n'));
}

async function expectClean(): Promise<void> {
  expect((await rig.audit()).findings).toEqual([]);
}

/** Sorted: of chunks that are worked beside each other any may be the first to fail. */
async function failuresOf(ingestionId: string): Promise<string[]> {
  const { failures } = await rig.ledger.failures(ingestionId, { limit: 1_000 });
  return failures.map(({ key, code }) => `${key} ${code}`).toSorted();
}

/** From the `nth` time on that `call` is made. */
function at(call: string, nth: number, then: () => Promise<unknown>): void {
  let seen = 0;
  rig.onCall = async (name, when) => {
    if (name === call && when === 'after' && ++seen === nth) await then();
  };
}

async function report(ingestionId: string): Promise<Record<string, unknown>[]> {
  const ref = { bucket: SYSTEM_BUCKET, key: reportKey(DEFAULT_TENANT, ingestionId) };
  const { bytes } = await rig.store.get(ref, { maxBytes: 1_000_000 });
  return bytes
    .toString()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('a paused ingestion stops at its next chunk, keeps what it owes, and goes on where it was', async () => {
  await writePictures(60);
  const id = await rig.ingest();
  at('ledger.addChunk', 3, () => rig.ledger.setHold(id, 'user', { reason: 'Paused by request.', at: rig.now() }));
  await rig.drive();
  expect(await rig.ingestion(id)).toMatchObject({ status: 'paused', hold: 'user', counts: { listed: 30, indexed: 0 } });
  expect(await rig.ledger.countOutstandingChunks({ ingestionId: id })).toBe(3);
  expect(rig.encoder.decodes).toBe(0);
  await rig.drive();
  expect((await rig.ingestion(id)).counts.listed).toBe(30);
  rig.onCall = () => {};
  await rig.ledger.setHold(id, null, { at: rig.now() });
  await rig.drive();
  expect(await rig.ingestion(id)).toMatchObject({ status: 'completed', counts: { listed: 60, indexed: 60, failed: 0 } });
  await expectClean();
});

test('a chunk that is worked while its ingestion is paused is finished, and a paused one does not count as backlog', async () => {
  rig.highWaterChunks = 2;
  await writePictures(40);
  const id = await rig.ingest();
  at('index.writePictures', 1, () => rig.ledger.setHold(id, 'user', { at: rig.now() }));
  await rig.drive();
  const { counts } = await rig.ingestion(id);
  expect(counts.indexed).toBeGreaterThan(0);
  expect(await rig.ledger.countOutstandingChunks({ ingestionId: id })).toBe((counts.listed - counts.indexed) / 10);
  rig.onCall = () => {};
  for (let i = 0; i < 30; i++) await rig.put('other', `${i}.png`, `other ${i}`);
  expect(await rig.run({ type: 'prefix', bucket: 'other', prefix: '' })).toMatchObject({
    status: 'completed',
    counts: { indexed: 30 },
  });
});

test('a cancelled ingestion drops what it owes, keeps what is indexed, takes nothing off, and has its report', async () => {
  await writePictures(30);
  await rig.run();
  for (let i = 0; i < 10; i++) await rig.remove(`${String(i).padStart(4, '0')}.png`);
  for (let i = 100; i < 160; i++) await rig.write(`${i}.png`, `new ${i}`);
  const id = await rig.ingest();
  at('ledger.completeChunk', 2, () =>
    rig.ledger.setStatus(id, ['planning', 'running', 'paused'], 'cancelled', { at: rig.now() }),
  );
  await rig.drive();
  expect(await rig.ledger.countOutstandingChunks()).toBe(0);
  expect(await rig.ingestion(id)).toMatchObject({ status: 'cancelled' });
  // Those that are gone from the source are still found: nothing was reconciled.
  expect((await rig.index.count(DEFAULT_TENANT)).deleted).toBe(0);
  rig.onCall = () => {};
  await rig.advance(id);
  const [summary] = await report(id);
  expect(summary).toMatchObject({ type: 'summary', status: 'cancelled', ingestion_id: id });
  expect(await rig.run()).toMatchObject({ status: 'completed', counts: { listed: 80 } });
  await expectClean();
});

test('a retry tries only what failed, in the same ingestion, and the counts stay true', async () => {
  await writePictures(40);
  for (const key of ['0003.png', '0017.png', '0031.png']) await rig.write(key, 'BAD');
  const { ingestionId, counts } = await rig.run();
  expect(counts).toEqual({ listed: 40, indexed: 37, unchanged: 0, duplicate: 0, failed: 3 });
  await rig.write('0003.png', 'good now');
  await rig.remove('0031.png');
  const decodes = rig.encoder.decodes;
  expect(await rig.ledger.reopen(ingestionId, RETRY_CURSOR, rig.now())).toBe(3);
  await rig.drive();
  expect(await rig.ingestion(ingestionId)).toMatchObject({
    status: 'completed',
    counts: { listed: 40, indexed: 38, unchanged: 0, duplicate: 0, failed: 2 },
  });
  expect(rig.encoder.decodes).toBe(decodes + 2);
  expect(await failuresOf(ingestionId)).toEqual(['0017.png picture_corrupt', '0031.png object_not_found']);
  const [first, ...lines] = await report(ingestionId);
  expect(first).toMatchObject({ type: 'summary' });
  expect(lines.map(({ type }) => type)).toEqual(['failure', 'failure']);
  expect(new Set(lines.map(({ key }) => key))).toEqual(new Set(['0017.png', '0031.png']));
  await expectClean();
});

test.each([1, 2, 3, 4])('a retry of a manifest that dies around its chunk %i takes each line concerned once', async (nth) => {
  rig.chunkEntries = 3;
  await rig.write('a.png', 'one');
  const lines: object[] = Array.from({ length: 12 }, (_, i) => ({
    item_id: `i${i}`,
    title: `Item ${i}`,
    text: 'One. Two.',
    images: [`${i}-a.png`, `${i}-b.png`],
  }));
  for (let i = 0; i < 12; i++) {
    await rig.write(`${i}-a.png`, `a ${i}`);
    if (i % 3 === 0) await rig.write(`${i}-b.png`, i % 2 === 0 ? 'BAD' : `b ${i}`);
  }
  await writeManifest([...lines, { nonsense: true }]);
  const { ingestionId, counts } = await rig.run(manifest());
  // Eight pictures are not there, two are broken, and a line is no record.
  expect(counts).toEqual({ listed: 25, indexed: 14, unchanged: 0, duplicate: 0, failed: 11 });
  for (let i = 0; i < 12; i++) await rig.write(`${i}-b.png`, `b ${i} again`);
  await rig.remove('7-b.png');
  await rig.ledger.reopen(ingestionId, RETRY_CURSOR, rig.now());
  let chunks = 0;
  rig.onCall = (call, when) => {
    if (call === 'ledger.addChunk' && when === (nth % 2 ? 'before' : 'after') && ++chunks === nth) throw new Crash();
  };
  await rig.drive().catch((error: unknown) => {
    if (!(error instanceof Crash)) throw error;
  });
  rig.onCall = () => {};
  rig.passLeases();
  await rig.drive();
  expect(await rig.ingestion(ingestionId)).toMatchObject({ status: 'completed', counts: { listed: 25, indexed: 23, failed: 2 } });
  expect(await failuresOf(ingestionId)).toEqual(['7-b.png object_not_found', 'm.jsonl:13 manifest_line_invalid']);
  await rig.run(manifest());
  await expectClean();
});

test('a storm of refusals pauses the ingestion with its reason, and gives its chunks back instead of counting them', async () => {
  await writePictures(600);
  rig.chunkEntries = 50;
  const get = rig.store.get.bind(rig.store);
  rig.store.get = async (ref, options) => {
    if (ref.key >= '0100') throw new SightlineError('object_forbidden');
    return get(ref, options);
  };
  const id = await rig.ingest();
  await rig.drive();
  const held = await rig.ingestion(id);
  expect(held).toMatchObject({
    status: 'paused',
    hold: 'failures',
    reason: expect.stringMatching(/^object_forbidden: \d+ of the last/),
  });
  expect(held.counts.failed).toBeLessThanOrEqual(200);
  const owed = await rig.ledger.countOutstandingChunks({ ingestionId: id });
  const { listed, indexed, failed } = held.counts;
  expect(indexed + failed + owed * 50).toBe(listed);
  // Access was given.
  rig.store.get = get;
  await rig.ledger.setHold(id, null, { at: rig.now() });
  await rig.drive();
  await rig.ledger.reopen(id, RETRY_CURSOR, rig.now());
  await rig.drive();
  expect(await rig.ingestion(id)).toMatchObject({ status: 'completed', counts: { listed: 600, failed: 0 } });
  await expectClean();
});

test('a storm that the user accepts is counted, and the ingestion ends', async () => {
  await writePictures(500);
  rig.chunkEntries = 50;
  rig.store.get = async () => {
    throw new SightlineError('object_forbidden');
  };
  const id = await rig.ingest();
  await rig.drive();
  expect((await rig.ingestion(id)).hold).toBe('failures');
  await rig.ledger.putSetting(acceptsFailuresSetting(id), 'yes');
  await rig.ledger.setHold(id, null, { at: rig.now() });
  await rig.drive();
  expect(await rig.ingestion(id)).toMatchObject({ status: 'completed', counts: { listed: 500, failed: 500 } });
});

test.each([false, true])(
  'a manifest whose pictures are elsewhere is paused before it fills the ledger (dry run: %s)',
  async (dryRun) => {
    await writeManifest(Array.from({ length: 2_000 }, (_, i) => ({ item_id: `i${i}`, images: [`lost/${i}.png`] })));
    const id = await rig.ingest(manifest(), dryRun);
    await rig.drive();
    const { hold, reason, counts } = await rig.ingestion(id);
    expect(hold).toBe('failures');
    expect(counts.failed).toBeLessThan(250);
    expect(reason).toMatch(/^object_not_found/);
  },
);

test('a bucket of files that are no pictures is paused after a thousand', async () => {
  await writePictures(0);
  for (let i = 0; i < 1_500; i++) await rig.write(`${i}.bin`, 'BAD');
  rig.chunkEntries = 100;
  const id = await rig.ingest();
  await rig.drive();
  expect(await rig.ingestion(id)).toMatchObject({ hold: 'failures', reason: expect.stringContaining('right source') });
});
