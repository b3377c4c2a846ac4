import { outboxPrelude } from './redis-ledger-outbox-scripts.ts';
import { redisScript } from './redis-ledger-script.ts';

/** A lapsed claim is rare: so many are looked through for the oldest question. */
const MAX_LAPSED = 5_000;

/** How many keys stand before the outbox's, where a script has both. */
const OWN_KEYS = 15;

/** Names for the keys: LedgerKeys.questions.shared, then those of one question. What is JSON in a record is opaque here. */
const NAMES = String.raw`
local PLACES, QUEUED, CLAIMED, UNFINISHED, FINISHED, RECHECK, CITING, KEPT, KEPT_UNTIL, REVIEWED, REVIEW_PLACES = unpack(KEYS)
local RECORD, EVENTS, PROMPT, REVIEWS = unpack(KEYS, 12)
local function place(tag, status, created, id) return string.format('%s/%s/%016.0f/%s', tag, status, created, id) end
`;

/** The same with a question's id in ARGV[1]. */
export const QUESTION_PRELUDE = String.raw`${NAMES}
local id = ARGV[1]
local status, tag, created = unpack(redis.call('HMGET', RECORD, 'status', 'tag', 'createdAt'))

local function set_status(to)
  redis.call('ZREM', PLACES, place(tag, status, created, id))
  redis.call('ZADD', PLACES, 0, place(tag, to, created, id))
  redis.call('HSET', RECORD, 'status', to)
end

local function is_held_by(token) return status == 'running' and redis.call('HGET', RECORD, 'token') == token end

-- Its last event last.
local function finish(to, at, done)
  set_status(to)
  for _, set in ipairs({ QUEUED, CLAIMED, UNFINISHED }) do redis.call('ZREM', set, id) end
  redis.call('ZADD', FINISHED, at, id)
  redis.call('HSET', RECORD, 'finishedAt', at)
  redis.call('HDEL', RECORD, 'token')
  redis.call('RPUSH', EVENTS, done)
end

-- The place of a reviewed question among those of its tenant.
local function review_place(at) return string.format('%s/%016.0f/%s', tag, at, id) end

local function forget_citations()
  for asset in string.gmatch(redis.call('HGET', RECORD, 'cited') or '', '%S+') do
    redis.call('ZREM', CITING, tag .. '/' .. asset .. '/' .. id)
  end
end
`;

const WITH_OUTBOX = `${QUESTION_PRELUDE}${outboxPrelude(OWN_KEYS + 1)}`;

/**
 * the id, the call's id, the tenant's tag, createdAt, maxBacklog, the place of the idempotency key or empty, its digest, until
 * when it is kept, the most of the tenant, then names and values of the record. Answers what came of it, which question, and how
 * many other ones of the tenant are not finished.
 */
export const CREATE_QUESTION = redisScript(
  `${QUESTION_PRELUDE}
local call, own_tag, at, key = ARGV[2], ARGV[3], ARGV[4], ARGV[6]
local function unfinished_but(known)
  local count = 0
  for _, status in ipairs({ 'queued', 'running' }) do
    count = count + redis.call('ZLEXCOUNT', PLACES, '[' .. own_tag .. '/' .. status .. '/', '(' .. own_tag .. '/' .. status .. '0')
  end
  return redis.call('ZSCORE', UNFINISHED, known) and count - 1 or count
end
if key ~= '' then
  local kept = redis.call('HGET', KEPT, key)
  local digest, until_, known = unpack(kept and cmsgpack.unpack(kept) or {})
  if kept and tonumber(until_) > tonumber(at) then
    if digest ~= ARGV[7] then return { 'reused', id, 0 } end
    if known ~= id then return { 'there', known, unfinished_but(known) } end
  end
end
if status then
  if tag ~= own_tag then return { 'foreign', id, 0 } end
  -- A cluster's client sends a command again whose answer was lost.
  return { redis.call('HGET', RECORD, 'call') == call and 'new' or 'there', id, unfinished_but(id) }
end
if redis.call('ZCARD', UNFINISHED) >= tonumber(ARGV[5]) or unfinished_but('') >= tonumber(ARGV[9]) then return { 'full', id, 0 } end
redis.call('HSET', RECORD, 'tag', own_tag, 'createdAt', at, 'status', 'queued', 'attempts', 0, 'call', call, unpack(ARGV, 10))
redis.call('ZADD', PLACES, 0, place(own_tag, 'queued', at, id))
redis.call('ZADD', QUEUED, at, id)
redis.call('ZADD', UNFINISHED, at, id)
if key ~= '' then
  redis.call('HSET', RECORD, 'key', key)
  redis.call('HSET', KEPT, key, cmsgpack.pack({ ARGV[7], ARGV[8], id }))
  redis.call('ZADD', KEPT_UNTIL, ARGV[8], key)
end
return { 'new', id, unfinished_but(id) }`,
  { full: 'refuse' },
);

/** the id, the token, claimMs, at. Answers the record. Under the same token it is the same taking. */
export const TAKE_QUESTION = redisScript(
  `${QUESTION_PRELUDE}
local token, at = ARGV[2], tonumber(ARGV[4])
if status ~= 'queued' and status ~= 'running' then return false end
if not is_held_by(token) then
  if status == 'running' and tonumber(redis.call('ZSCORE', CLAIMED, id)) > at then return false end
  redis.call('HINCRBY', RECORD, 'attempts', 1)
end
if status == 'queued' then set_status('running') end
redis.call('HSET', RECORD, 'token', token)
redis.call('HSETNX', RECORD, 'startedAt', ARGV[4])
redis.call('ZREM', QUEUED, id)
redis.call('ZADD', CLAIMED, string.format('%.0f', at + ARGV[3]), id)
return redis.call('HGETALL', RECORD)`,
  { full: 'allow' },
);

/** the id, the token, claimMs, at. */
export const RENEW_QUESTION = redisScript(
  `${QUESTION_PRELUDE}
if status == 'cancelled' then return 'cancelled' end
if not is_held_by(ARGV[2]) then return 'lost' end
redis.call('ZADD', CLAIMED, string.format('%.0f', ARGV[4] + ARGV[3]), id)
return 'held'`,
  { full: 'allow' },
);

/** the id, the token. */
export const GIVE_BACK_QUESTION = redisScript(
  `${QUESTION_PRELUDE}
if not is_held_by(ARGV[2]) then return 0 end
set_status('queued')
redis.call('HDEL', RECORD, 'token')
redis.call('HINCRBY', RECORD, 'attempts', -1)
redis.call('ZREM', CLAIMED, id)
redis.call('ZADD', QUEUED, created, id)
return 1`,
  { full: 'allow' },
);

/** the id, the token, the call's id, events. */
export const ADD_QUESTION_EVENTS = redisScript(
  `${QUESTION_PRELUDE}
if not is_held_by(ARGV[2]) then return 0 end
if redis.call('HGET', RECORD, 'call') == ARGV[3] then return 1 end
redis.call('HSET', RECORD, 'call', ARGV[3])
for n = 4, #ARGV do redis.call('RPUSH', EVENTS, ARGV[n]) end
return 1`,
  { full: 'allow' },
);

/** the id, the tenant's tag, after, limit. */
export const READ_QUESTION_EVENTS = redisScript(
  `${QUESTION_PRELUDE}
if tag ~= ARGV[2] then return {} end
return redis.call('LRANGE', EVENTS, ARGV[3], ARGV[3] + ARGV[4] - 1)`,
  'reads',
);

/**
 * the id, the token, the call's id, at, the status then, the name and value of what came of it, the prompt or empty, how many
 * events, these, how many assets are cited, these, then the message. Answers the deliveries' ids.
 */
export const FINISH_QUESTION = redisScript(
  `${WITH_OUTBOX}
local call, at, to, prompt, events = ARGV[3], ARGV[4], ARGV[5], ARGV[8], tonumber(ARGV[9])
local cited = tonumber(ARGV[10 + events])
local message = 11 + events + cited
if redis.call('HGET', RECORD, 'call') == call then return put_message(message, call) end
if not is_held_by(ARGV[2]) then return false end
for n = 10, 8 + events do redis.call('RPUSH', EVENTS, ARGV[n]) end
finish(to, at, ARGV[9 + events])
redis.call('HSET', RECORD, 'call', call, ARGV[6], ARGV[7])
if prompt ~= '' then redis.call('SET', PROMPT, prompt) end
if cited > 0 then
  redis.call('HSET', RECORD, 'cited', table.concat(ARGV, ' ', 11 + events, 10 + events + cited))
  for n = 11 + events, 10 + events + cited do redis.call('ZADD', CITING, 0, tag .. '/' .. ARGV[n] .. '/' .. id) end
  redis.call('ZADD', RECHECK, at, id)
end
return put_message(message, call)`,
  { full: 'allow' },
);

/** the id, the tenant's tag, at, the last event. Answers the status then. */
export const CANCEL_QUESTION = redisScript(
  `${QUESTION_PRELUDE}
if not status or tag ~= ARGV[2] then return false end
if status ~= 'queued' and status ~= 'running' then return status end
finish('cancelled', ARGV[3], ARGV[4])
return 'cancelled'`,
  { full: 'allow' },
);

/** the id, the call's id, at, the message. Answers the deliveries' ids. */
export const MARK_STALE = redisScript(
  `${WITH_OUTBOX}
if redis.call('HGET', RECORD, 'call') == ARGV[2] then return put_message(4, ARGV[2]) end
if status ~= 'answered' or redis.call('HEXISTS', RECORD, 'staleAt') == 1 then return false end
redis.call('HSET', RECORD, 'staleAt', ARGV[3], 'call', ARGV[2])
-- Only those that are not stale yet are looked for.
forget_citations()
return put_message(4, ARGV[2])`,
  { full: 'allow' },
);

/** Of a question that is dropped nothing is left, its idempotency key included. */
const DROP = String.raw`
local reviewed = redis.call('HGET', RECORD, 'reviewedAt')
for _, set in ipairs({ QUEUED, CLAIMED, UNFINISHED, FINISHED, RECHECK, REVIEWED }) do redis.call('ZREM', set, id) end
if not status then return 0 end
if reviewed then redis.call('ZREM', REVIEW_PLACES, review_place(reviewed)) end
redis.call('ZREM', PLACES, place(tag, status, created, id))
forget_citations()
local key = redis.call('HGET', RECORD, 'key')
local kept = key and redis.call('HGET', KEPT, key)
if kept and cmsgpack.unpack(kept)[3] == id then
  redis.call('HDEL', KEPT, key)
  redis.call('ZREM', KEPT_UNTIL, key)
end
return redis.call('UNLINK', RECORD, EVENTS, PROMPT, REVIEWS)
`;

/** the id. */
export const DROP_QUESTION = redisScript(`${QUESTION_PRELUDE}${DROP}`, { full: 'allow' });

/**
 * the id, before, reviewedBefore. Drops it if it is still over: since its id was read it may have been reviewed. Answers `kept`
 * where it stays; one that is gone already is no such.
 */
export const PRUNE_QUESTION = redisScript(
  `${QUESTION_PRELUDE}
local function ended_before(set, time)
  local at = redis.call('ZSCORE', set, id)
  return at and tonumber(at) < tonumber(time)
end
if status and not ended_before(FINISHED, ARGV[2]) and not ended_before(REVIEWED, ARGV[3]) then return 'kept' end
${DROP}`,
  { full: 'allow' },
);

/** at, limit. Ids of what is queued, or runs under a lapsed claim, oldest first. */
export const OWED_QUESTIONS = redisScript(
  `${NAMES}
local owed = {}
local queued = redis.call('ZRANGE', QUEUED, 0, ARGV[2] - 1, 'WITHSCORES')
for n = 1, #queued, 2 do table.insert(owed, { queued[n], tonumber(queued[n + 1]) }) end
for _, id in ipairs(redis.call('ZRANGE', CLAIMED, '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ${MAX_LAPSED})) do
  table.insert(owed, { id, tonumber(redis.call('ZSCORE', UNFINISHED, id)) })
end
table.sort(owed, function(a, b) return a[2] < b[2] or (a[2] == b[2] and a[1] < b[1]) end)
local ids = {}
for n = 1, math.min(#owed, tonumber(ARGV[2])) do ids[n] = owed[n][1] end
return ids`,
  'reads',
);

/** How many are queued, how many run, and since when the oldest waits. */
export const COUNT_QUESTIONS = redisScript(
  `${NAMES}
local oldest = redis.call('ZRANGE', UNFINISHED, 0, 0, 'WITHSCORES')
return { redis.call('ZCARD', QUEUED), redis.call('ZCARD', CLAIMED), oldest[2] or '' }`,
  'reads',
);

/** the tenant's tag, after which place or empty, limit, statuses. Ids, newest first. */
export const LIST_QUESTIONS = redisScript(
  `${NAMES}
local found, limit = {}, tonumber(ARGV[3])
for n = 4, #ARGV do
  local prefix = ARGV[1] .. '/' .. ARGV[n]
  local before = ARGV[2] == '' and '(' .. prefix .. '0' or '(' .. prefix .. '/' .. ARGV[2]
  for _, member in ipairs(redis.call('ZRANGE', PLACES, before, '[' .. prefix .. '/', 'BYLEX', 'REV', 'LIMIT', 0, limit)) do
    table.insert(found, string.sub(member, #prefix + 2))
  end
end
table.sort(found, function(a, b) return a > b end)
local places = {}
for n = 1, math.min(#found, limit) do places[n] = found[n] end
return places`,
  'reads',
);

/** at, limit. */
export const PRUNE_KEPT = redisScript(
  `${NAMES}
local page = redis.call('ZRANGE', KEPT_UNTIL, '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
for _, key in ipairs(page) do
  redis.call('HDEL', KEPT, key)
  redis.call('ZREM', KEPT_UNTIL, key)
end
return #page`,
  { full: 'allow' },
);

/** KEYS: records of questions. Names and values of each. */
export const READ_QUESTIONS = redisScript(
  `
local answer = {}
for n, key in ipairs(KEYS) do answer[n] = redis.call('HGETALL', key) end
return answer`,
  'reads',
);

/** KEYS: records of questions. ARGV: names. */
export const READ_QUESTION_FIELDS = redisScript(
  `
local answer = {}
for n, key in ipairs(KEYS) do answer[n] = redis.call('HMGET', key, unpack(ARGV)) end
return answer`,
  'reads',
);
