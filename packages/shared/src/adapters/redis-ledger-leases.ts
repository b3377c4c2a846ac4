import { randomUUID } from 'node:crypto';
import type { KeyLease } from '../ports/ledger.ts';
import type { LedgerClient } from './redis-ledger-client.ts';
import type { LedgerKeys } from './redis-ledger-keys.ts';
import { asList, asNumber } from './redis-ledger-reply.ts';
import { redisScript } from './redis-ledger-script.ts';

/** ARGV[1] is the time in Unix milliseconds, or empty for Redis' own: one clock for all its clients. */
const PRELUDE = String.raw`
local HOLDERS, EXPIRIES, HELD, VERSION = unpack(KEYS)
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function drop(token)
  local held = redis.call('HGET', HELD, token)
  for _, key in ipairs(held and cmsgpack.unpack(held) or {}) do
    -- Another may have it since.
    if redis.call('HGET', HOLDERS, key) == token then redis.call('HDEL', HOLDERS, key) end
  end
  redis.call('HDEL', HELD, token)
  redis.call('ZREM', EXPIRIES, token)
end

local function lives(token)
  local expiry = redis.call('ZSCORE', EXPIRIES, token)
  return expiry and tonumber(expiry) > now
end
`;

/**
 * now, the token, ttlMs, then keys. Answers the version, then a 1 for each key granted, a 0 for each busy one.
 *
 * The version is never below a million for each second of the clock: a Redis that was restored from an old copy, or lost its
 * last second, still hands out larger ones than before, and the same goes for an index that outlives its ledger.
 */
const LEASE = redisScript(
  `${PRELUDE}
-- Each lease adds one and clears up to a hundred that ran out, so that they do not pile up.
for _, token in ipairs(redis.call('ZRANGE', EXPIRIES, '-inf', string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, 100)) do drop(token) end
local token, answer, granted = ARGV[2], {}, {}
for n = 4, #ARGV do
  local holder = redis.call('HGET', HOLDERS, ARGV[n])
  if holder and holder ~= token and lives(holder) then
    table.insert(answer, 0)
  else
    redis.call('HSET', HOLDERS, ARGV[n], token)
    table.insert(granted, ARGV[n])
    table.insert(answer, 1)
  end
end
if #granted > 0 then
  redis.call('HSET', HELD, token, cmsgpack.pack(granted))
  redis.call('ZADD', EXPIRIES, string.format('%.0f', now + ARGV[3]), token)
end
local version = math.max(tonumber(redis.call('GET', VERSION) or 0) + 1, now * 1000)
redis.call('SET', VERSION, string.format('%.0f', version))
table.insert(answer, 1, string.format('%.0f', version))
return answer`,
  { full: 'allow' },
);

/** now, the token, ttlMs. */
const RENEW = redisScript(
  `${PRELUDE}
if not lives(ARGV[2]) then return 0 end
redis.call('ZADD', EXPIRIES, string.format('%.0f', now + ARGV[3]), ARGV[2])
return 1`,
  { full: 'allow' },
);

/** now, the token. */
const RELEASE = redisScript(`${PRELUDE}\ndrop(ARGV[2])\nreturn 1`, { full: 'allow' });

/** Ledger's methods on leases, on Redis. `now`: for tests; without it Redis' own clock counts. */
export function redisLeases(client: LedgerClient, { leases }: LedgerKeys, now: (() => number) | undefined) {
  const keys = [leases.holders, leases.expiries, leases.held, leases.version];
  const time = (): number | '' => now?.() ?? '';

  return {
    async leaseKeys(wanted: string[], { ttlMs }: { ttlMs: number }): Promise<KeyLease> {
      const unique = [...new Set(wanted)];
      const token = randomUUID();
      const [version, ...answers] = asList(await client.run(LEASE, keys, [time(), token, ttlMs, ...unique]));
      const isGranted = (_: string, n: number): boolean => answers[n] === 1;
      return {
        token,
        version: asNumber(version),
        granted: unique.filter(isGranted),
        busy: unique.filter((key, n) => !isGranted(key, n)),
      };
    },

    async renewKeys(token: string, { ttlMs }: { ttlMs: number }): Promise<boolean> {
      return (await client.run(RENEW, keys, [time(), token, ttlMs])) === 1;
    },

    async releaseKeys(token: string): Promise<void> {
      await client.run(RELEASE, keys, [time(), token]);
    },
  };
}
