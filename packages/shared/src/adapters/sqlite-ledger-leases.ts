import type { KeyLease } from '../ports/ledger.ts';
import type { LedgerDatabase } from './sqlite-ledger-rows.ts';

/** Ledger's methods on leases. `now` in Unix milliseconds. */
export function leaseMethods({ sql, transaction }: LedgerDatabase) {
  return {
    leaseKeys(token: string, keys: string[], ttlMs: number, now: number): KeyLease {
      return transaction(() => {
        sql('DELETE FROM ledger_leases WHERE expires_at <= ?').run(now);
        const granted: string[] = [];
        const busy: string[] = [];
        for (const key of new Set(keys)) {
          const { changes } = sql(
            'INSERT INTO ledger_leases (key, token, expires_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
          ).run(key, token, now + ttlMs);
          (Number(changes) === 1 ? granted : busy).push(key);
        }
        // Never behind the clock, in microseconds as on Redis: an index that outlives its ledger, or changes to another kind of
        // ledger, still sees its versions grow.
        const row = sql('UPDATE ledger_version SET last = max(last + 1, ?) RETURNING last').get(now * 1_000);
        return { token, version: Number(row?.['last']), granted, busy };
      });
    },

    renewKeys(token: string, ttlMs: number, now: number): boolean {
      return transaction(() => {
        const lost = sql('SELECT 1 FROM ledger_leases WHERE token = ? AND expires_at <= ? LIMIT 1').get(token, now);
        if (lost) return false;
        return Number(sql('UPDATE ledger_leases SET expires_at = ? WHERE token = ?').run(now + ttlMs, token).changes) > 0;
      });
    },

    releaseKeys(token: string): void {
      sql('DELETE FROM ledger_leases WHERE token = ?').run(token);
    },
  };
}
