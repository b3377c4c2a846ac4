import { afterEach, beforeEach, expect, test } from '@jest/globals';
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
  const real = await rig.ingest();
  const dryToo = await rig.ingest(undefined, true);
  await rig.drive();
  for (const id of [dry, dryToo]) expect(await rig.ingestion(id)).toMatchObject({ status: 'completed', counts: { listed: 150 } });
  expect(await rig.ingestion(real)).toMatchObject({ status: 'completed', counts: { listed: 150, indexed: 150 } });
  expect((await rig.audit()).findings).toEqual([]);
});
