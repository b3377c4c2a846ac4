import { afterAll, afterEach, beforeAll, expect } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { ownKafkaMissing } from '@sightline/shared/testing/kafka-server';
import { ownQdrantMissing } from '@sightline/shared/testing/qdrant-server';
import { ownRedisMissing } from '@sightline/shared/testing/redis-server';
import { ownS3Missing } from '@sightline/shared/testing/s3-server';
import { ProductionStack, kafkaMissing, stackMissing } from '../harness/production-stack.ts';
import { readEvents } from '../harness/published-events.ts';
import type { Seeded } from '@sightline/shared/testing/seeded';
import { FAULT_TIMEOUT_MS, faultTest } from './fault-test.ts';
import { expectWhole } from './oracle.ts';

const OBJECTS = 600;

interface Engine {
  start: (() => Promise<void>) | null;
  stop: (() => Promise<void>) | null;
  kill: (() => Promise<void>) | null;
}

let stack: ProductionStack;
beforeAll(async () => {
  if (stackMissing) return;
  stack = await ProductionStack.open({ kafka: kafkaMissing === null, env: { HIGH_WATER_CHUNKS: '3' } });
}, FAULT_TIMEOUT_MS);
afterEach(() => stack?.startAll());
afterAll(async () => {
  const ends = await stack?.stopAll();
  await stack?.close();
  expect(ends ?? []).toEqual([]);
}, FAULT_TIMEOUT_MS);

/** Ingests while the engine goes twice, at random moments and for up to three seconds. */
async function ingestThrough(
  engine: Engine | null,
  how: 'stop' | 'kill',
  random: Seeded,
): Promise<{ ingestionId: string; keys: string[] }> {
  const [end, start] = [engine?.[how], engine?.start];
  // Named by URL, it belongs to somebody else.
  if (!end || !start) throw new Error('the engine is not ours to stop');
  const bucket = stack.newBucket();
  const keys = await bucket.putPictures(OBJECTS);
  const ingestionId = await stack.ingest(bucket.source);
  for (const share of [random.next() * 0.5, 0.5 + random.next() * 0.5]) {
    await stack.waitForDone(ingestionId, Math.floor(share * OBJECTS));
    await end();
    await sleep(random.whole(0, 3_000));
    await start();
  }
  return { ingestionId, keys };
}

faultTest('Redis that is stopped and started with its append-only file loses nothing', ownRedisMissing, async (random) => {
  const { ingestionId } = await ingestThrough(stack.redis, 'stop', random);
  await expectWhole(stack, ingestionId, { listed: OBJECTS });
});

faultTest(
  'Redis that is killed and started with its append-only file (fsync always) loses nothing',
  ownRedisMissing,
  async (random) => {
    const { ingestionId } = await ingestThrough(stack.redis, 'kill', random);
    await expectWhole(stack, ingestionId, { listed: OBJECTS });
  },
);

faultTest('Redis at maxmemory refuses writes, and goes on where it was once there is room', ownRedisMissing, async (random) => {
  const bucket = stack.newBucket();
  await bucket.putPictures(OBJECTS);
  const redis = new Redis(stack.redis.url);
  try {
    const ingestionId = await stack.ingest(bucket.source);
    await stack.waitForDone(ingestionId, Math.floor(random.next() * 0.5 * OBJECTS));
    await redis.config('SET', 'maxmemory', '1mb');
    await sleep(random.whole(2_000, 5_000));
    const refused = /errorstat_OOM:count=(\d+)/.exec(await redis.info('errorstats'))?.[1];
    expect(Number(refused ?? 0)).toBeGreaterThan(0);
    expect((await stack.progress(ingestionId)).status).not.toBe('completed');
    await redis.config('SET', 'maxmemory', '0');
    await expectWhole(stack, ingestionId, { listed: OBJECTS });
  } finally {
    await redis.config('SET', 'maxmemory', '0');
    redis.disconnect();
  }
});

faultTest('Qdrant that is stopped and started: the index holds what the bucket holds', ownQdrantMissing, async (random) => {
  const { ingestionId } = await ingestThrough(stack.qdrant, 'stop', random);
  await expectWhole(stack, ingestionId, { listed: OBJECTS });
});

faultTest('Qdrant that is killed and started: the index holds what the bucket holds', ownQdrantMissing, async (random) => {
  const { ingestionId } = await ingestThrough(stack.qdrant, 'kill', random);
  await expectWhole(stack, ingestionId, { listed: OBJECTS });
});

faultTest('the S3 gateway killed and started: every object is read all the same', ownS3Missing, async (random) => {
  const { ingestionId } = await ingestThrough(stack.s3, 'kill', random);
  await expectWhole(stack, ingestionId, { listed: OBJECTS });
});

faultTest(
  'a Kafka broker that is stopped and started has an event of every asset, each under one id',
  ownKafkaMissing,
  async (random) => {
    const { ingestionId, keys } = await ingestThrough(stack.kafka, 'stop', random);
    await expectWhole(stack, ingestionId, { listed: OBJECTS });
    const idsOf = new Map<string, Set<string>>();
    let isOver = false;
    await readEvents({ brokers: stack.kafka?.brokers ?? [], topicPrefix: stack.topicPrefix }, (events) => {
      idsOf.clear();
      isOver = false;
      for (const event of events) {
        if (event.type === 'ingestion.completed') isOver ||= event.data.ingestion_id === ingestionId;
        if (event.type !== 'asset.indexed' || event.data.ingestion_id !== ingestionId) continue;
        const key = event.data.object?.key ?? '';
        idsOf.set(key, (idsOf.get(key) ?? new Set()).add(event.id));
      }
      return idsOf.size >= keys.length && isOver;
    });
    expect([...idsOf.keys()].toSorted()).toEqual(keys.toSorted());
    expect([...idsOf].filter(([, ids]) => ids.size > 1)).toEqual([]);
  },
);
