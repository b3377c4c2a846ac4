import { outboxPrelude } from './redis-ledger-outbox-scripts.ts';
import { redisScript } from './redis-ledger-script.ts';

/** A webhook's record: `wants` is the names of `events` between spaces. ARGV[1] is the tenant's tag, ARGV[2] the webhook's id. */
const PRELUDE = String.raw`${outboxPrelude(1)}
local tag, id = ARGV[1], ARGV[2]

local function told(webhook, w)
  return { webhook, w.tag, w.url, w.description, w.events, w.secrets, w.disabled, w.created, w.updated, w.failing }
end

local function of_tenant()
  local w = read(WEBHOOKS, id)
  return w and w.tag == tag and w
end
`;

/** limit, created, then names and values of the record. 0: there are too many. */
export const ADD_WEBHOOK = redisScript(
  `${PRELUDE}
if redis.call('HEXISTS', WEBHOOKS, id) == 1 then return 1 end
if #under(WEBHOOK_PLACES, tag .. '/') >= tonumber(ARGV[3]) then return 0 end
local w = { tag = tag, created = ARGV[4], sequence = 0 }
for n = 5, #ARGV, 2 do w[ARGV[n]] = ARGV[n + 1] end
write(WEBHOOKS, id, w)
redis.call('ZADD', WEBHOOK_PLACES, 0, tag .. '/' .. digits(w.created) .. '/' .. id)
return 1`,
  { full: 'refuse' },
);

export const GET_WEBHOOK = redisScript(
  `${PRELUDE}
local w = of_tenant()
return w and told(id, w)`,
  'reads',
);

/** Oldest first. */
export const LIST_WEBHOOKS = redisScript(
  `${PRELUDE}
local answer = {}
for _, place in ipairs(under(WEBHOOK_PLACES, tag .. '/')) do
  local webhook = string.match(place, '^[^/]*/[^/]*/(.*)$')
  table.insert(answer, told(webhook, read(WEBHOOKS, webhook)))
end
return answer`,
  'reads',
);

/**
 * at, then names and values. Answers whether deliveries are left that are to be brought in step with it, and it as it is then. At
 * maxmemory one must be able to disable it, and with enabling it what waits can go.
 */
export const CHANGE_WEBHOOK = redisScript(
  `${PRELUDE}
local w = of_tenant()
if not w then return false end
local was, to = w.disabled, nil
for n = 4, #ARGV, 2 do
  w[ARGV[n]] = ARGV[n + 1]
  if ARGV[n] == 'disabled' then to = ARGV[n + 1] == '' and 'free' or 'parked' end
end
w.updated = ARGV[3]
if to == 'free' then w.failing = '' end
write(WEBHOOKS, id, w)
if to == 'free' or (to == 'parked' and was == '') then begin_move(id, to, ARGV[3]) end
return { redis.call('HEXISTS', MOVING, id), told(id, w) }`,
  { full: 'allow' },
);

/** Answers whether there was one, and whether deliveries are left that are to be dropped. */
export const DELETE_WEBHOOK = redisScript(
  `${PRELUDE}
local w = of_tenant()
if not w then return { 0, redis.call('HEXISTS', MOVING, id) } end
redis.call('HDEL', WEBHOOKS, id)
redis.call('ZREM', WEBHOOK_PLACES, tag .. '/' .. digits(w.created) .. '/' .. id)
return { 1, begin_move(id, 'dropped', '') }`,
  { full: 'allow' },
);

/** Answers whether any are left. */
export const MOVE_DELIVERIES = redisScript(`${PRELUDE}\nreturn move(id)`, { full: 'allow' });
