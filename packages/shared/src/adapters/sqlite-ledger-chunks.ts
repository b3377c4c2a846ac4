import type { ChunkEntry, ChunkOutcome, Ledger } from '../ports/ledger.ts';
import { SightlineError } from '../runtime/errors.ts';
import { addFailures, takeFailuresOff } from './sqlite-ledger-failures.ts';
import { text, toIngestion, type LedgerDatabase } from './sqlite-ledger-rows.ts';

/** Ledger's methods on chunks and their suspects. */
export function chunkMethods(database: LedgerDatabase) {
  const { sql, transaction, mustExist } = database;
  return {
    addChunk(ingestionId: string, chunk: Parameters<Ledger['addChunk']>[1]): void {
      transaction(() => {
        const { nextChunkNo, status, cursor } = toIngestion(mustExist(ingestionId));
        if (chunk.chunkNo === nextChunkNo - 1 && chunk.cursor === cursor) return;
        if (chunk.chunkNo > nextChunkNo) {
          throw new SightlineError('internal', `Chunk ${chunk.chunkNo} came before chunk ${nextChunkNo}.`);
        }
        if (chunk.chunkNo < nextChunkNo || chunk.after !== cursor) {
          throw new SightlineError('lease_lost', 'Another planner went on meanwhile.');
        }
        // A planner that has not yet heard that it is cancelled must not leave behind what nobody would ever work.
        if (chunk.entries.length > 0 && status !== 'cancelled') {
          sql('INSERT INTO ledger_chunks (ingestion_id, chunk_no, entries, added_at) VALUES (?, ?, ?, ?)').run(
            ingestionId,
            chunk.chunkNo,
            JSON.stringify(chunk.entries),
            chunk.at,
          );
        }
        const retried = takeFailuresOff(database, ingestionId, chunk.retried ?? []);
        addFailures(database, ingestionId, chunk.failures, chunk.at);
        sql(
          `UPDATE ledger_ingestions SET next_chunk_no = next_chunk_no + 1, cursor = ?, listed = listed + ?, failed = failed + ?
           WHERE ingestion_id = ?`,
        ).run(chunk.cursor, chunk.listed, chunk.failures.length - retried, ingestionId);
      });
    },

    takeChunk(ingestionId: string, chunkNo: number): { entries: ChunkEntry[]; addedAt: number; attempts: number } | null {
      const row = sql(
        `UPDATE ledger_chunks SET attempts = attempts + 1 WHERE ingestion_id = ? AND chunk_no = ?
         RETURNING entries, added_at, attempts`,
      ).get(ingestionId, chunkNo);
      if (!row) return null;
      // Written by addChunk, of this version or an older one of this format.
      const entries = JSON.parse(text(row['entries'])) as ChunkEntry[];
      return { entries, addedAt: Number(row['added_at']), attempts: Number(row['attempts']) };
    },

    giveBackChunk(ingestionId: string, chunkNo: number): void {
      sql('UPDATE ledger_chunks SET attempts = max(attempts - 1, 0) WHERE ingestion_id = ? AND chunk_no = ?').run(
        ingestionId,
        chunkNo,
      );
    },

    /** `asker` is the SqliteLedger that asks. */
    addSuspect(ingestionId: string, chunkNo: number, key: string, asker: string): boolean {
      return transaction(() => {
        const of = 'ingestion_id = ?1 AND chunk_no = ?2';
        const row = sql(`SELECT asker FROM ledger_suspects WHERE ${of} AND key = ?3`).get(ingestionId, chunkNo, key);
        if (row) return row['asker'] === asker;
        sql(
          `INSERT INTO ledger_suspects (ingestion_id, chunk_no, key, asker)
           SELECT ingestion_id, chunk_no, ?3, ?4 FROM ledger_chunks WHERE ${of}`,
        ).run(ingestionId, chunkNo, key, asker);
        return true;
      });
    },

    clearSuspect(ingestionId: string, chunkNo: number, key: string): void {
      sql('DELETE FROM ledger_suspects WHERE ingestion_id = ? AND chunk_no = ? AND key = ?').run(ingestionId, chunkNo, key);
    },

    completeChunk(ingestionId: string, chunkNo: number, outcome: ChunkOutcome, at: number): boolean {
      return transaction(() => {
        const dropped = sql('DELETE FROM ledger_chunks WHERE ingestion_id = ? AND chunk_no = ?').run(ingestionId, chunkNo);
        if (Number(dropped.changes) === 0) return false;
        addFailures(database, ingestionId, outcome.failures, at);
        sql(
          `UPDATE ledger_ingestions SET indexed = indexed + ?, unchanged = unchanged + ?, duplicate = duplicate + ?, failed = failed + ?
           WHERE ingestion_id = ?`,
        ).run(outcome.indexed, outcome.unchanged, outcome.duplicate, outcome.failures.length, ingestionId);
        return true;
      });
    },

    outstandingChunks({ ingestionId, limit }: { ingestionId?: string; limit: number }) {
      return sql(
        `SELECT i.tenant, c.ingestion_id, c.chunk_no, c.added_at FROM ledger_chunks c JOIN ledger_ingestions i USING (ingestion_id)
         WHERE ?1 IS NULL OR c.ingestion_id = ?1 ORDER BY c.added_at, c.ingestion_id, c.chunk_no LIMIT ?2`,
      )
        .all(ingestionId ?? null, limit)
        .map((row) => ({
          tenant: text(row['tenant']),
          ingestionId: text(row['ingestion_id']),
          chunkNo: Number(row['chunk_no']),
          addedAt: Number(row['added_at']),
        }));
    },

    countOutstandingChunks(of: Parameters<Ledger['countOutstandingChunks']>[0]): number {
      if (of === undefined) return Number(sql('SELECT count(*) AS n FROM ledger_chunks').get()?.['n']);
      const row =
        'tenant' in of
          ? sql('SELECT count(*) AS n FROM ledger_ingestions JOIN ledger_chunks USING (ingestion_id) WHERE tenant = ?').get(
              of.tenant,
            )
          : sql('SELECT count(*) AS n FROM ledger_chunks WHERE ingestion_id = ?').get(of.ingestionId);
      return Number(row?.['n']);
    },
  };
}
