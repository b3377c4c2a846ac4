import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Crash, FlowRig } from './testing/flow-rig.ts';

let rig: FlowRig;

beforeEach(async () => {
  rig = await FlowRig.open();
});

afterEach(async () => {
  await rig.close();
});

/** Dies around the `nth` chunk that is added, then starts again. */
async function driveThroughDeathAt(nth: number, when: 'before' | 'after'): Promise<void> {
  let chunks = 0;
  rig.onCall = (call, seen) => {
    if (call === 'ledger.addChunk' && seen === when && ++chunks === nth) throw new Crash();
  };
  await expect(rig.drive()).rejects.toBeInstanceOf(Crash);
  rig.onCall = () => {};
  rig.passLeases();
  await rig.drive();
}

test.each([
  [1, 'before'],
  [1, 'after'],
  [2, 'before'],
  [2, 'after'],
  [3, 'after'],
] as const)('a listing that dies around chunk %i (%s it is down) goes on without a gap or a repetition', async (nth, when) => {
  for (let i = 0; i < 150; i++) await rig.write(`${i % 7}/${i}.png`, `picture ${i}`);
  const ingestionId = await rig.ingest();
  await driveThroughDeathAt(nth, when);
  const { counts, status } = await rig.ingestion(ingestionId);
  expect({ counts, status }).toEqual({
    status: 'completed',
    counts: { listed: 150, indexed: 150, unchanged: 0, duplicate: 0, failed: 0 },
  });
  expect((await rig.audit()).findings).toEqual([]);
});

test.each([
  [1, 'after'],
  [2, 'before'],
  [2, 'after'],
] as const)(
  'a manifest whose reading dies around chunk %i (%s it is down) goes on in the middle of a line',
  async (nth, when) => {
    // 40 pictures a line: a chunk of 64 ends within a line. Every tenth picture is missing.
    const lines = [0, 1, 2, 3].map((line) => ({
      item_id: `item-${line}`,
      title: `Item ${line}`,
      text: 'One. Two.',
      images: Array.from({ length: 40 }, (_, i) => `${line}/${i}.png`),
    }));
    for (const { images } of lines) {
      for (const [i, key] of images.entries()) if (i % 10 !== 3) await rig.write(key, key);
    }
    await rig.write('m.jsonl', lines.map((line) => JSON.stringify(line)).join('\n'));
    const ingestionId = await rig.ingest({ type: 'manifest', uri: `${rig.source}/m.jsonl` });
    await driveThroughDeathAt(nth, when);
    const { counts, status } = await rig.ingestion(ingestionId);
    expect({ counts, status }).toEqual({
      status: 'completed',
      counts: { listed: 160, indexed: 144, unchanged: 0, duplicate: 0, failed: 16 },
    });
    expect((await rig.audit()).findings).toEqual([]);
  },
);

test('of two planners that listed apart, the one that comes second begins again where the ledger is', async () => {
  for (let i = 0; i < 150; i++) await rig.write(`${i % 7}/${i}.png`, `picture ${i}`);
  const ingestionId = await rig.ingest();
  const second = { listed: Promise.withResolvers<void>(), mayAdd: Promise.withResolvers<void>() };
  let advancing: Promise<unknown> | undefined;
  let calls = 0;
  rig.onCall = async (call, when) => {
    if (call !== 'ledger.addChunk') return;
    if (when === 'after') return second.mayAdd.resolve();
    calls++;
    if (calls === 2) {
      second.listed.resolve();
      await second.mayAdd.promise;
    }
    if (calls > 1) return;
    // The first stands still for longer than its lease, with its chunk in its hands; the second lists what is there by then.
    rig.passLeases();
    for (const key of ['0/0.png', '0/14.png']) await rig.remove(key);
    advancing = expect(rig.advance(ingestionId)).rejects.toMatchObject({ code: 'lease_lost' });
    await second.listed.promise;
  };
  await rig.drive();
  await advancing;
  expect(await rig.ingestion(ingestionId)).toMatchObject({
    status: 'completed',
    counts: { listed: 150, indexed: 148, failed: 2 },
  });
  expect((await rig.audit()).findings).toEqual([]);
});

test('a manifest that changes while it is read is read again from its beginning', async () => {
  const lines = (title: string) => Array.from({ length: 100 }, (_, i) => JSON.stringify({ item_id: `i${i}`, title })).join('\n');
  await rig.write('m.jsonl', lines('before'));
  let chunks = 0;
  const addChunk = rig.ledger.addChunk;
  rig.ledger.addChunk = async (id, chunk) => {
    await addChunk(id, chunk);
    if (++chunks === 1) await rig.write('m.jsonl', lines('after it'));
  };
  const { status } = await rig.run({ type: 'manifest', uri: `${rig.source}/m.jsonl` });
  expect(status).toBe('completed');
  expect((await rig.audit()).findings).toEqual([]);
});

test.each(['before', 'after'] as const)(
  'a reconciling that dies (%s its second chunk is down) takes all that is gone off the index',
  async (when) => {
    for (let i = 0; i < 160; i++) await rig.write(`${i}.png`, `picture ${i}`);
    await rig.run();
    for (let i = 1; i < 160; i++) await rig.remove(`${i}.png`);
    await rig.ingest();
    // The first chunk is the listing's one picture.
    await driveThroughDeathAt(when === 'before' ? 3 : 2, when);
    expect((await rig.audit()).findings).toEqual([]);
  },
);
