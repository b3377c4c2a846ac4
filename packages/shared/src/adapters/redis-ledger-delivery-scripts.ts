import { outboxPrelude } from './redis-ledger-outbox-scripts.ts';
import { redisScript } from './redis-ledger-script.ts';

/** A lapsed claim is rare: so many are looked through for those that are due. */
const MAX_LAPSED = 5_000;
/** How many webhooks, whose change was broken off, a look at what is due goes on with. */
const MOVES_AT_ONCE = 4;

/** What is told of a delivery: its attempts are the last, each JSON. */
const PRELUDE = String.raw`${outboxPrelude(1)}
local function text(number) return string.format('%.0f', number) end

local function told(delivery, d)
  local answer = { delivery, d.message, d.tag, d.type, d.subject, d.webhook, text(d.sequence), d.status, d.created, d.next, text(d.tries) }
  for _, attempt in ipairs(d.attempts) do table.insert(answer, attempt) end
  return answer
end
`;

/** the delivery, the token, claimMs, at. Answers it, its message's type, at and data, and the address with its secrets. */
export const TAKE_DELIVERY = redisScript(
  `${PRELUDE}
local delivery, token, at = ARGV[1], ARGV[2], tonumber(ARGV[4])
local d = read(DELIVERIES, delivery)
if not d or d.status ~= 'pending' or tonumber(d.next) > at or not is_reachable(d) then return false end
if d.token ~= '' and d.token ~= token and tonumber(d.taken_until) > at then return false end
d.token, d.taken_until = token, text(at + ARGV[3])
put_delivery(delivery, d)
local m = read(MESSAGES, d.message)
local message = { m.type, m.at, redis.call('HGET', BODIES, d.message) }
if d.webhook == '' then return { told(delivery, d), message, { d.url, d.secret } } end
local w = read(WEBHOOKS, d.webhook)
return { told(delivery, d), message, { w.url, w.secrets } }`,
  { full: 'allow' },
);

/**
 * the delivery, the token, the call's id, the attempt, when it was, the status then, when it is due again or empty, the reason to
 * disable its webhook or empty. Answers whether it was done, the webhook's id, and whether that has deliveries left to be parked.
 */
export const SETTLE_DELIVERY = redisScript(
  `${PRELUDE}
local delivery, token, call, attempt, at, status, due, disable = unpack(ARGV)
local d = read(DELIVERIES, delivery)
if not d then return { 0, '', 0 } end
if d.call == call then return { 1, d.webhook, redis.call('HEXISTS', MOVING, d.webhook) } end
if d.status ~= 'pending' or d.token ~= token then return { 0, '', 0 } end
local w, disables = d.webhook ~= '' and read(WEBHOOKS, d.webhook), false
if w then
  if status == 'delivered' then w.failing = '' elseif w.failing == '' then w.failing = at end
  disables = disable ~= '' and w.disabled == ''
  if disables then w.disabled, w.updated = disable, at end
  write(WEBHOOKS, d.webhook, w)
end
table.insert(d.attempts, attempt)
if #d.attempts > 20 then table.remove(d.attempts, 1) end
d.tries, d.token, d.taken_until, d.call = d.tries + 1, '', '', call
if status == 'pending' then d.next = due else set_delivery_status(delivery, d, status) end
put_delivery(delivery, d)
return { 1, d.webhook, disables and begin_move(d.webhook, 'parked', at) or 0 }`,
  { full: 'allow' },
);

/** the delivery, the token. */
export const GIVE_BACK_DELIVERY = redisScript(
  `${PRELUDE}
local d = read(DELIVERIES, ARGV[1])
if not d or d.status ~= 'pending' or d.token ~= ARGV[2] then return 0 end
d.token, d.taken_until = '', ''
put_delivery(ARGV[1], d)
return 1`,
  { full: 'allow' },
);

/** at, limit. Answers id and tenant's tag of each. Also goes on with what a broken-off change of a webhook left. */
export const DUE_DELIVERIES = redisScript(
  `${PRELUDE}
local at, limit = ARGV[1], tonumber(ARGV[2])
for n, webhook in ipairs(redis.call('HKEYS', MOVING)) do
  if n > ${MOVES_AT_ONCE} then break end
  move(webhook)
end
local due = {}
local free = redis.call('ZRANGE', FREE, '-inf', at, 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
for n = 1, #free, 2 do table.insert(due, { free[n], tonumber(free[n + 1]) }) end
for _, delivery in ipairs(redis.call('ZRANGE', TAKEN, '-inf', at, 'BYSCORE', 'LIMIT', 0, ${MAX_LAPSED})) do
  local since = tonumber(redis.call('ZSCORE', PENDING, delivery))
  if since <= tonumber(at) then table.insert(due, { delivery, since }) end
end
table.sort(due, function(a, b) return a[2] < b[2] or (a[2] == b[2] and a[1] < b[1]) end)
local answer = {}
for n = 1, math.min(limit, #due) do table.insert(answer, { due[n][1], read(DELIVERIES, due[n][1]).tag }) end
return answer`,
  { full: 'allow' },
);

/** Answers how many are pending, and when the first of them is due. */
export const COUNT_DELIVERIES = redisScript(
  `${PRELUDE}
return { redis.call('ZCARD', PENDING), redis.call('ZRANGE', PENDING, 0, 0, 'WITHSCORES')[2] or '' }`,
  'reads',
);

/** the tenant's tag, the webhook, after which place or empty, limit, statuses. Answers them, newest first. */
export const LIST_DELIVERIES = redisScript(
  `${PRELUDE}
local found, limit = {}, tonumber(ARGV[4])
for n = 5, #ARGV do
  local prefix = ARGV[2] .. '/' .. ARGV[n]
  local before = ARGV[3] == '' and '(' .. prefix .. '0' or '(' .. prefix .. '/' .. ARGV[3]
  for _, place in ipairs(redis.call('ZRANGE', DELIVERY_PLACES, before, '[' .. prefix .. '/', 'BYLEX', 'REV', 'LIMIT', 0, limit)) do
    table.insert(found, { string.sub(place, #prefix + 2), delivery_in(place) })
  end
end
table.sort(found, function(a, b) return a[1] > b[1] end)
local answer = {}
for n = 1, math.min(limit, #found) do
  local d = read(DELIVERIES, found[n][2])
  if d.tag == ARGV[1] then table.insert(answer, told(found[n][2], d)) end
end
return answer`,
  'reads',
);

/** A cluster's client sends a call again whose answer was lost: what it replayed bears its id. */
const REPLAY = `
local tag, webhook, at, call = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local w = read(WEBHOOKS, webhook)
if not w or w.tag ~= tag then return {} end

local function replay(delivery, d)
  set_delivery_status(delivery, d, 'pending')
  d.next, d.tries, d.call = at, 0, call
  put_delivery(delivery, d)
end
`;

/** the tenant's tag, the webhook, at, the call's id, the delivery. Answers the ids of what is pending again. */
export const REPLAY_DELIVERY = redisScript(
  `${PRELUDE}${REPLAY}
local d = read(DELIVERIES, ARGV[5])
if not d or d.webhook ~= webhook then return {} end
if d.status == 'pending' then return d.call == call and { ARGV[5] } or {} end
replay(ARGV[5], d)
return { ARGV[5] }`,
  { full: 'refuse' },
);

/** the tenant's tag, the webhook, at, the call's id, limit, since, behind the last, statuses. Answers the ids of what is pending again. */
export const REPLAY_RANGE = redisScript(
  `${PRELUDE}${REPLAY}
local found, limit = {}, tonumber(ARGV[5])
local function find(status, count, is_wanted)
  local prefix = webhook .. '/' .. status .. '/'
  local range = { '[' .. prefix .. digits(ARGV[6]), '(' .. prefix .. digits(ARGV[7]) }
  for _, place in ipairs(redis.call('ZRANGE', DELIVERY_PLACES, range[1], range[2], 'BYLEX', 'LIMIT', 0, count)) do
    local delivery = delivery_in(place)
    if not is_wanted or is_wanted(delivery) then table.insert(found, { string.sub(place, #prefix + 1), delivery }) end
  end
end
local is_repeated = w.replay == call
if is_repeated then
  find('pending', -1, function(delivery) return read(DELIVERIES, delivery).call == call end)
else
  for n = 8, #ARGV do find(ARGV[n], limit) end
  w.replay = call
  write(WEBHOOKS, webhook, w)
end
table.sort(found, function(a, b) return a[1] < b[1] end)
local answer = {}
for n = 1, math.min(limit, #found) do
  local delivery = found[n][2]
  if not is_repeated then replay(delivery, read(DELIVERIES, delivery)) end
  table.insert(answer, delivery)
end
return answer`,
  { full: 'refuse' },
);
