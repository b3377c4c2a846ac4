import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { openRedisServer, ownRedisMissing, redisMissing } from '@sightline/shared/testing/redis-server';
import { newId } from '@sightline/shared/contracts/ids';
import { createApiKey } from './core/api-keys.ts';
import { openRateLimitStore } from './rate-limits.ts';
import { openRig, type Rig } from './testing/query-api-rig.ts';

const withRedis = redisMissing ? test.skip : test;
const cleanups: (() => unknown)[] = [];
let rigs: Rig[] = [];
let secrets: string[] = [];
let redis: Awaited<ReturnType<typeof openRedisServer>>;

beforeAll(async () => {
  if (redisMissing) return;
  redis = await openRedisServer();
  const prefix = newId();
  const key = await keyOf('shared');
  rigs = await Promise.all(
    [1, 2].map(async () => {
      const rateLimitStore = openRateLimitStore({ redisUrl: redis.url, prefix }, pino({ level: 'silent' }));
      cleanups.push(() => rateLimitStore.client.disconnect());
      await once(rateLimitStore.client, 'ready');
      const rig = await openRig({ auth: 'keys', requestsPerMinute: { read: 3 } }, { rateLimitStore });
      cleanups.push(() => rig.close());
      return rig;
    }),
  );
  // Two replicas have one ledger; here each has its own, with the same key in it.
  secrets = await Promise.all(rigs.map((rig) => key(rig)));
});
afterAll(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
  await redis?.close();
});

/** One key, to be put into several ledgers. */
async function keyOf(name: string): Promise<(rig: Rig) => Promise<string>> {
  const bytes = [randomBytes(8), randomBytes(32)];
  return async ({ ledger }) => {
    const source = (count: number) => bytes.find(({ length }) => length === count) ?? randomBytes(count);
    const wanted = { tenant: 't', name, scopes: ['read' as const], expiresAt: null };
    return (await createApiKey({ ledger, now: Date.now, randomBytes: source }, wanted)).secret;
  };
}

const ask = (i: number) => rigs[i]?.app.inject({ url: '/v1/index', headers: { authorization: `Bearer ${secrets[i]}` } });

withRedis(redisMissing ? `replicas count together (${redisMissing})` : 'replicas count together', async () => {
  const statuses: (number | undefined)[] = [];
  for (const replica of [0, 1, 0, 1, 0]) statuses.push((await ask(replica))?.statusCode);
  expect(statuses).toEqual([200, 200, 200, 429, 429]);
});

(ownRedisMissing ? test.skip : test)(
  ownRedisMissing
    ? `without its Redis nobody is refused (${ownRedisMissing})`
    : 'without its Redis nobody is refused, nor kept waiting',
  async () => {
    await redis.stop?.();
    const startedAt = performance.now();
    expect((await ask(0))?.statusCode).toBe(200);
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  },
);
