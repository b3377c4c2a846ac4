import { redisScript } from './redis-ledger-script.ts';

/** KEYS: records, order, current, writing. ARGV: id, createdAt, whether it is over, record. */
export const ADD_MIGRATION = redisScript(
  `
local there = redis.call('HGET', KEYS[1], ARGV[1])
if there then return there == ARGV[4] and 1 or 0 end
if redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
if ARGV[3] == '0' then redis.call('SET', KEYS[3], ARGV[1]) end
return 1`,
  { full: 'refuse' },
);

/** KEYS: records, order, current, writing. ARGV: id, revision, whether it is over, record, whether there is a writing, version, mirror, closed. */
export const CHANGE_MIGRATION = redisScript(
  `
local there = redis.call('HGET', KEYS[1], ARGV[1])
if not there then return 0 end
if there == ARGV[4] then return 1 end
if tonumber(cjson.decode(there).revision) ~= tonumber(ARGV[2]) - 1 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
if ARGV[3] == '1' and redis.call('GET', KEYS[3]) == ARGV[1] then redis.call('DEL', KEYS[3]) end
if ARGV[5] == '1' then redis.call('HSET', KEYS[4], 'version', ARGV[6], 'mirror', ARGV[7], 'closed', ARGV[8]) end
return 1`,
  { full: 'allow' },
);

/**
 * What a version is owed. A point's state is "generation hold claim holder": its turn is the later of hold and claim, and the writer
 * that holds it is known by the generation it was noted under. One that failed has no turn.
 */
const OWED = `
local function number(value) return string.format('%.0f', value) end
local function put(name, generation, hold, claim, holder)
  local state = number(generation) .. ' ' .. number(hold) .. ' ' .. number(claim) .. ' ' .. number(holder)
  redis.call('HSET', COPIES, name, state)
  redis.call('ZADD', TURNS, number(math.max(hold, claim)), name)
end
local function state(name)
  local text = redis.call('HGET', COPIES, name)
  if not text then return nil end
  local generation, hold, claim, holder = string.match(text, '^(%d+) (%d+) (%d+) (%d+)$')
  return tonumber(generation), tonumber(hold), tonumber(claim), tonumber(holder)
end
local function owe(from, hold, isWrite)
  local generation = redis.call('INCR', GENERATION)
  for n = from, #ARGV do
    local _, before, claim, holder = state(ARGV[n])
    put(ARGV[n], generation, math.max(before or 0, hold), claim or 0, isWrite and generation or holder or 0)
    redis.call('HDEL', FAILED, ARGV[n])
  end
  return generation
end
`;

/** KEYS: writing, then those of the mirror. ARGV: version, mirror, heldUntil, names. Answers the generation; -1 when the writing changed. */
export const NOTE_WRITES = redisScript(
  `local WRITING, GENERATION, TURNS, COPIES, FAILED = unpack(KEYS)
${OWED}
local writing = redis.call('HMGET', WRITING, 'version', 'mirror')
if writing[1] ~= ARGV[1] or writing[2] ~= ARGV[2] then return -1 end
return owe(4, tonumber(ARGV[3]), true)`,
  { full: 'refuse' },
);

const PRELUDE = `local GENERATION, TURNS, COPIES, FAILED = unpack(KEYS)\n${OWED}`;

/** ARGV: generation, at, names. */
export const FREE_WRITES = redisScript(
  `${PRELUDE}
local missing = nil
for n = 3, #ARGV do
  local generation, hold, claim, holder = state(ARGV[n])
  if not generation then
    missing = missing or redis.call('INCR', GENERATION)
    put(ARGV[n], missing, tonumber(ARGV[2]), 0, 0)
    redis.call('HDEL', FAILED, ARGV[n])
  elseif holder == tonumber(ARGV[1]) and redis.call('HEXISTS', FAILED, ARGV[n]) == 0 then
    put(ARGV[n], generation, tonumber(ARGV[2]), claim, holder)
  end
end
return 1`,
  { full: 'allow' },
);

/** ARGV: at, names. */
export const OWE_COPIES = redisScript(`${PRELUDE}\nreturn owe(2, tonumber(ARGV[1]), false)`, { full: 'refuse' });

/** ARGV: limit, claimMs, at. Answers name and generation of each. */
export const TAKE_COPIES = redisScript(
  `${PRELUDE}
local taken = {}
for _, name in ipairs(redis.call('ZRANGE', TURNS, '-inf', ARGV[3], 'BYSCORE', 'LIMIT', 0, ARGV[1])) do
  local generation, hold, _, holder = state(name)
  put(name, generation, hold, tonumber(ARGV[3]) + tonumber(ARGV[2]), holder)
  table.insert(taken, { name, generation })
end
return taken`,
  { full: 'allow' },
);

/** ARGV: for each a name, the generation, when to try again or nothing, the failure or nothing. */
export const SETTLE_COPIES = redisScript(
  `${PRELUDE}
for n = 1, #ARGV, 4 do
  local name = ARGV[n]
  local generation, hold, claim, holder = state(name)
  if generation then
    if generation ~= tonumber(ARGV[n + 1]) then
      if redis.call('HEXISTS', FAILED, name) == 0 then put(name, generation, hold, 0, holder) end
    elseif ARGV[n + 3] ~= '' then
      redis.call('HSET', FAILED, name, ARGV[n + 3])
      put(name, generation, hold, 0, holder)
      redis.call('ZREM', TURNS, name)
    elseif ARGV[n + 2] ~= '' then
      put(name, generation, hold, tonumber(ARGV[n + 2]), holder)
    else
      redis.call('ZREM', TURNS, name)
      redis.call('HDEL', COPIES, name)
    end
  end
end
return 1`,
  { full: 'allow' },
);

/** ARGV: at. */
export const RETRY_COPIES = redisScript(
  `${PRELUDE}
for _, name in ipairs(redis.call('HKEYS', FAILED)) do
  put(name, state(name) or 0, tonumber(ARGV[1]), 0, 0)
end
redis.call('DEL', FAILED)
return 1`,
  { full: 'allow' },
);

export const DROP_COPIES = redisScript(
  `local GENERATION, TURNS, COPIES, FAILED = unpack(KEYS)
redis.call('DEL', TURNS, COPIES, FAILED)
return 1`,
  { full: 'allow' },
);
