import { randomUUID } from 'node:crypto';
import { auditResult } from '../contracts/audits.ts';
import type { Audit, AuditLedger, AuditStanding, AuditStatus } from '../ports/audit-ledger.ts';
import type { LedgerClient } from './redis-ledger-client.ts';
import { tenantTag, type LedgerKeys } from './redis-ledger-keys.ts';
import { asFields, asList, asNumber, asText } from './redis-ledger-reply.ts';
import { redisScript } from './redis-ledger-script.ts';

const PAGE = 500;
const READS_AT_ONCE = 64;

/** Keys in the order of LedgerKeys.audit. ARGV[1] is always the audit's id, ARGV[2] the id of the call where it matters. */
const PRELUDE = String.raw`
local RECORD, OF_TENANT, ACTIVE, ENDED, LATEST, CLEAN = unpack(KEYS)
local id = ARGV[1]
local status = redis.call('HGET', RECORD, 'status')
local is_over = not status or status == 'completed' or status == 'failed'
`;

/** the id, created, then names and values of the record. */
const CREATE = redisScript(
  `${PRELUDE}
if not status then
  redis.call('HSET', RECORD, unpack(ARGV, 3))
  redis.call('ZADD', OF_TENANT, ARGV[2], id)
  redis.call('ZADD', ACTIVE, ARGV[2], id)
end
return redis.call('HGETALL', RECORD)`,
  { full: 'refuse' },
);
const TAKE = redisScript(
  `${PRELUDE}
if is_over then return {} end
-- A cluster's client sends a command again whose answer was lost.
if redis.call('HGET', RECORD, 'call') ~= ARGV[2] then
  redis.call('HSET', RECORD, 'status', 'running', 'call', ARGV[2])
  redis.call('HINCRBY', RECORD, 'attempts', 1)
end
return redis.call('HGETALL', RECORD)`,
  { full: 'allow' },
);
const GIVE_BACK = redisScript(
  `${PRELUDE}
if status == 'running' then
  redis.call('HSET', RECORD, 'status', 'queued')
  redis.call('HINCRBY', RECORD, 'attempts', -1)
end
return 1`,
  { full: 'allow' },
);
/** the id, the call, the tenant's tag, at, clean (1 or empty), status, then names and values of the record. Places are told apart in the record. */
const END = redisScript(
  `${PRELUDE}
if not status then return 0 end
if is_over then return redis.call('HGET', RECORD, 'call') == ARGV[2] and 1 or 0 end
redis.call('HSET', RECORD, 'call', ARGV[2], 'status', ARGV[6], 'finishedAt', ARGV[4], unpack(ARGV, 7))
redis.call('ZREM', ACTIVE, id)
redis.call('ZADD', ENDED, ARGV[4], id)
if redis.call('HEXISTS', RECORD, 'place') == 0 then
  if ARGV[6] == 'completed' then redis.call('HSET', LATEST, ARGV[3], id) else redis.call('HSETNX', LATEST, ARGV[3], '') end
  if ARGV[5] == '1' then redis.call('HSET', CLEAN, ARGV[3], ARGV[4]) end
end
return 1`,
  { full: 'allow' },
);
/** the id, the tenant's tag, 1 where it goes with all of the tenant's. -1: it is what its tenant's standing is made of. */
const DROP = redisScript(
  `${PRELUDE}
if ARGV[3] == '' and redis.call('HGET', LATEST, ARGV[2]) == id then return -1 end
redis.call('ZREM', OF_TENANT, id)
redis.call('ZREM', ACTIVE, id)
redis.call('ZREM', ENDED, id)
return redis.call('DEL', RECORD)`,
  { full: 'allow' },
);

/**
 * Ledger's methods on audits, on Redis, under a hash tag of their own. An audit is `record` (hash); of a tenant `of` (sorted by
 * createdAt); over all `active` (by createdAt), `ended` (by finishedAt), `latest` (hash: a tenant's newest completed one) and
 * `clean` (hash: when its newest clean one ended).
 */
export function redisAudits(client: LedgerClient, keys: LedgerKeys['audits']) {
  const keysOf = (auditId: string, tag: string): string[] => [
    keys.record(auditId),
    keys.ofTenant(tag),
    keys.active,
    keys.ended,
    keys.latest,
    keys.clean,
  ];
  const read = async (auditId: string): Promise<Audit | null> =>
    toAudit(auditId, asFields(await client.call('hgetall', keys.record(auditId))));
  const readAll = async (ids: string[]): Promise<Audit[]> => {
    const found: (Audit | null)[] = [];
    for (let from = 0; from < ids.length; from += READS_AT_ONCE)
      found.push(...(await Promise.all(ids.slice(from, from + READS_AT_ONCE).map(read))));
    return found.filter((audit) => audit !== null);
  };
  const pageOf = async (key: string, from: number, count: number, order: 'oldest' | 'newest'): Promise<string[]> => {
    const range = [from, from + count - 1, ...(order === 'newest' ? ['REV'] : [])];
    return asList(await client.call('zrange', key, ...range)).map(asText);
  };
  const drop = async ({ auditId, tenant }: { auditId: string; tenant: string }, all: boolean): Promise<number> => {
    const tag = tenantTag(tenant);
    return asNumber(await client.run(DROP, keysOf(auditId, tag), [auditId, tag, all ? 1 : '']));
  };

  return {
    async createAudit({
      auditId,
      tenant,
      place,
      repair,
      graceMs,
      askedBy,
      createdAt,
    }: Parameters<AuditLedger['createAudit']>[0]) {
      const record = {
        tenant,
        graceMs,
        askedBy,
        createdAt,
        status: 'queued',
        attempts: 0,
        ...(repair && { repair: 1 }),
        ...(place && { place: JSON.stringify([place.bucket, place.prefix]) }),
      };
      const args = [auditId, createdAt, ...Object.entries(record).flat()];
      const audit = toAudit(auditId, asFields(await client.run(CREATE, keysOf(auditId, tenantTag(tenant)), args)));
      return audit ?? Promise.reject(new Error('an audit was dropped while it was created'));
    },

    async getAudit(tenant: string, auditId: string): Promise<Audit | null> {
      const audit = await read(auditId);
      return audit?.tenant === tenant ? audit : null;
    },

    async listAudits(tenant: string, { limit }: { limit: number }): Promise<Audit[]> {
      return readAll(await pageOf(keys.ofTenant(tenantTag(tenant)), 0, limit, 'newest'));
    },

    async activeAudits(tenant: string | null, { limit }: { limit: number }): Promise<Audit[]> {
      const active: Audit[] = [];
      for (let from = 0; active.length < limit; from += PAGE) {
        const ids = await pageOf(keys.active, from, PAGE, 'oldest');
        const audits = await readAll(ids);
        active.push(...audits.filter((audit) => audit.finishedAt === null && (tenant === null || audit.tenant === tenant)));
        if (ids.length < PAGE) break;
      }
      return active.slice(0, limit);
    },

    async takeAudit(auditId: string): Promise<Audit | null> {
      const reply = await client.run(TAKE, keysOf(auditId, ''), [auditId, randomUUID()]);
      return toAudit(auditId, asFields(reply));
    },

    async giveBackAudit(auditId: string): Promise<void> {
      await client.run(GIVE_BACK, keysOf(auditId, ''), [auditId]);
    },

    async endAudit(auditId: string, end: Parameters<AuditLedger['endAudit']>[1]): Promise<boolean> {
      const audit = await read(auditId);
      if (!audit) return false;
      const tag = tenantTag(audit.tenant);
      const [isClean, ...fields] =
        end.status === 'completed'
          ? [end.result.clean ? 1 : '', 'result', JSON.stringify(end.result)]
          : ['', 'reason', end.reason];
      const args = [auditId, randomUUID(), tag, end.at, isClean ?? '', end.status, ...fields];
      return asNumber(await client.run(END, keysOf(auditId, tag), args)) === 1;
    },

    async auditStandings(): Promise<AuditStanding[]> {
      const latest = asFields(await client.call('hgetall', keys.latest));
      const clean = asFields(await client.call('hgetall', keys.clean));
      const standings: AuditStanding[] = [];
      for (const [tag, auditId] of [...latest].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
        const cleanAt = clean.get(tag);
        standings.push({
          tenant: decodeURIComponent(tag),
          latest: auditId === '' ? null : await read(auditId),
          lastCleanAt: cleanAt === undefined ? null : asNumber(cleanAt),
        });
      }
      return standings;
    },

    /** One after the other: who repeats it after an error drops the rest. */
    async dropAuditsOf(tenant: string, createdUpTo: number): Promise<void> {
      const tag = tenantTag(tenant);
      await client.call('hdel', keys.latest, tag);
      await client.call('hdel', keys.clean, tag);
      for (;;) {
        const range = ['-inf', createdUpTo === Infinity ? '+inf' : createdUpTo, 'BYSCORE', 'LIMIT', 0, PAGE] as const;
        const ids = asList(await client.call('zrange', keys.ofTenant(tag), ...range)).map(asText);
        for (const auditId of ids) await drop({ auditId, tenant }, true);
        if (ids.length < PAGE) return;
      }
    },

    async pruneAudits(before: number): Promise<number> {
      let pruned = 0;
      for (let kept = 0; ;) {
        const range = ['-inf', `(${before}`, 'BYSCORE', 'LIMIT', kept, PAGE] as const;
        const ids = asList(await client.call('zrange', keys.ended, ...range)).map(asText);
        for (const auditId of ids) {
          const audit = await read(auditId);
          if (audit && (await drop(audit, false)) < 0) kept++;
          else {
            pruned++;
            if (!audit) await client.call('zrem', keys.ended, auditId);
          }
        }
        if (ids.length < PAGE) return pruned;
      }
    },
  };
}

function toAudit(auditId: string, fields: Map<string, string>): Audit | null {
  if (fields.size === 0) return null;
  const result = fields.get('result');
  const place = fields.get('place');
  const [bucket, prefix] = place === undefined ? [] : (JSON.parse(place) as [string, string]);
  return {
    auditId,
    tenant: asText(fields.get('tenant')),
    place: bucket === undefined || prefix === undefined ? null : { bucket, prefix },
    repair: fields.has('repair'),
    graceMs: asNumber(fields.get('graceMs')),
    askedBy: asText(fields.get('askedBy')) as Audit['askedBy'],
    status: asText(fields.get('status')) as AuditStatus,
    reason: fields.get('reason') ?? null,
    attempts: asNumber(fields.get('attempts')),
    result: result === undefined ? null : auditResult.parse(JSON.parse(result)),
    createdAt: asNumber(fields.get('createdAt')),
    finishedAt: fields.has('finishedAt') ? asNumber(fields.get('finishedAt')) : null,
  };
}
