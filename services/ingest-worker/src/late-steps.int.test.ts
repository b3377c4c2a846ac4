import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { deleteTenant } from '@sightline/query-api/core/delete-tenant';
import { assetLockKey, DEFAULT_TENANT, pictureAssetId, reportKey, SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import { acceptsFailuresSetting } from '@sightline/shared/ingestion/failure-storms';
import { RETRY_CURSOR } from '@sightline/shared/contracts/ingestion-control';
import type { SightlineEvent } from '@sightline/shared/contracts/events';
import type { IngestionStatus } from '@sightline/shared/ports/ledger';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { FlowRig } from './testing/flow-rig.ts';

// Steps that come when what they are for is over, or when a part of the stack is away.

const ACTIVE: IngestionStatus[] = ['planning', 'running', 'paused'];
let rig: FlowRig;

beforeEach(async () => {
  rig = await FlowRig.open();
  rig.chunkEntries = 10;
});

afterEach(() => rig.close());

async function writePictures(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await rig.write(`${String(i).padStart(4, '0')}.png`, `picture ${i}`);
}

test('a storm in what an ingestion that failed still owes is counted, and comes to an end', async () => {
  await writePictures(300);
  rig.chunkEntries = 50;
  rig.store.get = async () => {
    throw new SightlineError('object_forbidden');
  };
  const id = await rig.ingest();
  rig.onCall = async (call, when) => {
    if (call === 'ledger.finishPlanning' && when === 'after') {
      await rig.ledger.setStatus(id, ACTIVE, 'failed', { reason: 'test', at: rig.now() });
    }
  };
  await rig.drive();
  expect(await rig.ingestion(id)).toMatchObject({ status: 'failed', counts: { listed: 300, failed: 300 } });
  expect(await rig.ledger.countOutstandingChunks()).toBe(0);
});

test('a worker that waited for keys while its tenant was deleted brings nothing back', async () => {
  await writePictures(5);
  const key = assetLockKey(DEFAULT_TENANT, pictureAssetId(DEFAULT_TENANT, rig.source, '0002.png'));
  // Of a worker that died.
  await rig.ledger.leaseKeys([key], { ttlMs: 50_000 });
  await rig.ingest();
  let leases = 0;
  rig.onCall = async (call, when) => {
    // Planning takes one, the chunk's free keys another, and then it waits.
    if (call !== 'ledger.leaseKeys' || when !== 'after' || ++leases !== 4) return;
    const { index, ledger, store } = rig;
    await deleteTenant({ index, ledger, store, now: () => rig.now(), sleep: async () => {}, drainMs: 0 }, DEFAULT_TENANT);
    rig.passLeases();
  };
  await rig.drive();
  expect(leases).toBeGreaterThan(4);
  expect(await rig.index.count(DEFAULT_TENANT)).toEqual({ live: 0, deleted: 0 });
});

test('a retry that is cancelled is told and reported as cancelled, though the first end was reported before', async () => {
  await writePictures(3);
  await rig.write('0001.png', 'BAD');
  const { ingestionId } = await rig.run();
  const told: SightlineEvent[] = [];
  const { close } = await rig.events.subscribe('test', async (events) => void told.push(...events));
  await rig.ledger.reopen(ingestionId, RETRY_CURSOR, rig.now());
  await rig.ledger.setStatus(ingestionId, ACTIVE, 'cancelled', { reason: 'Cancelled by request.', at: rig.now() });
  await rig.advance(ingestionId);
  const ref = { bucket: SYSTEM_BUCKET, key: reportKey(DEFAULT_TENANT, ingestionId) };
  const { bytes } = await rig.store.get(ref, { maxBytes: 100_000 });
  expect(JSON.parse(bytes.toString().split('\n')[0] ?? '')).toMatchObject({ type: 'summary', status: 'cancelled' });
  await close();
  expect(told).toMatchObject([{ type: 'ingestion.completed', data: { status: 'cancelled' } }]);
});

test('an ingestion that is cancelled while its report is written is told and reported as cancelled alone', async () => {
  await writePictures(3);
  const told: SightlineEvent[] = [];
  const { close } = await rig.events.subscribe('test', async (events) => void told.push(...events));
  const id = await rig.ingest();
  await rig.ledger.putSetting(acceptsFailuresSetting(id), 'yes');
  rig.onCall = async (call, when) => {
    if (call !== 'store.putStream' || when !== 'before') return;
    rig.onCall = () => {};
    await rig.ledger.setStatus(id, ACTIVE, 'cancelled', { reason: 'Cancelled by request.', at: rig.now() });
  };
  await rig.drive();
  // The step that cancelling asks for, after all.
  await rig.advance(id);
  const ref = { bucket: SYSTEM_BUCKET, key: reportKey(DEFAULT_TENANT, id) };
  const { bytes } = await rig.store.get(ref, { maxBytes: 100_000 });
  expect(JSON.parse(bytes.toString().split('\n')[0] ?? '')).toMatchObject({ type: 'summary', status: 'cancelled' });
  await close();
  const ends = told.filter(({ type }) => type === 'ingestion.completed');
  expect(ends).toMatchObject([{ data: { status: 'cancelled' } }]);
  expect(await rig.ledger.getSetting(acceptsFailuresSetting(id))).toBeNull();
});

test('why an ingestion stands is told with a code and nothing of what a server answered', async () => {
  await writePictures(3);
  const told: SightlineEvent[] = [];
  const { close } = await rig.events.subscribe('test', async (events) => void told.push(...events));
  const list = rig.store.list.bind(rig.store);
  rig.store.list = () => {
    throw new SightlineError('object_store_unavailable', '10.0.0.3:9000 refused the request (401)');
  };
  const id = await rig.ingest();
  await rig.advance(id);
  const { status, reason } = await rig.ingestion(id);
  expect({ status, reason }).toEqual({
    status: 'paused',
    reason: 'object_store_unavailable: The object store does not answer.',
  });
  rig.store.list = list;
  // An object's own failure keeps its details; one that is not its own has none.
  await rig.write('0001.png', 'BAD');
  const get = rig.store.get.bind(rig.store);
  rig.store.get = async (ref, options) => {
    if (ref.key === '0002.png') throw new SightlineError('object_forbidden', 'arn:aws:iam::1:user/x at 10.0.0.3');
    return get(ref, options);
  };
  await rig.drive();
  const { failures } = await rig.ledger.failures(id, { limit: 9 });
  expect(failures.find(({ key }) => key === '0002.png')?.reason).toBe('The object store refuses access to the object.');
  await close();
  expect(JSON.stringify([told, failures])).not.toMatch(/10\.0\.0\.3|arn:aws/);
  expect(told.map(({ type }) => type)).toContain('asset.failed');
});

test('a store that is away when the end is reconciled is waited for', async () => {
  await writePictures(10);
  await rig.run();
  await rig.remove('0003.png');
  const id = await rig.ingest();
  const list = rig.store.list.bind(rig.store);
  let failing = 0;
  rig.onCall = (call, when) => {
    if (call === 'ledger.finishPlanning' && when === 'after') failing = 3;
  };
  rig.store.list = (options) => {
    if (failing-- > 0) throw new SightlineError('object_store_unavailable');
    return list(options);
  };
  await rig.drive();
  expect(await rig.ingestion(id)).toMatchObject({ status: 'completed' });
  expect(failing).toBeLessThanOrEqual(0);
  rig.store.list = list;
  expect((await rig.audit()).findings).toEqual([]);
});

test('an ingestion waits for what one of its place that failed still owes: an old record must not come after a new one', async () => {
  const manifest = { type: 'manifest', uri: `${rig.source}/m.jsonl` } as const;
  await rig.write('m.jsonl', JSON.stringify({ item_id: 'a', text: 'old' }));
  const failed = await rig.ingest(manifest);
  await rig.advance(failed);
  await rig.ledger.setStatus(failed, ACTIVE, 'failed', { reason: 'test', at: rig.now() });
  expect(await rig.ledger.countOutstandingChunks({ ingestionId: failed })).toBe(1);
  await rig.write('m.jsonl', JSON.stringify({ item_id: 'a', text: 'new' }));
  const id = await rig.ingest(manifest);
  await rig.advance(id);
  expect(await rig.ingestion(id)).toMatchObject({ nextChunkNo: 0, reason: expect.stringContaining(failed) });
  await rig.drive();
  expect(await rig.ingestion(id)).toMatchObject({ status: 'completed', counts: { failed: 0 } });
  expect((await rig.audit()).findings).toEqual([]);
});
