import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { changePlace, changeSchema, type Change } from '../contracts/changes.ts';
import type { ChangeFailure, OwedChange, SettledChange } from '../ports/ledger.ts';
import type { ErrorCode } from '../runtime/errors.ts';
import type { LedgerClient } from './redis-ledger-client.ts';
import type { LedgerKeys } from './redis-ledger-keys.ts';
import { asList, asNumber, asText } from './redis-ledger-reply.ts';
import { redisScript } from './redis-ledger-script.ts';

/**
 * Of a tenant: `records` (hash of place to JSON), `owed` (all places by noticedAt), `free` (those that nobody holds, by noticedAt),
 * `claimed` (the others, by the time they are free again), `failures` (hash of place to JSON) and `failures-order`.
 */
const PRELUDE = String.raw`
local TENANTS, RECORDS, OWED, FREE, CLAIMED, FAILURES, ORDER, COUNTERS = unpack(KEYS)
local tenant = ARGV[1]

local function drop(place)
  redis.call('HDEL', RECORDS, place)
  for _, set in ipairs({OWED, FREE, CLAIMED}) do redis.call('ZREM', set, place) end
  if redis.call('EXISTS', RECORDS) == 0 then redis.call('SREM', TENANTS, tenant) end
end

local function read(place)
  local record = redis.call('HGET', RECORDS, place)
  return record and cjson.decode(record)
end

local function write(place, record) redis.call('HSET', RECORDS, place, cjson.encode(record)) end

local function free(place, record)
  redis.call('ZREM', CLAIMED, place)
  redis.call('ZADD', FREE, record.noticed, place)
end

local function forget(place)
  redis.call('HDEL', FAILURES, place)
  redis.call('ZREM', ORDER, place)
end

local function note(place, change, changed, at)
  forget(place)
  local record = read(place)
  if not record then
    record = { noticed = at, attempts = 0 }
    redis.call('ZADD', OWED, at, place)
    redis.call('ZADD', FREE, at, place)
  end
  record.change, record.noted = change, at
  record.generation = redis.call('HINCRBY', COUNTERS, 'generation', 1)
  if changed ~= '' then record.changed = changed end
  write(place, record)
  redis.call('SADD', TENANTS, tenant)
end
`;

/** at, then place, change and changedAt (or empty) of each. */
const NOTE = redisScript(
  `${PRELUDE}
for n = 3, #ARGV, 3 do note(ARGV[n], ARGV[n + 1], ARGV[n + 2], ARGV[2]) end
return 1`,
  { full: 'refuse' },
);

/** at, failedUpTo, limit, token. Answers how many; the same token again, because an answer was lost, is answered the same. */
const RETRY = redisScript(
  `${PRELUDE}
local memory = 'retried:' .. tenant
local before = redis.call('HGET', COUNTERS, memory)
if before and string.sub(before, 1, #ARGV[5]) == ARGV[5] then return tonumber(string.sub(before, #ARGV[5] + 1)) end
local retried = 0
for _, place in ipairs(redis.call('ZRANGE', ORDER, 0, ARGV[4] - 1)) do
  local failure = cjson.decode(redis.call('HGET', FAILURES, place))
  if tonumber(failure.at) > tonumber(ARGV[3]) then break end
  note(place, failure.change, '', ARGV[2])
  retried = retried + 1
end
if retried > 0 then redis.call('HSET', COUNTERS, memory, ARGV[5] .. retried) else redis.call('HDEL', COUNTERS, memory) end
return retried`,
  { full: 'refuse' },
);

/**
 * at, limit, claimMs, soloAfter, token. Answers place and record of each, as they were. The same token again, because an answer was
 * lost, is answered the same.
 */
const TAKE = redisScript(
  `${PRELUDE}
local at, limit, claim, solo = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
for _, place in ipairs(redis.call('ZRANGE', CLAIMED, '-inf', at, 'BYSCORE', 'LIMIT', 0, 1000)) do
  local record = read(place)
  if record then free(place, record) else redis.call('ZREM', CLAIMED, place) end
end
local token, until_ = ARGV[6], string.format('%.0f', at + claim)
local answer = {}
for _, place in ipairs(redis.call('ZRANGE', CLAIMED, until_, until_, 'BYSCORE')) do
  local record = read(place)
  if record and record.token == token then
    record.attempts = record.attempts - 1
    table.insert(answer, place)
    table.insert(answer, cjson.encode(record))
  end
end
if #answer > 0 then return answer end
for n, place in ipairs(redis.call('ZRANGE', FREE, 0, limit - 1)) do
  local record = read(place)
  local isSolo = record.attempts >= solo
  if isSolo and n > 1 then break end
  table.insert(answer, place)
  table.insert(answer, cjson.encode(record))
  record.attempts, record.token = record.attempts + 1, token
  write(place, record)
  redis.call('ZREM', FREE, place)
  redis.call('ZADD', CLAIMED, until_, place)
  if isSolo then break end
end
return answer`,
  { full: 'allow' },
);

/** at, then place, generation and the failure (or empty) of each. */
const SETTLE = redisScript(
  `${PRELUDE}
for n = 3, #ARGV, 3 do
  local place, generation, failure = ARGV[n], tonumber(ARGV[n + 1]), ARGV[n + 2]
  local record = read(place)
  if record and record.generation == generation then
    drop(place)
    if failure ~= '' then
      redis.call('HSET', FAILURES, place, cjson.encode({ change = record.change, failure = failure, at = ARGV[2] }))
      redis.call('ZADD', ORDER, redis.call('HINCRBY', COUNTERS, 'failure', 1), place)
    end
  elseif record and record.generation > generation then
    record.noticed, record.attempts = record.noted, 0
    write(place, record)
    redis.call('ZADD', OWED, record.noticed, place)
    free(place, record)
  end
end
return 1`,
  { full: 'allow' },
);

/** at, then places. */
const GIVE_BACK = redisScript(
  `${PRELUDE}
for n = 3, #ARGV do
  local record = read(ARGV[n])
  if record then
    -- Given back before: that its answer was lost must not count twice.
    if record.token then record.attempts, record.token = math.max(0, record.attempts - 1), nil end
    write(ARGV[n], record)
    redis.call('ZREM', FREE, ARGV[n])
    redis.call('ZADD', CLAIMED, ARGV[2], ARGV[n])
  end
end
return 1`,
  { full: 'allow' },
);

/** at. Answers how many are owed, how many are free, and since when the oldest waits. */
const COUNT = redisScript(
  `${PRELUDE}
local oldest = redis.call('ZRANGE', OWED, 0, 0, 'WITHSCORES')
local free = redis.call('ZCARD', FREE) + redis.call('ZCOUNT', CLAIMED, '-inf', ARGV[2])
return { redis.call('ZCARD', OWED), free, oldest[2] or '0' }`,
  'reads',
);

/** after, limit. Answers number and record of each. */
const FAILURES_AFTER = redisScript(
  `${PRELUDE}
local page = redis.call('ZRANGE', ORDER, '(' .. ARGV[2], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
local answer = {}
for n = 1, #page, 2 do
  table.insert(answer, page[n + 1])
  table.insert(answer, redis.call('HGET', FAILURES, page[n]))
end
return answer`,
  'reads',
);

/** upTo. */
const DROP_TENANT = redisScript(
  `${PRELUDE}
local records = redis.call('HGETALL', RECORDS)
for n = 1, #records, 2 do
  if tonumber(cjson.decode(records[n + 1]).noted) <= tonumber(ARGV[2]) then drop(records[n]) end
end
local failures = redis.call('HGETALL', FAILURES)
for n = 1, #failures, 2 do
  if tonumber(cjson.decode(failures[n + 1]).at) <= tonumber(ARGV[2]) then forget(failures[n]) end
end
return 1`,
  { full: 'allow' },
);

const change = z.string().transform((json) => changeSchema.parse(JSON.parse(json)));
const owedRecord = z.object({
  change,
  generation: z.number(),
  noticed: z.coerce.number(),
  changed: z.coerce.number().optional(),
  attempts: z.number(),
});
const settledFailure = z.object({ code: z.string(), reason: z.string(), eTag: z.string().nullable() });
const failureRecord = z.object({
  change,
  failure: z.string().transform((json) => settledFailure.parse(JSON.parse(json))),
  at: z.coerce.number(),
});

/** Ledger's methods on changes, on Redis. */
export function redisChanges(client: LedgerClient, keys: LedgerKeys) {
  return {
    async noteChanges(tenant: string, noted: { change: Change; changedAt: number | null }[], at: number): Promise<void> {
      if (noted.length === 0) return;
      const args = noted.flatMap(({ change: own, changedAt }) => [changePlace(own), JSON.stringify(own), changedAt ?? '']);
      await client.run(NOTE, keys.changes(tenant), [tenant, at, ...args]);
    },

    async retryChanges(
      tenant: string,
      { limit, failedUpTo, at }: { limit: number; failedUpTo: number; at: number },
    ): Promise<number> {
      return asNumber(await client.run(RETRY, keys.changes(tenant), [tenant, at, failedUpTo, limit, randomUUID()]));
    },

    async takeChanges(
      tenant: string,
      { limit, claimMs, soloAfter, at }: { limit: number; claimMs: number; soloAfter: number; at: number },
    ): Promise<OwedChange[]> {
      const args = [tenant, at, limit, claimMs, soloAfter, randomUUID()];
      return pairs(await client.run(TAKE, keys.changes(tenant), args)).map(([place, json]) => {
        const { change: own, generation, noticed, changed, attempts } = owedRecord.parse(JSON.parse(json));
        return { place, change: own, generation, noticedAt: noticed, changedAt: changed ?? null, attempts: attempts + 1 };
      });
    },

    async settleChanges(tenant: string, settled: SettledChange[], at: number): Promise<void> {
      if (settled.length === 0) return;
      const args = settled.flatMap(({ place, generation, failure }) => [
        place,
        generation,
        failure ? JSON.stringify(failure) : '',
      ]);
      await client.run(SETTLE, keys.changes(tenant), [tenant, at, ...args]);
    },

    async giveBackChanges(tenant: string, places: string[], at: number): Promise<void> {
      if (places.length > 0) await client.run(GIVE_BACK, keys.changes(tenant), [tenant, at, ...places]);
    },

    async owedChanges(at: number) {
      const tenants = asList(await client.call('smembers', keys.changingTenants)).map(asText);
      const counts = await Promise.all(
        tenants.sort().map(async (tenant) => {
          const [owed, free, oldest] = asList(await client.run(COUNT, keys.changes(tenant), [tenant, at])).map(asNumber);
          return { tenant, owed: owed ?? 0, free: free ?? 0, oldestNoticedAt: oldest ?? 0 };
        }),
      );
      return counts.filter(({ owed }) => owed > 0);
    },

    async changeFailures(tenant: string, { after = '0', limit }: { after?: string; limit: number }): Promise<ChangeFailure[]> {
      const page = await client.run(FAILURES_AFTER, keys.changes(tenant), [tenant, after, limit]);
      return pairs(page).map(([cursor, json]) => {
        const { change: own, failure, at } = failureRecord.parse(JSON.parse(json));
        return { cursor, change: own, ...failure, code: failure.code as ErrorCode, failedAt: at };
      });
    },

    async dropChangesOf(tenant: string, upTo: number): Promise<void> {
      await client.run(DROP_TENANT, keys.changes(tenant), [tenant, Math.min(upTo, Number.MAX_SAFE_INTEGER)]);
    },
  };
}

function pairs(reply: unknown): [string, string][] {
  const list = asList(reply).map(asText);
  return list.flatMap((value, n): [string, string][] => (n % 2 === 0 ? [[value, list[n + 1] ?? '']] : []));
}
