import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, test } from '@jest/globals';
import { Queue } from 'bullmq';
import type { IQueueBackend } from 'bullmq';
import { pino } from 'pino';
import { queueEngineContract } from '../../testing/queue-engine-contract.ts';
import { openRedisServer, redisMissing } from '../../testing/redis-server.ts';
import type { RedisServer } from '../../testing/redis-server.ts';
import { openQueueBackends } from './bullmq-backends.ts';
import type { QueuePlace } from './bullmq-backends.ts';
import { openEmbeddedPostgres } from './embedded-postgres.ts';
import type { EmbeddedPostgres } from './embedded-postgres.ts';

async function pause(place: QueuePlace, name: string): Promise<void> {
  const backends = await openQueueBackends(place, { onError: () => undefined });
  const { connection, prefix, factory } = backends.producer;
  const queue = new Queue<unknown, unknown, string, unknown, unknown, string, IQueueBackend>(
    name,
    { connection, prefix },
    factory,
  );
  await queue.pause();
  await queue.close();
  await backends.close();
}

describe('redis', () => {
  if (redisMissing) {
    test.skip(`redis: the contract of the queue engine (${redisMissing})`, () => undefined);
    return;
  }
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await openRedisServer();
  });
  afterAll(() => redis.close());
  queueEngineContract('redis', () => ({
    freshPlace: async () => ({ redisUrl: redis.url, prefix: `test-${randomUUID()}` }),
    pause,
    stop: redis.stop,
    start: redis.start,
  }));
});

describe('postgres', () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'sightline-queue-'));
  let postgres: EmbeddedPostgres;
  const start = async () => {
    postgres = await openEmbeddedPostgres({ dataDir }, { logger: pino({ level: 'silent' }) });
  };
  beforeAll(start);
  afterAll(async () => {
    await postgres.close();
    rmSync(dataDir, { recursive: true, force: true });
  });
  queueEngineContract('postgres', () => ({
    freshPlace: async () => ({ postgresUrl: await postgres.createDatabase(`test_${randomUUID()}`) }),
    pause,
    stop: () => postgres.close(),
    start,
  }));
});
