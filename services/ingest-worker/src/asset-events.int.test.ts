import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { SightlineEvent } from '@sightline/shared/contracts/events';
import { DEFAULT_TENANT, passageAssetId, pictureAssetId } from '@sightline/shared/contracts/ids';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { Crash, FlowRig } from './testing/flow-rig.ts';

let rig: FlowRig;
let told: SightlineEvent[];

beforeEach(async () => {
  rig = await FlowRig.open();
  told = [];
  await rig.events.subscribe('test', async (events) => void told.push(...events));
});

afterEach(async () => {
  await rig.close();
});

const idOf = (key: string): string => pictureAssetId(DEFAULT_TENANT, rig.source, key);
const passageId = (itemId: string, no: number): string => passageAssetId(DEFAULT_TENANT, itemId, no);

/** What was told since the last call, each id once, as "type subject". */
async function heard(): Promise<string[]> {
  await new Promise((resolve) => setTimeout(resolve, 10));
  const ids = new Map(told.map((event) => [event.id, `${event.type} ${event.subject}`]));
  told.length = 0;
  return [...ids.values()].toSorted();
}

async function ingest(...lines: object[]) {
  await rig.write('manifest.jsonl', lines.map((line) => JSON.stringify(line)).join('\n'));
  return rig.run({ type: 'manifest', uri: `${rig.source}/manifest.jsonl` });
}

/** Dies once, at the first call of that name, and is started again. */
async function driveThroughDeathAt(name: string, when: 'before' | 'after'): Promise<void> {
  rig.onCall = (call, seen) => {
    if (call === name && seen === when) throw new Crash();
  };
  await expect(rig.drive()).rejects.toBeInstanceOf(Crash);
  rig.onCall = () => {};
  rig.passLeases();
  await rig.drive();
}

test('a full flow tells of each asset once, and of its end', async () => {
  for (let i = 0; i < 100; i++) await rig.write(`${i}.png`, `picture ${i}`);
  await rig.write('bad.png', 'BAD');
  await rig.write('twin.png', 'picture 1');
  const { ingestionId } = await rig.run();
  const events = await heard();
  expect(events).toEqual(
    [
      ...Array.from({ length: 100 }, (_, i) => `asset.indexed ${idOf(`${i}.png`)}`),
      `asset.indexed ${idOf('twin.png')}`,
      `asset.failed ${idOf('bad.png')}`,
      `ingestion.completed ${ingestionId}`,
    ].toSorted(),
  );
});

test('what is told is what stands in the index', async () => {
  await rig.write('a.png', 'one');
  await ingest({ item_id: 'A', title: 'Cooler', text: 'First. Second.', images: ['a.png'] });
  await new Promise((resolve) => setTimeout(resolve, 10));
  const point = (await rig.index.get(DEFAULT_TENANT, [idOf('a.png')])).get(idOf('a.png'));
  const event = told.find(({ subject }) => subject === idOf('a.png'));
  expect(event).toMatchObject({
    type: 'asset.indexed',
    tenant: DEFAULT_TENANT,
    traceid: 'test',
    source: '/sightline/encode-worker',
    time: new Date(point?.indexedAt ?? 0).toISOString(),
    data: {
      object: { bucket: rig.source, key: 'a.png', etag: point?.object?.eTag },
      item_ids: ['A'],
      sha256: point?.sha256,
      has_image: true,
      has_text: true,
      image_version: point?.imageVersion,
      record_version: point?.recordVersion,
      encoder: { image: 'hash-image', text: 'hash-text' },
    },
  });
  expect(told.find(({ subject }) => subject === passageId('A', 1))).toMatchObject({ data: { kind: 'passage', passage_no: 1 } });
  const end = told.find(({ type }) => type === 'ingestion.completed');
  expect(end).toMatchObject({ data: { status: 'completed', counts: { listed: 1, indexed: 1 } } });
});

test('nothing is told of what is unchanged', async () => {
  for (let i = 0; i < 10; i++) await rig.write(`${i}.png`, `picture ${i}`);
  await rig.run();
  await heard();
  // Within the margin for clocks that differ it would be told again, under the same id.
  rig.passLeases();
  const { ingestionId } = await rig.run();
  expect(await heard()).toEqual([`ingestion.completed ${ingestionId}`]);
});

test('what changed, went, came back or failed is told as such', async () => {
  await rig.write('a.png', 'one');
  await rig.write('b.png', 'two');
  await rig.run();
  rig.passLeases();
  await heard();
  await rig.write('a.png', 'three');
  await rig.remove('b.png');
  await rig.run();
  expect((await heard()).slice(0, 2)).toEqual([`asset.deleted ${idOf('b.png')}`, `asset.indexed ${idOf('a.png')}`]);
  rig.passLeases();
  await rig.write('a.png', 'BAD');
  await rig.write('b.png', 'two');
  await rig.run();
  expect((await heard()).slice(0, 3)).toEqual(
    [`asset.deleted ${idOf('a.png')}`, `asset.failed ${idOf('a.png')}`, `asset.indexed ${idOf('b.png')}`].toSorted(),
  );
});

test.each([
  ['index.writePictures', 'after'],
  ['index.writeRecords', 'after'],
  ['events.publish', 'before'],
  ['events.publish', 'after'],
  ['ledger.completeChunk', 'before'],
] as const)(
  'a worker that dies at %s (%s it) has told everything once it was started again, each under one id',
  async (call, when) => {
    await rig.write('a.png', 'one');
    await rig.write('b.png', 'two');
    const lines = [
      { item_id: 'A', title: 'Cooler', text: 'First. Second. Third.', images: ['a.png', 'b.png'] },
      { item_id: 'B', title: 'Fan', text: 'Blows.' },
    ];
    await rig.write('manifest.jsonl', lines.map((line) => JSON.stringify(line)).join('\n'));
    const ingestionId = await rig.ingest({ type: 'manifest', uri: `${rig.source}/manifest.jsonl` });
    await driveThroughDeathAt(call, when);
    expect(await heard()).toEqual(
      [
        ...['a.png', 'b.png'].map((key) => `asset.indexed ${idOf(key)}`),
        ...[passageId('A', 1), passageId('A', 2), passageId('B', 0)].map((id) => `asset.indexed ${id}`),
        `ingestion.completed ${ingestionId}`,
      ].toSorted(),
    );
  },
);

test('passages that went are told of, also by a worker that took them off and died', async () => {
  const text = Array.from({ length: 30 }, (_, i) => `Sentence ${i}.`).join(' ');
  await ingest({ item_id: 'A', title: '', text });
  const before = (await rig.index.findByItem(DEFAULT_TENANT, 'A')).map(({ assetId }) => assetId);
  expect(before.length).toBeGreaterThan(20);
  rig.passLeases();
  await heard();
  await rig.write('manifest.jsonl', JSON.stringify({ item_id: 'A', title: '', text: 'Short.' }));
  await rig.ingest({ type: 'manifest', uri: `${rig.source}/manifest.jsonl` });
  await driveThroughDeathAt('index.delete', 'after');
  const deleted = (await heard()).filter((line) => line.startsWith('asset.deleted'));
  expect(deleted).toEqual(before.filter((id) => id !== passageId('A', 0)).map((id) => `asset.deleted ${id}`).toSorted()); // prettier-ignore
});

test('while the log is away nothing is lost and nothing fails; what was written is told when it is back', async () => {
  for (let i = 0; i < 5; i++) await rig.write(`${i}.png`, `picture ${i}`);
  const ingestionId = await rig.ingest();
  let isAway = true;
  const publish = rig.events.publish.bind(rig.events);
  rig.events.publish = async (events) => {
    if (isAway) throw new SightlineError('events_unavailable');
    await publish(events);
  };
  await rig.drive().catch(() => undefined);
  expect((await rig.ingestion(ingestionId)).status).not.toBe('completed');
  expect(await heard()).toEqual([]);
  isAway = false;
  rig.passLeases();
  await rig.drive();
  expect(await rig.ingestion(ingestionId)).toMatchObject({ status: 'completed', counts: { indexed: 5, failed: 0 } });
  expect(await heard()).toEqual(
    [
      ...Array.from({ length: 5 }, (_, i) => `asset.indexed ${idOf(`${i}.png`)}`),
      `ingestion.completed ${ingestionId}`,
    ].toSorted(),
  );
});

test('a removal is told by who removed: what went, and what lost a record', async () => {
  await rig.write('a.png', 'one');
  await rig.write('ab.png', 'two');
  const A = { item_id: 'A', title: 'Cooler', text: 'First. Second.', images: ['a.png', 'ab.png'] };
  await ingest(A, { item_id: 'B', title: 'Fan', text: 'Blows.', images: ['ab.png'] });
  await heard();
  await rig.removeItem('A');
  expect(await heard()).toEqual(
    [`asset.deleted ${idOf('a.png')}`, `asset.deleted ${passageId('A', 1)}`, `asset.indexed ${idOf('ab.png')}`].toSorted(),
  );
});

test.each(['before', 'after'] as const)(
  "an ingestion's end is owed to the webhooks that want it, once and under the event's id, also by a worker that died %s it was",
  async (when) => {
    const webhook = { url: 'https://hooks.example.com/', description: '', events: ['ingestion.completed' as const], secrets: [] };
    const times = { createdAt: 1, updatedAt: 1, failingSince: null, disabledBecause: null };
    for (const tenant of [DEFAULT_TENANT, 'other'])
      await rig.ledger.addWebhook({ webhookId: `of ${tenant}`, tenant, ...webhook, ...times }, 50);
    await rig.write('a.png', 'one');
    const ingestionId = await rig.ingest();
    await driveThroughDeathAt('ledger.addMessages', when);
    await new Promise((resolve) => setTimeout(resolve, 10));
    const ended = [...new Set(told.filter(({ type }) => type === 'ingestion.completed').map(({ id }) => id))];
    const { deliveries } = await rig.ledger.listDeliveries(DEFAULT_TENANT, `of ${DEFAULT_TENANT}`, { limit: 10 });
    expect(deliveries).toMatchObject([{ type: 'ingestion.completed', subject: ingestionId, sequence: 1, status: 'pending' }]);
    expect((await rig.ledger.listDeliveries('other', 'of other', { limit: 10 })).deliveries).toEqual([]);
    // It is in the event log already.
    expect(await rig.ledger.unpublishedMessages(10)).toEqual([]);
    const claim = { token: 'x', claimMs: 1_000, at: Date.now() + 3_600_000 };
    const taken = await rig.ledger.takeDelivery(deliveries[0]?.deliveryId ?? '', claim);
    expect(JSON.parse(taken?.message.data ?? '')).toMatchObject({ ingestion_id: ingestionId, status: 'completed' });
    expect(ended).toEqual([taken?.message.messageId]);
  },
);
