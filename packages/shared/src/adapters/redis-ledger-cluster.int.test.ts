import { afterAll, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { ledgerContract } from '../../testing/ledger-contract.ts';
import { openRedisServer, ownRedisMissing, type RedisServer } from '../../testing/redis-server.ts';
import { RedisLedger } from './redis-ledger.ts';

let server: Promise<RedisServer> | null = null;

afterAll(async () => (await server)?.close());

/** A cluster of one node: it refuses scripts whose keys lie in different slots, whoever serves these. */
async function openCluster(): Promise<RedisServer> {
  const opened = await openRedisServer({ settings: ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'] });
  const client = new Redis(opened.url);
  await client.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
  while (!String(await client.call('CLUSTER', 'INFO')).includes('cluster_state:ok')) await sleep(50);
  client.disconnect();
  return opened;
}

if (ownRedisMissing) test.skip(`RedisLedger on a cluster: ${ownRedisMissing}`, () => undefined);
else {
  ledgerContract(async () => {
    const { url } = await (server ??= openCluster());
    const prefix = `test-${randomUUID()}`;
    let now = 0;
    const open = () => RedisLedger.open({ url: url.replace('redis://', 'redis+cluster://'), prefix, now: () => now });
    return {
      ledger: await open(),
      setNow: (at) => {
        now = at;
      },
      openAgain: open,
      close: async () => undefined,
    };
  });

  test('the cluster refuses what spans slots: the proof above is one', async () => {
    const { url } = await (server ??= openCluster());
    const client = new Redis(url);
    try {
      const across = "#!lua\nredis.call('SET', '{a}', 1) redis.call('SET', '{b}', 1)";
      await expect(client.call('EVAL', across, '1', '{a}')).rejects.toThrow('do not hash to the same slot');
      const slots = await Promise.all(['flow', 'lease', 'access'].map((group) => client.cluster('KEYSLOT', `{p:${group}}:x`)));
      expect(new Set(slots).size).toBe(3);
    } finally {
      client.disconnect();
    }
  });
}
