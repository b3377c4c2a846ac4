import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { totalsIn } from '@sightline/shared/contracts/dry-run';
import { DEFAULT_TENANT } from '@sightline/shared/contracts/ids';
import type { Source } from '@sightline/shared/contracts/records';
import { Crash, FlowRig } from './testing/flow-rig.ts';

let rig: FlowRig;

beforeEach(async () => {
  rig = await FlowRig.open();
});

afterEach(() => rig.close());

const manifest = (): Source => ({ type: 'manifest', uri: `${rig.source}/manifest.jsonl` });

async function expectUntouched(): Promise<void> {
  expect(rig.chunkRuns).toBe(0);
  expect(await rig.index.count(DEFAULT_TENANT)).toEqual({ live: 0, deleted: 0 });
  expect(await rig.ledger.latestIngestions(null)).toEqual([]);
  const { report, findings } = await rig.audit();
  expect({ findings, running: report.running, points: report.points }).toEqual({ findings: [], running: [], points: 0 });
}

test('a dry run of a folder counts what it lists, and touches nothing', async () => {
  for (let i = 0; i < 150; i++) await rig.write(`${i}.png`, i === 7 ? 'BAD' : `picture ${i}`);
  const called = new Set<string>();
  rig.onCall = (call) => void called.add(call);
  expect(await rig.run(undefined, true)).toMatchObject({
    status: 'completed',
    dryRun: true,
    counts: { listed: 150, indexed: 0, unchanged: 0, duplicate: 0, failed: 0 },
  });
  expect([...called].filter((call) => /^index|store\.get/.test(call))).toEqual([]);
  await expectUntouched();
});

test('a dry run of a manifest names what planning finds wrong', async () => {
  await rig.write('a.png', 'one');
  await rig.write('manifest.jsonl', ['{"item_id":"A","images":["a.png","lost.png"]}', 'no record', '{"item_id":"B"}'].join('\n'));
  const { ingestionId, counts } = await rig.run(manifest(), true);
  expect(counts).toEqual({ listed: 4, indexed: 0, unchanged: 0, duplicate: 0, failed: 2 });
  const { failures } = await rig.ledger.failures(ingestionId, { limit: 9 });
  expect(failures.map(({ key, code }) => [key, code])).toEqual([
    ['lost.png', 'object_not_found'],
    ['manifest.jsonl:2', 'manifest_line_invalid'],
  ]);
  await expectUntouched();
});

test('a dry run after an ingestion changes neither the index nor what is expected of it', async () => {
  await rig.write('a.png', 'one');
  const { ingestionId } = await rig.run();
  await rig.write('b.png', 'two');
  await rig.remove('a.png');
  expect((await rig.run(undefined, true)).counts).toMatchObject({ listed: 1 });
  expect(await rig.index.count(DEFAULT_TENANT)).toEqual({ live: 1, deleted: 0 });
  expect((await rig.ledger.latestIngestions(null)).map((latest) => latest.ingestionId)).toEqual([ingestionId]);
});

test('a dry run that dies goes on where it was, beside others of the same folder', async () => {
  for (let i = 0; i < 150; i++) await rig.write(`${i}.png`, `picture ${i}`);
  const dry = await rig.ingest(undefined, true);
  rig.onCall = (call, when) => {
    if (call === 'ledger.addChunk' && when === 'after') throw new Crash();
  };
  await expect(rig.drive()).rejects.toThrow(Crash);
  rig.onCall = () => {};
  rig.passLeases();
  const real = await rig.ingest();
  const dryToo = await rig.ingest(undefined, true);
  await rig.drive();
  for (const id of [dry, dryToo]) expect(await rig.ingestion(id)).toMatchObject({ status: 'completed', counts: { listed: 150 } });
  expect(await rig.ingestion(real)).toMatchObject({ status: 'completed', counts: { listed: 150, indexed: 150 } });
  expect((await rig.audit()).findings).toEqual([]);
});

test('a dry run tells bytes, duplicates and the time that it would take', async () => {
  const source: Source = { type: 'prefix', bucket: 'photos', prefix: '' };
  for (let i = 0; i < 100; i++) await rig.put('photos', `${i}.png`, `picture ${String(i).padStart(3, '0')}`);
  // As S3 does it: an eTag of the content.
  const list = rig.store.list.bind(rig.store);
  rig.store.list = async function* (place) {
    for await (const info of list(place)) yield { ...info, eTag: info.key.length === 5 ? 'the same' : info.eTag };
  };
  const unknown = await rig.run(source, true);
  // `0.png` to `9.png` have keys of five letters.
  expect(totalsIn(unknown.cursor)).toEqual({ bytes: 1_100, duplicates: 9, seconds: null });
  await rig.ledger.createIngestion({ ingestionId: 'late', tenant: 't', source, createdAt: rig.now() - 20_000 });
  const done = { chunkNo: 0, entries: [{ object: { bucket: 'b', key: 'k', eTag: 'e', sizeBytes: 1 } }], listed: 100 };
  await rig.ledger.addChunk('late', { ...done, failures: [], after: null, cursor: '{}', at: 1 });
  await rig.ledger.completeChunk('late', 0, { indexed: 100, unchanged: 0, duplicate: 0, failures: [] }, 2);
  await rig.ledger.setStatus('late', ['planning'], 'completed', { at: rig.now() });
  const known = await rig.run(source, true);
  // 91 different objects at five a second.
  expect(totalsIn(known.cursor)?.seconds).toBe(19);
});

test('files of a directory have eTags that say nothing of what is in them', async () => {
  await rig.write('a.png', 'same');
  await rig.write('b.png', 'same');
  expect(totalsIn((await rig.run(undefined, true)).cursor)).toEqual({ bytes: 8, duplicates: null, seconds: null });
});
