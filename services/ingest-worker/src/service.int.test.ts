import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEncodeWorker } from '@sightline/encode-worker/service';
import { HashEncoder } from '@sightline/encode-worker/testing/hash-encoder';
import { openQueueEngine } from '@sightline/shared/adapters/bullmq-queue-engine';
import { openEmbeddedPostgres, type EmbeddedPostgres } from '@sightline/shared/adapters/embedded-postgres';
import { DEFAULT_TENANT, SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import { encodeQueryResult } from '@sightline/shared/contracts/jobs';
import type { Ingestion } from '@sightline/shared/ports/ledger';
import { Closer } from '@sightline/shared/runtime/lifecycle';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { startIngestWorker } from './service.ts';
import { FlowRig } from './testing/flow-rig.ts';

/** Both services on BullMQ over PostgreSQL, with real stores and the hash encoder. */
const dataDir = mkdtempSync(join(tmpdir(), 'sightline-services-'));
const logger = pino({ level: 'silent' });
let postgres: EmbeddedPostgres;
let postgresUrl: string;
let rig: FlowRig;

beforeAll(async () => {
  postgres = await openEmbeddedPostgres({ dataDir }, { logger });
});

afterAll(async () => {
  await postgres.close();
  rmSync(dataDir, { recursive: true, force: true });
});

beforeEach(async () => {
  rig = await FlowRig.open();
  postgresUrl = await postgres.createDatabase(`test_${randomUUID()}`);
});

afterEach(() => rig.close());

async function start(encoder = new HashEncoder()) {
  const closer = new Closer(logger);
  const queue = await openQueueEngine({ postgresUrl }, { logger });
  closer.push('queue', () => queue.close());
  const { store, index, ledger, events } = rig;
  const registry = new Registry();
  const shared = { store, index, ledger, events, queue, logger, registry };
  try {
    const encode = await startEncodeWorker({ ...shared, encoder, config: { drainMs: 1_000 } });
    closer.push('encode', () => encode.close());
    const ingest = await startIngestWorker({ ...shared, feeds: [], config: { sweepEveryMs: 100, drainMs: 1_000 } });
    closer.push('ingest', () => ingest.close());
    await encode.ready();
    await ingest.ready();
  } catch (error) {
    await closer.closeAll(10_000);
    throw error;
  }
  return { queue, registry, encoder, close: () => closer.closeAll(10_000) };
}

async function over(ingestionId: string, tenant?: string): Promise<Ingestion> {
  for (let i = 0; i < 300; i++) {
    const ingestion = await rig.ingestion(ingestionId, tenant);
    if (['completed', 'failed'].includes(ingestion.status)) return ingestion;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return rig.ingestion(ingestionId, tenant);
}

test('an ingestion in the ledger is taken up, goes through the queue and is completed; its metrics say so', async () => {
  for (let i = 0; i < 150; i++) await rig.write(`${i}.png`, i % 50 === 7 ? 'BAD' : `picture ${i}`);
  const services = await start();
  try {
    const { status, counts } = await over(await rig.ingest());
    expect({ status, counts }).toEqual({
      status: 'completed',
      counts: { listed: 150, indexed: 147, unchanged: 0, duplicate: 0, failed: 3 },
    });
    expect((await rig.audit()).findings).toEqual([]);
    const metrics = await services.registry.metrics();
    expect(metrics).toContain('sightline_images_total{outcome="indexed"} 147');
    expect(metrics).toContain('sightline_image_failures_total{code="picture_corrupt"} 3');
    expect(metrics).toContain('sightline_ledger_outstanding_chunks 0');
  } finally {
    await services.close();
  }
});

test('services that stop in the middle hand their work back, and others finish it with every count once', async () => {
  for (let i = 0; i < 300; i++) await rig.write(`${i}.png`, `picture ${i}`);
  const slow = new HashEncoder();
  const decode = slow.decode.bind(slow);
  slow.decode = async (bytes) => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    return decode(bytes);
  };
  const first = await start(slow);
  const ingestionId = await rig.ingest();
  while (slow.decodes < 30) await new Promise((resolve) => setTimeout(resolve, 20));
  await first.close();
  expect((await rig.ingestion(ingestionId)).status).not.toBe('completed');
  const second = await start();
  try {
    const { status, counts } = await over(ingestionId);
    expect({ status, counts }).toEqual({
      status: 'completed',
      counts: { listed: 300, indexed: 300, unchanged: 0, duplicate: 0, failed: 0 },
    });
    expect((await rig.audit()).findings).toEqual([]);
  } finally {
    await second.close();
  }
});

test('a small ingestion of one tenant ends while the large one of another is being worked', async () => {
  for (let i = 0; i < 1_500; i++) await rig.put('large', `${i}.png`, `large ${i}`);
  for (let i = 0; i < 20; i++) await rig.put('small', `${i}.png`, `small ${i}`);
  const slow = new HashEncoder();
  const decode = slow.decode.bind(slow);
  slow.decode = async (bytes) => {
    await new Promise((resolve) => setTimeout(resolve, 10));
    return decode(bytes);
  };
  const services = await start(slow);
  try {
    const large = await rig.ingest({ type: 'prefix', bucket: 'large', prefix: '' }, false, 'a');
    while (slow.decodes < 100) await new Promise((resolve) => setTimeout(resolve, 20));
    const small = await rig.ingest({ type: 'prefix', bucket: 'small', prefix: '' }, false, 'b');
    expect(await over(small, 'b')).toMatchObject({ status: 'completed', counts: { indexed: 20 } });
    const { status, counts } = await rig.ingestion(large, 'a');
    expect(status).toBe('running');
    // It was planned whole before the small one came, and waits in the queue.
    expect(counts.listed).toBe(1_500);
    expect(counts.indexed).toBeLessThan(1_000);
    expect(await over(large, 'a')).toMatchObject({ status: 'completed', counts: { indexed: 1_500 } });
  } finally {
    await services.close();
  }
}, 60_000);

test('an ingestion that is paused and resumed goes on through the queue', async () => {
  for (let i = 0; i < 200; i++) await rig.write(`${i}.png`, `picture ${i}`);
  const services = await start();
  try {
    const id = await rig.ingest();
    await rig.ledger.setHold(id, 'user', { at: rig.now() });
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect((await rig.ingestion(id)).status).toBe('paused');
    await rig.ledger.setHold(id, null, { at: rig.now() });
    // As query-api does it.
    const job = { tenant: DEFAULT_TENANT, ingestionId: id, traceId: 't' };
    await services.queue.add('plan', { ...job, redrive: true }, { lane: 'event', jobId: `redrive-${id}` });
    expect(await over(id)).toMatchObject({ status: 'completed', counts: { indexed: 200 } });
  } finally {
    await services.close();
  }
});

test('a queue that lost everything gets it back from the ledger', async () => {
  for (let i = 0; i < 100; i++) await rig.write(`${i}.png`, `picture ${i}`);
  const ingestionId = await rig.ingest();
  let chunks = 0;
  rig.onCall = (call) => {
    if (call === 'index.get' && ++chunks === 1) throw new Error('the machine is gone, its queue with it');
  };
  await expect(rig.drive()).rejects.toThrow();
  rig.onCall = () => {};
  // The leases of the lost machine were taken with the rig's clock: they are over for the services as well.
  rig.passLeases();
  const services = await start();
  try {
    expect(await over(ingestionId)).toMatchObject({ status: 'completed', counts: { listed: 100, indexed: 100 } });
  } finally {
    await services.close();
  }
});

test('a query is encoded through the queue, its picture from the system bucket', async () => {
  const services = await start();
  try {
    const key = `queries/${DEFAULT_TENANT}/1`;
    await rig.store.put({ bucket: SYSTEM_BUCKET, key }, Buffer.from('a picture'), { contentType: 'image/png' });
    const fingerprints = { image: 'hash-image', text: 'hash-text' };
    const job = {
      tenant: DEFAULT_TENANT,
      fingerprints,
      query: 'red',
      pictureKey: key,
      traceId: 't',
      expiresAt: Date.now() + 10_000,
    };
    const result = await services.queue.request('encode-query', job, { lane: 'interactive', timeoutMs: 10_000 });
    expect(encodeQueryResult.parse(result)).toMatchObject({ warnings: [], logitScale: 100 });
    const absent = services.queue.request(
      'encode-query',
      { ...job, pictureKey: 'queries/x' },
      { lane: 'interactive', timeoutMs: 10_000 },
    );
    await expect(absent).rejects.toMatchObject({ code: 'object_not_found' });
  } finally {
    await services.close();
  }
});

test('a worker refuses to start on an index of another pack', async () => {
  const encoder = new HashEncoder();
  Object.assign(encoder, { spec: { ...encoder.spec, image: { fingerprint: 'other', dimensions: 16 } } });
  await expect(start(encoder)).rejects.toMatchObject({ code: 'index_encoder_mismatch' });
});
