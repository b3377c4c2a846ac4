import { randomUUID } from 'node:crypto';
import { source } from '../contracts/records.ts';
import { sourceKey } from '../contracts/source-place.ts';
import type { Hold, Ingestion, IngestionStatus, Ledger } from '../ports/ledger.ts';
import { SightlineError } from '../runtime/errors.ts';
import type { LedgerClient } from './redis-ledger-client.ts';
import * as scripts from './redis-ledger-ingestion-scripts.ts';
import { tenantTag, type LedgerKeys } from './redis-ledger-keys.ts';
import { asFields, asList, asNumber, asText } from './redis-ledger-reply.ts';

const STATUSES: IngestionStatus[] = ['planning', 'running', 'paused', 'completed', 'failed', 'cancelled'];
const TERMINAL: ReadonlySet<IngestionStatus> = new Set(['completed', 'failed', 'cancelled']);
const PAGE = 500;
const READS_AT_ONCE = 64;

/** Ledger's methods on ingestions, on Redis. */
export function redisIngestions(client: LedgerClient, keys: LedgerKeys) {
  const read = async (ingestionId: string): Promise<Ingestion | null> =>
    toIngestion(ingestionId, asFields(await client.call('hgetall', keys.record(ingestionId))));

  const readAll = async (ids: string[]): Promise<Ingestion[]> => {
    const found: (Ingestion | null)[] = [];
    for (let from = 0; from < ids.length; from += READS_AT_ONCE) {
      found.push(...(await Promise.all(ids.slice(from, from + READS_AT_ONCE).map(read))));
    }
    return found.filter((ingestion) => ingestion !== null);
  };

  /** Up to `limit` ids under one status, newest or oldest first, with the place that orders them. */
  const listed = async (
    tenant: string | null,
    status: IngestionStatus,
    limit: number,
    oldestFirst = false,
  ): Promise<Placed[]> => {
    const key = tenant === null ? keys.byStatus : keys.byTenant;
    const start = tenant === null ? `${status}/` : `${tenantTag(tenant)}/${status}/`;
    const places: Placed[] = [];
    // Places go on with digits, so that `:` is behind them all.
    const [first, end] = oldestFirst ? [`[${start}`, `(${start}:`] : [`(${start}:`, `[${start}`];
    for (let from = first; places.length < limit;) {
      const count = Math.min(PAGE, limit - places.length);
      const order = oldestFirst ? ['BYLEX'] : ['BYLEX', 'REV'];
      const page = asList(await client.call('zrange', key, from, end, ...order, 'LIMIT', 0, count)).map(asText);
      places.push(...page.map((member) => toPlaced(member.slice(start.length))));
      const last = page.at(-1);
      if (page.length < count || last === undefined) break;
      from = `(${last}`;
    }
    return places;
  };

  const drop = async (ingestionId: string, endedBefore: number | ''): Promise<number> =>
    asNumber(await client.run(scripts.DROP_INGESTION, keys.ingestion(ingestionId), [ingestionId, endedBefore]));

  return {
    async createIngestion(ingestion: Parameters<Ledger['createIngestion']>[0]): Promise<Ingestion> {
      const { ingestionId, tenant, createdAt } = ingestion;
      const record = {
        tenant,
        tenantTag: tenantTag(tenant),
        source: JSON.stringify(ingestion.source),
        sourceKey: sourceKey(ingestion.source),
        status: 'planning',
        createdAt,
        nextChunkNo: 0,
        ...(ingestion.dryRun ? { dryRun: 1 } : {}),
      };
      const reply = await client.run(scripts.CREATE, keys.ingestion(ingestionId), [
        ingestionId,
        String(createdAt).padStart(16, '0'),
        record.tenantTag,
        record.sourceKey,
        ingestion.dryRun ? 1 : '',
        ...Object.entries(record).flat(),
      ]);
      return found(toIngestion(ingestionId, asFields(reply)));
    },

    async getIngestion(tenant: string, ingestionId: string): Promise<Ingestion | null> {
      const ingestion = await read(ingestionId);
      return ingestion?.tenant === tenant ? ingestion : null;
    },

    async listIngestions(
      tenant: string | null,
      { statuses = STATUSES, limit, oldestFirst = false }: Parameters<Ledger['listIngestions']>[1],
    ): Promise<Ingestion[]> {
      const places = (await Promise.all(statuses.map((status) => listed(tenant, status, limit, oldestFirst)))).flat();
      const ids = places.toSorted((a, b) => (oldestFirst ? compare(a, b) : compare(b, a))).slice(0, limit);
      const ingestions = await readAll([...new Set(ids.map(({ ingestionId }) => ingestionId))]);
      // It may have moved between the two readings.
      return ingestions.filter(({ status }) => statuses.includes(status));
    },

    async latestIngestions(tenant: string | null): Promise<Ingestion[]> {
      const start = tenant === null ? '' : `${tenantTag(tenant)}/`;
      const latest = new Map<string, Placed>();
      for (let cursor = '0'; ;) {
        const [next, page] = asList(await client.call('hscan', keys.latest, cursor, 'COUNT', PAGE));
        for (const [name, place] of asFields(page)) if (name.startsWith(start)) latest.set(name, toPlaced(place));
        cursor = asText(next);
        if (cursor === '0') break;
      }
      return readAll([...latest.values()].toSorted(compare).map(({ ingestionId }) => ingestionId));
    },

    async setStatus(
      ingestionId: string,
      from: IngestionStatus[],
      to: IngestionStatus,
      { reason, at }: { reason?: string; at: number },
    ): Promise<boolean> {
      const args = [ingestionId, randomUUID(), to, TERMINAL.has(to) ? at : '', reason === undefined ? '' : 1, reason ?? ''];
      return done(await client.run(scripts.SET_STATUS, keys.ingestion(ingestionId), [...args, ...from])) === 1;
    },

    async setHold(ingestionId: string, hold: Hold | null, { reason }: { reason?: string; at: number }): Promise<boolean> {
      const args = [ingestionId, randomUUID(), hold ?? '', reason === undefined ? '' : 1, reason ?? ''];
      return done(await client.run(scripts.SET_HOLD, keys.ingestion(ingestionId), args)) === 1;
    },

    async reopen(ingestionId: string, cursor: string): Promise<number> {
      return done(await client.run(scripts.REOPEN, keys.ingestion(ingestionId), [ingestionId, cursor]));
    },

    async finishPlanning(ingestionId: string): Promise<void> {
      done(await client.run(scripts.FINISH_PLANNING, keys.ingestion(ingestionId), [ingestionId]));
    },

    /** One ingestion after the other: who repeats it after an error drops the rest. */
    async dropIngestionsOf(tenant: string, createdUpTo: number): Promise<{ ingestions: number; failures: number }> {
      const dropped = { ingestions: 0, failures: 0 };
      for (const status of STATUSES) {
        for (;;) {
          const before = dropped.ingestions;
          // The oldest first: those that stay are behind them.
          for (const { ingestionId, createdAt } of await listed(tenant, status, PAGE, true)) {
            if (Number(createdAt) > createdUpTo) break;
            const failures = await drop(ingestionId, '');
            if (failures < 0) continue;
            dropped.ingestions++;
            dropped.failures += failures;
          }
          // Also where something else took a record and left its place in the list: that would come again for ever.
          if (dropped.ingestions === before) break;
        }
      }
      return dropped;
    },

    async prune(before: number): Promise<number> {
      let pruned = 0;
      for (let kept = 0; ;) {
        const range = [keys.ended, '-inf', `(${before}`, 'BYSCORE', 'LIMIT', kept, PAGE] as const;
        const page = asList(await client.call('zrange', ...range)).map(asText);
        for (const ingestionId of page) {
          if ((await drop(ingestionId, before)) < 0) kept++;
          else pruned++;
        }
        if (page.length < PAGE) return pruned;
      }
    },
  };
}

/** Where an ingestion stands among others: by its time, then its id. */
interface Placed {
  createdAt: string;
  ingestionId: string;
}

const toPlaced = (text: string): Placed => ({ createdAt: text.slice(0, 16), ingestionId: text.slice(17) });

function compare(a: Placed, b: Placed): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1;
  return a.ingestionId < b.ingestionId ? -1 : 1;
}

/** A script's answer; -1 stands for an ingestion that is not there. */
function done(reply: unknown): number {
  const answer = asNumber(reply);
  if (answer === -1) throw new SightlineError('ingestion_not_found');
  return answer;
}

function found(ingestion: Ingestion | null): Ingestion {
  if (!ingestion) throw new SightlineError('ingestion_not_found');
  return ingestion;
}

/** Null for a record without fields, which is none. */
function toIngestion(ingestionId: string, fields: Map<string, string>): Ingestion | null {
  if (fields.size === 0) return null;
  const count = (name: string): number => Number(fields.get(name) ?? 0);
  return {
    ingestionId,
    tenant: asText(fields.get('tenant')),
    source: source.parse(JSON.parse(asText(fields.get('source')))),
    dryRun: fields.has('dryRun'),
    status: asText(fields.get('status')) as IngestionStatus,
    reason: fields.get('reason') ?? null,
    hold: (fields.get('hold') as Hold | undefined) ?? null,
    counts: {
      listed: count('listed'),
      indexed: count('indexed'),
      unchanged: count('unchanged'),
      duplicate: count('duplicate'),
      failed: count('failed'),
    },
    planned: fields.has('planned'),
    cursor: fields.get('cursor') ?? null,
    nextChunkNo: count('nextChunkNo'),
    createdAt: asNumber(fields.get('createdAt')),
    finishedAt: fields.has('finishedAt') ? asNumber(fields.get('finishedAt')) : null,
  };
}
