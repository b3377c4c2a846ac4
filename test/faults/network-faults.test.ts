import { afterAll, afterEach, beforeAll, expect } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { indexView } from '@sightline/shared/contracts/http';
import { s3Error, type HttpFault, type SeenRequest } from '../harness/http-fault-proxy.ts';
import { ProductionStack, qdrantMissing, stackMissing } from '../harness/production-stack.ts';
import type { StackBucket } from '../harness/stack-bucket.ts';
import { FAULT_TIMEOUT_MS, faultTest } from './fault-test.ts';
import { expectWhole } from './oracle.ts';

const OBJECTS = 400;

let stack: ProductionStack;
beforeAll(async () => {
  if (stackMissing) return;
  stack = await ProductionStack.open({ proxies: true, env: { HIGH_WATER_CHUNKS: '3' } });
}, FAULT_TIMEOUT_MS);
afterEach(async () => {
  if (!stack) return;
  stack.proxies.s3.set(null);
  stack.proxies.redis.set({ kind: 'none' });
  stack.proxies.qdrant?.set({ kind: 'none' });
  await stack.startAll();
});
afterAll(async () => {
  const ends = await stack?.stopAll();
  await stack?.close();
  expect(ends ?? []).toEqual([]);
}, FAULT_TIMEOUT_MS);

async function fullBucket(objects = OBJECTS): Promise<StackBucket> {
  const bucket = stack.newBucket();
  await bucket.putPictures(objects);
  return bucket;
}

/** The reading of a picture of this bucket; a listing is none. */
const isRead = (bucket: StackBucket, { method, path }: SeenRequest): boolean =>
  method === 'GET' && path.startsWith(`/${bucket.name}/pictures/`);

faultTest('a store that answers 503 to three requests in ten is asked again', null, async (random) => {
  const bucket = await fullBucket();
  let refused = 0;
  stack.proxies.s3.set(() => {
    if (random.next() > 0.3) return null;
    refused += 1;
    return s3Error(503, 'SlowDown');
  });
  const ingestionId = await stack.ingest(bucket.source);
  await stack.waitForEnd(ingestionId);
  stack.proxies.s3.set(null);
  await expectWhole(stack, ingestionId, { listed: OBJECTS });
  expect(refused).toBeGreaterThan(OBJECTS / 10);
});

faultTest('a store that is slow, cuts answers short and resets connections is asked again', null, async (random) => {
  const bucket = await fullBucket();
  const met: Record<string, number> = {};
  stack.proxies.s3.set((request) => {
    const dice = random.next();
    const fault: HttpFault | null =
      dice < 0.1
        ? { kind: 'slow', latencyMs: random.whole(200, 2_000) }
        : dice < 0.2 && (isRead(bucket, request) || request.query.has('list-type'))
          ? { kind: 'truncate', afterBytes: random.whole(1, 400) }
          : dice < 0.25
            ? { kind: 'reset' }
            : null;
    if (fault) met[fault.kind] = (met[fault.kind] ?? 0) + 1;
    return fault;
  });
  const ingestionId = await stack.ingest(bucket.source);
  await stack.waitForEnd(ingestionId);
  stack.proxies.s3.set(null);
  await expectWhole(stack, ingestionId, { listed: OBJECTS });
  expect(Object.keys(met).toSorted()).toEqual(['reset', 'slow', 'truncate']);
});

faultTest(
  'objects that change between listing and reading, and again before they are looked at, are indexed as they are',
  null,
  async (random) => {
    const bucket = await fullBucket();
    let content = 300_000;
    const changes = new Map<string, number>();
    stack.proxies.s3.set((request) => {
      if (!request.path.startsWith(`/${bucket.name}/pictures/`) || !['GET', 'HEAD'].includes(request.method)) return null;
      const key = request.path.slice(bucket.name.length + 2);
      if ((changes.get(key) ?? 0) >= 2 || random.next() > 0.2) return null;
      changes.set(key, (changes.get(key) ?? 0) + 1);
      return { kind: 'before', run: async () => void (await bucket.put(key, await bucket.picture(content++))) };
    });
    const ingestionId = await stack.ingest(bucket.source);
    await stack.waitForEnd(ingestionId);
    stack.proxies.s3.set(null);
    await expectWhole(stack, ingestionId, { listed: OBJECTS });
    expect(changes.size).toBeGreaterThan(OBJECTS / 10);
  },
);

faultTest(
  'a store that begins to refuse everything pauses the ingestion with its reason, and resuming ends it',
  null,
  async () => {
    const bucket = await fullBucket(1_000);
    stack.proxies.s3.set((request) => (isRead(bucket, request) ? s3Error(403, 'AccessDenied') : null));
    const ingestionId = await stack.ingest(bucket.source);
    const paused = await stack.waitFor(ingestionId, ({ status }) => ['paused', 'completed', 'failed'].includes(status));
    expect(paused).toMatchObject({ status: 'paused', reason: expect.stringContaining('object_forbidden') });
    expect(paused.counts.failed).toBeLessThan(1_000);
    stack.proxies.s3.set(null);
    await stack.client.post(`/v1/ingestions/${ingestionId}/resume`, {}, z.unknown());
    await stack.waitForEnd(ingestionId);
    await stack.client.post(`/v1/ingestions/${ingestionId}/retry`, {}, z.unknown());
    await expectWhole(stack, ingestionId, { listed: 1_000 });
  },
);

faultTest('a store whose disk is full holds the end of an ingestion up until its report can be written', null, async () => {
  const bucket = await fullBucket();
  let refused = 0;
  stack.proxies.s3.set(({ method }) => {
    if (method !== 'PUT' && method !== 'POST') return null;
    refused += 1;
    return s3Error(507, 'XMinioStorageFull');
  });
  const ingestionId = await stack.ingest(bucket.source);
  await stack.waitForDone(ingestionId, OBJECTS);
  while (refused === 0) await sleep(50);
  await sleep(1_000);
  expect((await stack.progress(ingestionId)).status).not.toBe('completed');
  stack.proxies.s3.set(null);
  await expectWhole(stack, ingestionId, { listed: OBJECTS });
  const report = await (await fetch(`${stack.url}/v1/ingestions/${ingestionId}/report`)).text();
  expect(JSON.parse(report.split('\n')[0] ?? '')).toMatchObject({ type: 'summary', counts: { listed: OBJECTS, failed: 0 } });
});

faultTest('writes that Qdrant commits while the callers see time-outs are made once', qdrantMissing, async (random) => {
  const { qdrant } = stack.proxies;
  const bucket = await fullBucket();
  const ingestionId = await stack.ingest(bucket.source);
  for (let n = 0; n < 4; n++) {
    await sleep(random.whole(100, 700));
    qdrant?.set({ kind: 'swallow_answers' });
    await sleep(random.whole(500, 1_500));
    qdrant?.set({ kind: 'none' });
  }
  expect(qdrant?.met).toBeGreaterThan(0);
  await expectWhole(stack, ingestionId, { listed: OBJECTS });
});

faultTest('steps that Redis takes while the callers see time-outs are taken once', null, async (random) => {
  const bucket = await fullBucket();
  const ingestionId = await stack.ingest(bucket.source);
  for (let n = 0; n < 4; n++) {
    await sleep(random.whole(100, 700));
    stack.proxies.redis.set({ kind: 'swallow_answers' });
    // Beyond the producers' own time-outs, at times.
    await sleep(random.whole(500, 5_000));
    stack.proxies.redis.set({ kind: 'none' });
  }
  expect(stack.proxies.redis.met).toBeGreaterThan(0);
  await expectWhole(stack, ingestionId, { listed: OBJECTS });
});

faultTest('Redis and the index behind slow and breaking connections lose nothing', null, async (random) => {
  const bucket = await fullBucket();
  const ingestionId = await stack.ingest(bucket.source);
  const { redis, qdrant } = stack.proxies;
  for (let n = 0; n < 6; n++) {
    const proxy = random.pick([redis, qdrant ?? redis]);
    proxy.set(
      random.pick([
        { kind: 'refuse' } as const,
        { kind: 'stall' } as const,
        { kind: 'cut_answers', afterBytes: random.whole(1, 2_000) } as const,
        { kind: 'delay', latencyMs: random.whole(10, 200) } as const,
      ]),
    );
    await sleep(random.whole(200, 1_500));
    proxy.set({ kind: 'none' });
    await sleep(random.whole(0, 500));
  }
  await expectWhole(stack, ingestionId, { listed: OBJECTS });
});

faultTest('a worker whose store hangs hands its batch back at SIGTERM and ends with 0 within the deadline', null, async () => {
  const bucket = await fullBucket();
  const { assets } = await stack.client.get('/v1/index', indexView);
  const held: (() => void)[] = [];
  stack.proxies.s3.set((request) =>
    isRead(bucket, request) ? { kind: 'before', run: () => new Promise((resolve) => held.push(resolve)) } : null,
  );
  const ingestionId = await stack.ingest(bucket.source);
  while (held.length === 0) await sleep(20);
  const startedAt = performance.now();
  expect(await stack.stop('encode-bulk')).toBe(0);
  expect(performance.now() - startedAt).toBeLessThan(25_000);
  expect((await stack.client.get('/v1/index', indexView)).assets).toBe(assets);
  // Not left to be found stalled when its lock has run out.
  const redis = new Redis(stack.redis.url);
  expect(await redis.llen(`${stack.queuePrefix}:encode:active`)).toBe(0);
  expect(await redis.zcard(`${stack.queuePrefix}:encode:prioritized`)).toBeGreaterThan(0);
  redis.disconnect();
  stack.proxies.s3.set(null);
  for (const release of held) release();
  await stack.start('encode-bulk');
  await expectWhole(stack, ingestionId, { listed: OBJECTS });
});
