import { redisScript } from './redis-ledger-script.ts';

/**
 * Names for the keys in the order of LedgerKeys.ingestion, and the steps that several scripts have in common. ARGV[1] is
 * always the ingestion's id.
 */
export const PRELUDE = String.raw`
local RECORD, BY_STATUS, BY_TENANT, ENDED, LATEST, OWED, OWED_BY_TENANT, CHUNKS, TAKEN, SUSPECTS, OWED_OF, FAILURES, ORDER, RETRIED = unpack(KEYS)
local id = ARGV[1]

local function list_under(status)
  local tenant, created = unpack(redis.call('HMGET', RECORD, 'tenantTag', 'createdAt'))
  local place = string.format('%s/%016.0f/%s', status, created, id)
  redis.call('ZADD', BY_STATUS, 0, place)
  redis.call('ZADD', BY_TENANT, 0, tenant .. '/' .. place)
end

local function unlist()
  local tenant, created, status = unpack(redis.call('HMGET', RECORD, 'tenantTag', 'createdAt', 'status'))
  local place = string.format('%s/%016.0f/%s', status, created, id)
  redis.call('ZREM', BY_STATUS, place)
  redis.call('ZREM', BY_TENANT, tenant .. '/' .. place)
end

local function set_status(status)
  unlist()
  redis.call('HSET', RECORD, 'status', status)
  list_under(status)
end

local function set_or_drop(field, value)
  if value then redis.call('HSET', RECORD, field, value) else redis.call('HDEL', RECORD, field) end
end

local function owe(chunks)
  local tenant = redis.call('HGET', RECORD, 'tenantTag')
  if redis.call('HINCRBY', OWED_BY_TENANT, tenant, chunks) <= 0 then redis.call('HDEL', OWED_BY_TENANT, tenant) end
end

local function drop_chunks()
  local numbers = redis.call('ZRANGE', OWED_OF, 0, -1)
  for _, number in ipairs(numbers) do redis.call('ZREM', OWED, id .. '/' .. number) end
  if #numbers > 0 then owe(-#numbers) end
  redis.call('UNLINK', CHUNKS, TAKEN, SUSPECTS, OWED_OF)
end
`;

/** created (16 digits), tenant's tag, source's key, dry run (1 or empty), then names and values of the record. */
export const CREATE = redisScript(
  `${PRELUDE}
if redis.call('EXISTS', RECORD) == 0 then
  redis.call('HSET', RECORD, unpack(ARGV, 6))
  list_under('planning')
  if ARGV[5] == '' then
    local source, place = ARGV[3] .. '/' .. ARGV[4], ARGV[2] .. '/' .. id
    local latest = redis.call('HGET', LATEST, source)
    if not latest or latest < place then redis.call('HSET', LATEST, source, place) end
  end
end
return redis.call('HGETALL', RECORD)`,
  { full: 'refuse' },
);

/** the call's id, `to`, finishedAt or empty, 1 with a reason, the reason, then `from`. -1: there is no such ingestion. */
export const SET_STATUS = redisScript(
  `${PRELUDE}
if redis.call('EXISTS', RECORD) == 0 then return -1 end
local status, hold, call = unpack(redis.call('HMGET', RECORD, 'status', 'hold', 'call'))
-- A cluster's client sends a command again whose answer was lost.
if call == ARGV[2] then return 1 end
local to, ends = ARGV[3], ARGV[4] ~= ''
if hold and not ends then return 0 end
local found = false
for at = 7, #ARGV do found = found or ARGV[at] == status end
if not found then return 0 end
set_status(to)
redis.call('HSET', RECORD, 'call', ARGV[2])
set_or_drop('reason', ARGV[5] == '1' and ARGV[6])
set_or_drop('finishedAt', ends and ARGV[4])
redis.call('HDEL', RECORD, 'hold')
if ends then redis.call('ZADD', ENDED, ARGV[4], id) else redis.call('ZREM', ENDED, id) end
if to == 'cancelled' then drop_chunks() end
return 1`,
  { full: 'allow' },
);

/** the call's id, the hold or empty, 1 with a reason, the reason. -1: there is no such ingestion. */
export const SET_HOLD = redisScript(
  `${PRELUDE}
if redis.call('EXISTS', RECORD) == 0 then return -1 end
local status, hold, call, planned = unpack(redis.call('HMGET', RECORD, 'status', 'hold', 'call', 'planned'))
if call == ARGV[2] then return 1 end
if ARGV[3] ~= '' then
  if hold or not (status == 'planning' or status == 'running' or status == 'paused') then return 0 end
  set_status('paused')
else
  if status ~= 'paused' then return 0 end
  set_status(planned and 'running' or 'planning')
end
redis.call('HSET', RECORD, 'call', ARGV[2])
set_or_drop('hold', ARGV[3] ~= '' and ARGV[3])
set_or_drop('reason', ARGV[4] == '1' and ARGV[5])
return 1`,
  { full: 'allow' },
);

/** the cursor. Answers how many failures there are; -1: there is no such ingestion. */
export const REOPEN = redisScript(
  `${PRELUDE}
if redis.call('EXISTS', RECORD) == 0 then return -1 end
local status, cursor = unpack(redis.call('HMGET', RECORD, 'status', 'cursor'))
local failures = redis.call('ZCARD', ORDER)
if status == 'planning' and cursor == ARGV[2] then return failures end
if failures == 0 or not (status == 'completed' or status == 'failed' or status == 'cancelled') then return 0 end
set_status('planning')
redis.call('HSET', RECORD, 'cursor', ARGV[2])
redis.call('HDEL', RECORD, 'planned', 'reason', 'finishedAt')
redis.call('ZREM', ENDED, id)
return failures`,
  { full: 'refuse' },
);

export const FINISH_PLANNING = redisScript(
  `${PRELUDE}
if redis.call('EXISTS', RECORD) == 0 then return -1 end
redis.call('HSET', RECORD, 'planned', 1)
return 1`,
  { full: 'allow' },
);

/**
 * Drops an ingestion: with a time, only one that ended before it and is not its source's newest. Answers how many failures went
 * with it, -1 when it stays or is not there.
 */
export const DROP_INGESTION = redisScript(
  `${PRELUDE}
if redis.call('EXISTS', RECORD) == 0 then
  redis.call('ZREM', ENDED, id)
  return -1
end
local finished, created, dry, tenant, source = unpack(redis.call('HMGET', RECORD, 'finishedAt', 'createdAt', 'dryRun', 'tenantTag', 'sourceKey'))
local latest = tenant .. '/' .. source
local isLatest = redis.call('HGET', LATEST, latest) == string.format('%016.0f/%s', created, id)
if ARGV[2] ~= '' then
  if not finished or tonumber(finished) >= tonumber(ARGV[2]) then return -1 end
  if isLatest then return -1 end
end
drop_chunks()
unlist()
if isLatest then redis.call('HDEL', LATEST, latest) end
redis.call('ZREM', ENDED, id)
local failures = redis.call('ZCARD', ORDER)
redis.call('UNLINK', RECORD, FAILURES, ORDER, RETRIED)
return failures`,
  { full: 'allow' },
);
