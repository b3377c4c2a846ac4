import { afterAll, describe, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { ledgerContract } from '../../testing/ledger-contract.ts';
import { openRedisServer, redisMissing, type RedisServer } from '../../testing/redis-server.ts';
import { DROP_API_KEY } from './redis-ledger-api-keys.ts';
import { COMPLETE_CHUNK } from './redis-ledger-chunk-scripts.ts';
import { openLedgerClient } from './redis-ledger-client.ts';
import { DROP_INGESTION } from './redis-ledger-ingestion-scripts.ts';
import { TAKE_COPIES } from './redis-ledger-migration-scripts.ts';
import { PRUNE_MESSAGES } from './redis-ledger-outbox-scripts.ts';
import { DELETE_WEBHOOK } from './redis-ledger-webhook-scripts.ts';
import { RedisLedger } from './redis-ledger.ts';

let server: Promise<RedisServer> | null = null;

afterAll(async () => (await server)?.close());

/** These say whether they did something, and a second time they did not. */
const SAID_ONCE = new Set([COMPLETE_CHUNK, DELETE_WEBHOOK, DROP_API_KEY, DROP_INGESTION, PRUNE_MESSAGES, TAKE_COPIES]);

/** Sends each script twice, as a cluster's client does when the connection broke before the answer. */
const openTwiceSender: typeof openLedgerClient = async (place, onError) => {
  const client = await openLedgerClient(place, onError);
  const twice =
    (run: (typeof client)['run']): (typeof client)['run'] =>
    async (script, keys, args) => {
      const first = await run(script, keys, args);
      const second = await run(script, keys, args);
      return SAID_ONCE.has(script) ? first : second;
    };
  return { ...client, run: twice(client.run), runBytes: twice(client.runBytes) };
};

if (redisMissing) test.skip(`RedisLedger: ${redisMissing}`, () => undefined);
else
  describe.each([
    { how: 'each command sent once', openClient: openLedgerClient },
    { how: 'each command sent twice', openClient: openTwiceSender },
  ])('$how', ({ openClient }) => {
    ledgerContract(async () => {
      const { url } = await (server ??= openRedisServer());
      const prefix = `test-${randomUUID()}`;
      let now = 0;
      const open = () => RedisLedger.open({ url, prefix, now: () => now }, { openClient });
      return {
        ledger: await open(),
        setNow: (at) => {
          now = at;
        },
        openAgain: open,
        close: async () => undefined,
      };
    });
  });
