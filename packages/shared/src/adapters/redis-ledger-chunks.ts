import { randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { deflateRaw, inflateRaw } from 'node:zlib';
import type { ChunkEntry, ChunkOutcome, Ledger } from '../ports/ledger.ts';
import { SightlineError } from '../runtime/errors.ts';
import * as scripts from './redis-ledger-chunk-scripts.ts';
import type { LedgerClient } from './redis-ledger-client.ts';
import type { LedgerKeys } from './redis-ledger-keys.ts';
import { asBytes, asList, asNumber, asText } from './redis-ledger-reply.ts';

const PAGE = 1_000;
const deflate = promisify(deflateRaw);
const inflate = promisify(inflateRaw);

/** Ledger's methods on chunks and their suspects, on Redis. */
export function redisChunks(client: LedgerClient, keys: LedgerKeys) {
  // A suspect of the living is none: who asks again because an answer was lost is told apart from who died.
  const self = randomUUID();

  return {
    async addChunk(ingestionId: string, chunk: Parameters<Ledger['addChunk']>[1]): Promise<void> {
      const { chunkNo, entries, retried = [] } = chunk;
      const packed = entries.length > 0 ? await deflate(JSON.stringify(entries)) : '';
      const answer = asNumber(
        await client.run(scripts.ADD_CHUNK, keys.ingestion(ingestionId), [
          ingestionId,
          chunkNo,
          tenDigits(chunkNo),
          chunk.at,
          chunk.listed,
          chunk.cursor,
          packed,
          chunk.after === null ? '' : `=${chunk.after}`,
          retried.length,
          ...retried,
          ...chunk.failures.flatMap(failureArguments),
        ]),
      );
      if (answer === -1) throw new SightlineError('ingestion_not_found');
      if (answer === -2) throw new SightlineError('internal', `Chunk ${chunkNo} came before the one ahead of it.`);
      if (answer === -3) throw new SightlineError('lease_lost', 'Another planner went on meanwhile.');
    },

    async takeChunk(ingestionId: string, chunkNo: number) {
      const args = [ingestionId, chunkNo, tenDigits(chunkNo), randomUUID()];
      const reply = asList(await client.runBytes(scripts.TAKE_CHUNK, keys.ingestion(ingestionId), args));
      if (reply.length === 0) return null;
      const [packed, addedAt, attempts] = reply;
      // Written by addChunk, of this version or an older one of this format.
      const entries = JSON.parse((await inflate(asBytes(packed))).toString()) as ChunkEntry[];
      return { entries, addedAt: asNumber(asText(addedAt)), attempts: asNumber(asText(attempts)) };
    },

    async giveBackChunk(ingestionId: string, chunkNo: number): Promise<void> {
      await client.run(scripts.GIVE_BACK_CHUNK, keys.ingestion(ingestionId), [ingestionId, chunkNo, randomUUID()]);
    },

    async addSuspect(ingestionId: string, chunkNo: number, key: string): Promise<boolean> {
      return (await client.run(scripts.ADD_SUSPECT, keys.ingestion(ingestionId), [ingestionId, chunkNo, key, self])) === 1;
    },

    async clearSuspect(ingestionId: string, chunkNo: number, key: string): Promise<void> {
      await client.run(scripts.CLEAR_SUSPECT, keys.ingestion(ingestionId), [ingestionId, chunkNo, key]);
    },

    async completeChunk(ingestionId: string, chunkNo: number, outcome: ChunkOutcome, at: number): Promise<boolean> {
      const answer = await client.run(scripts.COMPLETE_CHUNK, keys.ingestion(ingestionId), [
        ingestionId,
        chunkNo,
        tenDigits(chunkNo),
        at,
        outcome.indexed,
        outcome.unchanged,
        outcome.duplicate,
        ...outcome.failures.flatMap(failureArguments),
      ]);
      return answer === 1;
    },

    async outstandingChunks({ ingestionId, limit }: { ingestionId?: string; limit: number }) {
      const key = ingestionId === undefined ? keys.owed : keys.owedOf(ingestionId);
      const owed = new Map<string, { ingestionId: string; chunkNo: number; addedAt: number }>();
      for (let last: string[] = ['', '']; owed.size < limit;) {
        const page = asList(await client.run(scripts.OWED_PAGE, [key], [...last, Math.min(PAGE, limit - owed.size)])).map(asText);
        for (let n = 0; n < page.length; n += 2) {
          const member = asText(page[n]);
          const cut = member.lastIndexOf('/');
          const of = ingestionId ?? member.slice(0, cut);
          owed.set(member, { ingestionId: of, chunkNo: Number(member.slice(cut + 1)), addedAt: asNumber(page[n + 1]) });
        }
        if (page.length === 0) break;
        last = page.slice(-2);
      }
      const tenants = new Map<string, string | null>();
      for (const id of new Set([...owed.values()].map((chunk) => chunk.ingestionId))) {
        const tenant = await client.call('hget', keys.record(id), 'tenant');
        tenants.set(id, tenant === null ? null : asText(tenant));
      }
      return [...owed.values()].flatMap((chunk) => {
        const tenant = tenants.get(chunk.ingestionId) ?? null;
        // Its ingestion was dropped since.
        return tenant === null ? [] : [{ tenant, ...chunk }];
      });
    },

    async countOutstandingChunks(of: Parameters<Ledger['countOutstandingChunks']>[0]): Promise<number> {
      if (of === undefined) return asNumber(await client.call('zcard', keys.owed));
      if ('ingestionId' in of) return asNumber(await client.call('zcard', keys.owedOf(of.ingestionId)));
      return asNumber((await client.call('hget', keys.owedByTenant, encodeURIComponent(of.tenant))) ?? 0);
    },
  };
}

/** Numbers in this form stand in order as texts do. */
function tenDigits(chunkNo: number): string {
  return String(chunkNo).padStart(10, '0');
}

function failureArguments({ key, code, reason, eTag }: ChunkOutcome['failures'][number]): string[] {
  return [key, code, reason, eTag === undefined ? '' : `=${eTag}`];
}
