import { PRELUDE } from './redis-ledger-ingestion-scripts.ts';
import { redisScript } from './redis-ledger-script.ts';

/** Failures stand in ARGV in fours: key, code, reason, and the eTag behind a `=`, or nothing. */
const FAIL = String.raw`
local function fail(first, at)
  for n = first, #ARGV, 4 do
    local key, attempts = ARGV[n], 1
    local number = redis.call('ZSCORE', ORDER, key)
    if not number then
      -- One that was tried again has its old place.
      number = redis.call('ZSCORE', RETRIED, key)
      if number then redis.call('ZREM', RETRIED, key) else number = redis.call('HINCRBY', RECORD, 'failureNo', 1) end
      redis.call('ZADD', ORDER, number, key)
    end
    local field = string.format('%.0f', number)
    local before = redis.call('HGET', FAILURES, field)
    if before then attempts = cmsgpack.unpack(before)[4] + 1 end
    redis.call('HSET', FAILURES, field, cmsgpack.pack({ARGV[n + 1], ARGV[n + 2], ARGV[n + 3], attempts, tonumber(at)}))
  end
  return math.max(0, math.floor((#ARGV - first + 1) / 4))
end
`;

/**
 * the chunk's number, ten digits of it, at, listed, the cursor, entries or empty, the cursor before behind a `=` or nothing, how
 * many are tried again, these, then failures. -1: there is no such ingestion, -2: it is not yet this chunk's turn, -3: another
 * planner went on.
 */
export const ADD_CHUNK = redisScript(
  `${PRELUDE}${FAIL}
if redis.call('EXISTS', RECORD) == 0 then return -1 end
local number, status, cursor = unpack(redis.call('HMGET', RECORD, 'nextChunkNo', 'status', 'cursor'))
if tonumber(ARGV[2]) == tonumber(number) - 1 and cursor == ARGV[6] then return 0 end
if tonumber(ARGV[2]) > tonumber(number) then return -2 end
if tonumber(ARGV[2]) < tonumber(number) or (cursor and '=' .. cursor or '') ~= ARGV[8] then return -3 end
local at, retries = ARGV[4], tonumber(ARGV[9])
-- A planner that has not yet heard that it is cancelled must not leave behind what nobody would ever work.
if ARGV[7] ~= '' and status ~= 'cancelled' then
  redis.call('HSET', CHUNKS, ARGV[2], ARGV[7])
  redis.call('ZADD', OWED_OF, at, ARGV[3])
  redis.call('ZADD', OWED, at, id .. '/' .. ARGV[3])
  owe(1)
end
local taken = 0
for n = 10, 9 + retries do
  local no = redis.call('ZSCORE', ORDER, ARGV[n])
  if no then
    redis.call('ZREM', ORDER, ARGV[n])
    redis.call('ZADD', RETRIED, no, ARGV[n])
    taken = taken + 1
  end
end
local failed = fail(10 + retries, at)
redis.call('HINCRBY', RECORD, 'nextChunkNo', 1)
redis.call('HSET', RECORD, 'cursor', ARGV[6])
redis.call('HINCRBY', RECORD, 'listed', ARGV[5])
redis.call('HINCRBY', RECORD, 'failed', failed - taken)
return 1`,
  { full: 'refuse' },
);

/** the chunk's number, ten digits of it, the call's id. Entries, addedAt, attempts; nothing when it is complete. */
export const TAKE_CHUNK = redisScript(
  `${PRELUDE}
local entries = redis.call('HGET', CHUNKS, ARGV[2])
if not entries then return {} end
local taken = redis.call('HGET', TAKEN, ARGV[2])
local attempts, call = 0, ''
if taken then attempts, call = unpack(cmsgpack.unpack(taken)) end
if call ~= ARGV[4] then
  attempts = attempts + 1
  redis.call('HSET', TAKEN, ARGV[2], cmsgpack.pack({attempts, ARGV[4]}))
end
return {entries, redis.call('ZSCORE', OWED_OF, ARGV[3]), tostring(attempts)}`,
  { full: 'allow' },
);

/** the chunk's number, the call's id. */
export const GIVE_BACK_CHUNK = redisScript(
  `${PRELUDE}
local taken = redis.call('HGET', TAKEN, ARGV[2])
if not taken then return 0 end
local attempts, call = unpack(cmsgpack.unpack(taken))
if call == ARGV[3] then return 0 end
redis.call('HSET', TAKEN, ARGV[2], cmsgpack.pack({math.max(attempts - 1, 0), ARGV[3]}))
return 1`,
  { full: 'allow' },
);

/** the chunk's number, the key, who asks. 0: it stands there already, and was not written by who asks. */
export const ADD_SUSPECT = redisScript(
  `${PRELUDE}
if redis.call('HEXISTS', CHUNKS, ARGV[2]) == 0 then return 1 end
local packed = redis.call('HGET', SUSPECTS, ARGV[2])
local suspects = packed and cmsgpack.unpack(packed) or {}
for n = 1, #suspects, 2 do
  if suspects[n] == ARGV[3] then return suspects[n + 1] == ARGV[4] and 1 or 0 end
end
table.insert(suspects, ARGV[3])
table.insert(suspects, ARGV[4])
redis.call('HSET', SUSPECTS, ARGV[2], cmsgpack.pack(suspects))
return 1`,
  { full: 'allow' },
);

/** the chunk's number, the key. */
export const CLEAR_SUSPECT = redisScript(
  `${PRELUDE}
local packed = redis.call('HGET', SUSPECTS, ARGV[2])
if not packed then return 0 end
local suspects, kept = cmsgpack.unpack(packed), {}
for n = 1, #suspects, 2 do
  if suspects[n] ~= ARGV[3] then
    table.insert(kept, suspects[n])
    table.insert(kept, suspects[n + 1])
  end
end
if #kept == 0 then redis.call('HDEL', SUSPECTS, ARGV[2]) else redis.call('HSET', SUSPECTS, ARGV[2], cmsgpack.pack(kept)) end
return 1`,
  { full: 'allow' },
);

/** the chunk's number, ten digits of it, at, indexed, unchanged, duplicate, then failures. */
export const COMPLETE_CHUNK = redisScript(
  `${PRELUDE}${FAIL}
if redis.call('HDEL', CHUNKS, ARGV[2]) == 0 then return 0 end
redis.call('HDEL', TAKEN, ARGV[2])
redis.call('HDEL', SUSPECTS, ARGV[2])
redis.call('ZREM', OWED_OF, ARGV[3])
redis.call('ZREM', OWED, id .. '/' .. ARGV[3])
owe(-1)
local failed = fail(8, ARGV[4])
redis.call('HINCRBY', RECORD, 'indexed', ARGV[5])
redis.call('HINCRBY', RECORD, 'unchanged', ARGV[6])
redis.call('HINCRBY', RECORD, 'duplicate', ARGV[7])
redis.call('HINCRBY', RECORD, 'failed', failed)
return 1`,
  { full: 'allow' },
);

/** KEYS[1]: what is owed, in order. A page after a member and its score, or from the start. */
export const OWED_PAGE = redisScript(
  `
local first = 0
if ARGV[1] ~= '' then
  local rank = redis.call('ZRANK', KEYS[1], ARGV[1])
  -- It is done meanwhile: again from the first of its time.
  first = rank and rank + 1 or redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. ARGV[2])
end
return redis.call('ZRANGE', KEYS[1], first, first + ARGV[3] - 1, 'WITHSCORES')`,
  'reads',
);

/** after which number, how many. Keys, numbers and what failures() and failedObjects() say of each; -1: no such ingestion. */
export const FAILURES_PAGE = redisScript(
  `${PRELUDE}
if redis.call('EXISTS', RECORD) == 0 then return -1 end
local found = redis.call('ZRANGE', ORDER, '(' .. ARGV[2], '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[3], 'WITHSCORES')
local page = {}
for n = 1, #found, 2 do
  local number = string.format('%.0f', found[n + 1])
  local code, reason, eTag, attempts, at = unpack(cmsgpack.unpack(redis.call('HGET', FAILURES, number)))
  table.insert(page, {found[n], number, code, reason, eTag, tostring(attempts), string.format('%.0f', at)})
end
return page`,
  'reads',
);
