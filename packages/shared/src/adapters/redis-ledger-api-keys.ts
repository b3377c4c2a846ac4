import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { ApiKey, Ledger } from '../ports/ledger.ts';
import { SightlineError } from '../runtime/errors.ts';
import type { LedgerClient } from './redis-ledger-client.ts';
import type { LedgerKeys } from './redis-ledger-keys.ts';
import { asFields, asList, asNumber, asText } from './redis-ledger-reply.ts';
import { redisScript } from './redis-ledger-script.ts';

/** What of an API key never changes. `call` is the id of the call that wrote it. */
const recordSchema = z.object({
  keyId: z.string(),
  tenant: z.string(),
  name: z.string(),
  secretHash: z.string(),
  scopes: z.array(z.enum(['read', 'ingest', 'ask', 'admin'])),
  createdAt: z.number(),
});

const PRELUDE = String.raw`
local RECORDS, EXPIRE, REVOKED, USED, BY_SECRET = unpack(KEYS)
local id = ARGV[1]
local function change(first)
  for n, hash in ipairs({EXPIRE, REVOKED, USED}) do
    if ARGV[first + n - 1] ~= '' then redis.call('HSET', hash, id, ARGV[first + n - 1]) end
  end
end
local function read()
  local times = {}
  for n, hash in ipairs({EXPIRE, REVOKED, USED}) do times[n] = redis.call('HGET', hash, id) or '' end
  return {redis.call('HGET', RECORDS, id), times[1], times[2], times[3]}
end
`;

/** the id, the secret's hash, the record, the call's id in it, then times. */
const ADD = redisScript(
  `${PRELUDE}
local there = redis.call('HGET', RECORDS, id)
-- A cluster's client sends a command again whose answer was lost.
if there and string.find(there, ARGV[4], 1, true) then return 1 end
if there or redis.call('HEXISTS', BY_SECRET, ARGV[2]) == 1 then return 0 end
redis.call('HSET', RECORDS, id, ARGV[3])
redis.call('HSET', BY_SECRET, ARGV[2], id)
change(5)
return 1`,
  { full: 'refuse' },
);
/** the secret's hash. */
const FIND = redisScript(
  `${PRELUDE}
id = redis.call('HGET', BY_SECRET, ARGV[1])
if not id then return {} end
return read()`,
  'reads',
);
/** the id, then times. */
const UPDATE = redisScript(
  `${PRELUDE}
if redis.call('HEXISTS', RECORDS, id) == 0 then return {} end
change(2)
return read()`,
  { full: 'allow' },
);
const READ = redisScript(`${PRELUDE}\nif redis.call('HEXISTS', RECORDS, id) == 0 then return {} end\nreturn read()`, 'reads');
/** the id, the secret's hash. */
export const DROP_API_KEY = redisScript(
  `${PRELUDE}
for _, hash in ipairs({EXPIRE, REVOKED, USED}) do redis.call('HDEL', hash, id) end
redis.call('HDEL', BY_SECRET, ARGV[2])
return redis.call('HDEL', RECORDS, id)`,
  { full: 'allow' },
);

/** Ledger's methods on API keys, on Redis. */
export function redisApiKeys(client: LedgerClient, { apiKeys: keys }: LedgerKeys) {
  const listApiKeys = async (tenant: string | null): Promise<ApiKey[]> => {
    const found = new Map<string, ApiKey>();
    for (let cursor = '0'; ;) {
      const [next, page] = asList(await client.call('hscan', asText(keys[0]), cursor, 'COUNT', 500));
      for (const [keyId, record] of asFields(page)) {
        if (tenant !== null && parseRecord(record).tenant !== tenant) continue;
        const apiKey = toApiKey(await client.run(READ, keys, [keyId]));
        if (apiKey) found.set(keyId, apiKey);
      }
      cursor = asText(next);
      if (cursor === '0') break;
    }
    return [...found.values()].toSorted((a, b) => b.createdAt - a.createdAt || (a.keyId < b.keyId ? 1 : -1));
  };

  return {
    async addApiKey(key: ApiKey): Promise<void> {
      const call = randomUUID();
      const record = JSON.stringify({ ...recordSchema.parse(key), call });
      const args = [key.keyId, key.secretHash, record, call, ...times(key)];
      if ((await client.run(ADD, keys, args)) !== 1) throw new SightlineError('api_key_exists');
    },

    async findApiKey(secretHash: string): Promise<ApiKey | null> {
      return toApiKey(await client.run(FIND, keys, [secretHash]));
    },

    listApiKeys,

    async updateApiKey(keyId: string, change: Parameters<Ledger['updateApiKey']>[1]): Promise<ApiKey | null> {
      return toApiKey(await client.run(UPDATE, keys, [keyId, ...times(change)]));
    },

    async dropApiKeysOf(tenant: string, createdUpTo: number): Promise<number> {
      let dropped = 0;
      for (const { keyId, secretHash, createdAt } of await listApiKeys(tenant)) {
        if (createdAt > createdUpTo) continue;
        dropped += asNumber(await client.run(DROP_API_KEY, keys, [keyId, secretHash]));
      }
      return dropped;
    },
  };
}

type Times = { [K in 'expiresAt' | 'revokedAt' | 'lastUsedAt']?: number | null };

function times({ expiresAt, revokedAt, lastUsedAt }: Times): (number | '')[] {
  return [expiresAt ?? '', revokedAt ?? '', lastUsedAt ?? ''];
}

function parseRecord(record: string): z.infer<typeof recordSchema> {
  return recordSchema.parse(JSON.parse(record));
}

function toApiKey(reply: unknown): ApiKey | null {
  const [record, ...at] = asList(reply).map(asText);
  if (record === undefined) return null;
  const [expiresAt = null, revokedAt = null, lastUsedAt = null] = at.map((time) => (time === '' ? null : asNumber(time)));
  return { ...parseRecord(record), expiresAt, revokedAt, lastUsedAt };
}
