import type { Failure, Ledger } from '../ports/ledger.ts';
import { SightlineError, type ErrorCode } from '../runtime/errors.ts';
import { FAILURES_PAGE } from './redis-ledger-chunk-scripts.ts';
import type { LedgerClient } from './redis-ledger-client.ts';
import type { LedgerKeys } from './redis-ledger-keys.ts';
import { asList, asNumber, asText } from './redis-ledger-reply.ts';

const PAGE = 500;

interface Numbered {
  number: string;
  eTag: string | null;
  failure: Failure;
}

/** Ledger's methods on failures, on Redis. */
export function redisFailures(client: LedgerClient, keys: LedgerKeys) {
  /** Null when there is no such ingestion. */
  const readPage = async (ingestionId: string, after: string, limit: number): Promise<Numbered[] | null> => {
    const reply = await client.run(FAILURES_PAGE, keys.ingestion(ingestionId), [ingestionId, after, limit]);
    return reply === -1 ? null : asList(reply).map(toNumbered);
  };

  return {
    async failures(ingestionId: string, { cursor = '0', limit }: { cursor?: string; limit: number }) {
      if (!/^\d{1,15}$/.test(cursor)) throw new SightlineError('request_invalid', 'The cursor is not one of this list.');
      const read: Numbered[] = [];
      while (read.length <= limit) {
        const count = Math.min(PAGE, limit + 1 - read.length);
        const page = await readPage(ingestionId, read.at(-1)?.number ?? cursor, count);
        if (page === null) throw new SightlineError('ingestion_not_found');
        read.push(...page);
        if (page.length < count) break;
      }
      const page = read.slice(0, limit);
      return {
        failures: page.map(({ failure }) => failure),
        nextCursor: read.length > limit ? (page.at(-1)?.number ?? null) : null,
      };
    },

    async *failedObjects(ingestionId: string): ReturnType<Ledger['failedObjects']> {
      for (let after = '0'; ;) {
        const page = (await readPage(ingestionId, after, PAGE)) ?? [];
        for (const { eTag, failure } of page) yield { key: failure.key, eTag, code: failure.code };
        const last = page.at(-1);
        if (page.length < PAGE || !last) return;
        after = last.number;
      }
    },
  };
}

function toNumbered(reply: unknown): Numbered {
  const [key, number, code, reason, eTag, attempts, at] = asList(reply).map(asText);
  return {
    number: asText(number),
    eTag: eTag === '' ? null : asText(eTag).slice(1),
    failure: {
      key: asText(key),
      code: asText(code) as ErrorCode,
      reason: asText(reason),
      attempts: asNumber(attempts),
      lastAttemptAt: asNumber(at),
    },
  };
}
