import { redisScript } from './redis-ledger-script.ts';

/** How many deliveries one script brings in step with a webhook that was disabled, enabled or deleted. */
const MOVED_AT_ONCE = 200;

/**
 * Names for the keys in the order of LedgerKeys.outbox, from KEYS[first] on, and the steps that several scripts have in common.
 * Records are msgpack; what is JSON in them is opaque here, for an empty list that cjson has read is written as an object. Times
 * are kept as the texts they came as. A message stands in ARGV as ten: id, tenant's tag, type, subject, at, data, event or empty,
 * then to whom: nothing, `webhook` and its id, or `url`, the address and its secret.
 */
export const outboxPrelude = (first: number): string => String.raw`
local WEBHOOKS, WEBHOOK_PLACES, MOVING, MESSAGES, MESSAGE_PLACES, BODIES, EVENT_TEXTS, UNPUBLISHED, PRUNABLE, DELIVERIES, DELIVERY_PLACES, PENDING, FREE, TAKEN = unpack(KEYS, ${first})

local function digits(number) return string.format('%016.0f', number) end

local function read(key, field)
  local packed = redis.call('HGET', key, field)
  return packed and cmsgpack.unpack(packed)
end

local function write(key, field, record) redis.call('HSET', key, field, cmsgpack.pack(record)) end

-- Members that begin with a prefix that ends in a slash: '0' comes right after it.
local function under(key, prefix, count)
  return redis.call('ZRANGE', key, '[' .. prefix, '(' .. string.sub(prefix, 1, -2) .. '0', 'BYLEX', 'LIMIT', 0, count or -1)
end

local function place_of(delivery, d)
  return table.concat({ d.webhook, d.status, digits(d.created), digits(d.sequence), delivery }, '/')
end

local function delivery_in(place) return string.match(place, '^[^/]*/[^/]*/[^/]*/[^/]*/(.*)$') end

local function is_reachable(d)
  if d.webhook == '' then return true end
  local w = read(WEBHOOKS, d.webhook)
  return w and w.disabled == ''
end

local function put_delivery(delivery, d)
  write(DELIVERIES, delivery, d)
  for _, set in ipairs({ PENDING, FREE, TAKEN }) do redis.call('ZREM', set, delivery) end
  if d.status ~= 'pending' or not is_reachable(d) then return end
  redis.call('ZADD', PENDING, d.next, delivery)
  if d.token ~= '' then redis.call('ZADD', TAKEN, d.taken_until, delivery) else redis.call('ZADD', FREE, d.next, delivery) end
end

local function drop_delivery(delivery, d)
  redis.call('HDEL', DELIVERIES, delivery)
  for _, set in ipairs({ PENDING, FREE, TAKEN }) do redis.call('ZREM', set, delivery) end
  redis.call('ZREM', DELIVERY_PLACES, place_of(delivery, d))
end

-- Of what stands among the prunable something can go: a settled delivery, or the whole message.
local function put_message_record(message, m)
  write(MESSAGES, message, m)
  if m.open < #m.deliveries or (m.open == 0 and m.published) then
    redis.call('ZADD', PRUNABLE, m.at, message)
  else
    redis.call('ZREM', PRUNABLE, message)
  end
end

local function drop_message(message, m)
  redis.call('HDEL', MESSAGES, message)
  redis.call('HDEL', BODIES, message)
  redis.call('HDEL', EVENT_TEXTS, message)
  redis.call('ZREM', UNPUBLISHED, message)
  redis.call('ZREM', PRUNABLE, message)
  redis.call('ZREM', MESSAGE_PLACES, m.tag .. '/' .. digits(m.at) .. '/' .. message)
end

-- From pending to settled or back. An address of one question has no list.
local function set_delivery_status(delivery, d, status)
  local m = read(MESSAGES, d.message)
  if d.status == 'pending' then m.open = m.open - 1 end
  if status == 'pending' then m.open = m.open + 1 else d.next = '' end
  put_message_record(d.message, m)
  if d.webhook ~= '' then redis.call('ZREM', DELIVERY_PLACES, place_of(delivery, d)) end
  d.status, d.token, d.taken_until = status, '', ''
  if d.webhook ~= '' then redis.call('ZADD', DELIVERY_PLACES, 0, place_of(delivery, d)) end
end

-- Brings some pending deliveries in step with their webhook; what is left is gone on with. Answers whether anything is.
local function move(webhook)
  local job = read(MOVING, webhook)
  if not job then return 0 end
  local prefix = webhook .. '/pending/'
  local from = job.after == '' and '[' .. prefix or '(' .. job.after
  local page = redis.call('ZRANGE', DELIVERY_PLACES, from, '(' .. webhook .. '/pending0', 'BYLEX', 'LIMIT', 0, ${MOVED_AT_ONCE})
  for _, place in ipairs(page) do
    local delivery = delivery_in(place)
    local d = read(DELIVERIES, delivery)
    if job.to == 'dropped' then set_delivery_status(delivery, d, 'dropped') end
    if job.to == 'free' then d.next = job.at end
    put_delivery(delivery, d)
  end
  if #page < ${MOVED_AT_ONCE} then
    redis.call('HDEL', MOVING, webhook)
    return 0
  end
  job.after = page[#page]
  write(MOVING, webhook, job)
  return 1
end

local function begin_move(webhook, to, at)
  write(MOVING, webhook, { to = to, at = at, after = '' })
  return move(webhook)
end

-- Answers the ids of its deliveries. A cluster's client sends a call again whose answer was lost: it is answered the same.
local function put_message(n, call)
  local message, tag, type, subject, at, data, event, kind, to, secret = unpack(ARGV, n, n + 9)
  local there = read(MESSAGES, message)
  if there then return there.call == call and there.deliveries or {} end
  local m = { tag = tag, type = type, at = at, call = call, deliveries = {}, open = 0, published = event == '' }
  local function deliver(webhook, sequence)
    local delivery = message .. ':' .. (webhook == '' and 'one' or webhook)
    local d = {
      message = message, tag = tag, type = type, subject = subject, webhook = webhook, sequence = sequence,
      status = 'pending', created = at, next = at, attempts = {}, tries = 0, token = '', taken_until = '', call = '',
    }
    if webhook == '' then d.url, d.secret = to, secret else redis.call('ZADD', DELIVERY_PLACES, 0, place_of(delivery, d)) end
    put_delivery(delivery, d)
    table.insert(m.deliveries, delivery)
    m.open = m.open + 1
  end
  local function deliver_to(webhook, w)
    w.sequence = w.sequence + 1
    write(WEBHOOKS, webhook, w)
    deliver(webhook, w.sequence)
  end
  if kind == 'url' then
    deliver('', 1)
  elseif kind == 'webhook' then
    local w = read(WEBHOOKS, to)
    if w and w.tag == tag then deliver_to(to, w) end
  else
    for _, place in ipairs(under(WEBHOOK_PLACES, tag .. '/')) do
      local webhook = string.match(place, '^[^/]*/[^/]*/(.*)$')
      local w = read(WEBHOOKS, webhook)
      if w.disabled == '' and string.find(w.wants, ' ' .. type .. ' ', 1, true) then deliver_to(webhook, w) end
    end
  end
  put_message_record(message, m)
  redis.call('HSET', BODIES, message, data)
  redis.call('ZADD', MESSAGE_PLACES, 0, tag .. '/' .. digits(at) .. '/' .. message)
  if event ~= '' then
    redis.call('HSET', EVENT_TEXTS, message, event)
    redis.call('ZADD', UNPUBLISHED, at, message)
  end
  return m.deliveries
end
`;

const PRELUDE = outboxPrelude(1);

/** the call's id, then messages. Answers the new deliveries' ids. What has happened is told, also when it is full. */
export const ADD_MESSAGES = redisScript(
  `${PRELUDE}
local added = {}
for n = 2, #ARGV, 10 do
  for _, delivery in ipairs(put_message(n, ARGV[1])) do table.insert(added, delivery) end
end
return added`,
  { full: 'allow' },
);

/** limit. Answers id and event of each. */
export const UNPUBLISHED_MESSAGES = redisScript(
  `${PRELUDE}
local answer = {}
for _, message in ipairs(redis.call('ZRANGE', UNPUBLISHED, 0, ARGV[1] - 1)) do
  table.insert(answer, { message, redis.call('HGET', EVENT_TEXTS, message) })
end
return answer`,
  'reads',
);

/** ids of messages. */
export const SETTLE_PUBLISHED = redisScript(
  `${PRELUDE}
for _, message in ipairs(ARGV) do
  local m = read(MESSAGES, message)
  if m then
    m.published = true
    redis.call('HDEL', EVENT_TEXTS, message)
    redis.call('ZREM', UNPUBLISHED, message)
    put_message_record(message, m)
  end
end
return 1`,
  { full: 'allow' },
);

/** before, limit. Answers how many were looked at, and how many of these are gone. */
export const PRUNE_MESSAGES = redisScript(
  `${PRELUDE}
local page = redis.call('ZRANGE', PRUNABLE, '-inf', '(' .. ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2])
local gone = 0
for _, message in ipairs(page) do
  local m, kept = read(MESSAGES, message), {}
  for _, delivery in ipairs(m.deliveries) do
    local d = read(DELIVERIES, delivery)
    if d.status == 'pending' then table.insert(kept, delivery) else drop_delivery(delivery, d) end
  end
  m.deliveries = kept
  if #kept == 0 and m.published then
    drop_message(message, m)
    gone = gone + 1
  else
    put_message_record(message, m)
  end
end
return { #page, gone }`,
  { full: 'allow' },
);

/** the tenant's tag, up to when, how many at once. Answers how many messages went, with all their deliveries. */
export const DROP_MESSAGES = redisScript(
  `${PRELUDE}
local page = redis.call('ZRANGE', MESSAGE_PLACES, '[' .. ARGV[1] .. '/', '(' .. ARGV[1] .. '/' .. digits(ARGV[2]) .. '0', 'BYLEX', 'LIMIT', 0, ARGV[3])
for _, place in ipairs(page) do
  local message = string.match(place, '^[^/]*/[^/]*/(.*)$')
  local m = read(MESSAGES, message)
  for _, delivery in ipairs(m.deliveries) do drop_delivery(delivery, read(DELIVERIES, delivery)) end
  drop_message(message, m)
end
return #page`,
  { full: 'allow' },
);
