import type { ChunkOutcome, Failure } from '../ports/ledger.ts';
import { SightlineError, type ErrorCode } from '../runtime/errors.ts';
import { text, textOrNull, type LedgerDatabase } from './sqlite-ledger-rows.ts';

/**
 * Ledger's methods on failures. One that is tried again keeps its row, unseen: should it fail again, it has its old place and
 * its attempts, so that who pages through the failures to try them again comes to an end.
 */
export function failureMethods({ sql, mustExist }: LedgerDatabase) {
  return {
    failures(ingestionId: string, { cursor = '0', limit }: { cursor?: string; limit: number }) {
      const after = Number(cursor);
      if (!/^\d{1,15}$/.test(cursor)) throw new SightlineError('request_invalid', 'The cursor is not one of this list.');
      mustExist(ingestionId);
      const rows = sql(
        'SELECT * FROM ledger_failures WHERE ingestion_id = ? AND failure_no > ? AND retried = 0 ORDER BY failure_no LIMIT ?',
      ).all(ingestionId, after, limit + 1);
      const page = rows.slice(0, limit);
      const failures: Failure[] = page.map((row) => ({
        key: text(row['key']),
        code: text(row['code']) as ErrorCode,
        reason: text(row['reason']),
        attempts: Number(row['attempts']),
        lastAttemptAt: Number(row['last_attempt_at']),
      }));
      return { failures, nextCursor: rows.length > limit ? String(page.at(-1)?.['failure_no']) : null };
    },

    /** A page of failedObjects after failure number `after`. */
    failedObjectsPage(ingestionId: string, after: number, limit: number) {
      return sql(
        `SELECT failure_no, key, etag, code FROM ledger_failures
         WHERE ingestion_id = ? AND failure_no > ? AND retried = 0 ORDER BY failure_no LIMIT ?`,
      )
        .all(ingestionId, after, limit)
        .map((row) => ({
          failureNo: Number(row['failure_no']),
          key: text(row['key']),
          eTag: textOrNull(row['etag']),
          code: text(row['code']) as ErrorCode,
        }));
    },
  };
}

/** Writes failures down, inside the caller's transaction. */
export function addFailures({ sql }: LedgerDatabase, ingestionId: string, failures: ChunkOutcome['failures'], at: number): void {
  for (const { key, code, reason, eTag } of failures) {
    sql(
      `INSERT INTO ledger_failures (ingestion_id, key, code, reason, etag, attempts, last_attempt_at) VALUES (?, ?, ?, ?, ?, 1, ?)
       ON CONFLICT (ingestion_id, key) DO UPDATE SET code = excluded.code, reason = excluded.reason, etag = excluded.etag,
         attempts = attempts + 1, last_attempt_at = excluded.last_attempt_at, retried = 0`,
    ).run(ingestionId, key, code, reason, eTag ?? null, at);
  }
}

/** Takes failures that are tried again off the list, inside the caller's transaction. Answers how many were on it. */
export function takeFailuresOff({ sql }: LedgerDatabase, ingestionId: string, keys: string[]): number {
  let taken = 0;
  for (const key of keys) {
    const { changes } = sql('UPDATE ledger_failures SET retried = 1 WHERE ingestion_id = ? AND key = ? AND retried = 0').run(
      ingestionId,
      key,
    );
    taken += Number(changes);
  }
  return taken;
}
