import { changePlace, changeSchema, type Change } from '../contracts/changes.ts';
import type { ChangeFailure, OwedChange, SettledChange } from '../ports/ledger.ts';
import type { ErrorCode } from '../runtime/errors.ts';
import { numberOrNull, text, textOrNull, type LedgerDatabase, type Row } from './sqlite-ledger-rows.ts';

/** Ledger's methods on changes. */
export function changeMethods({ sql, transaction }: LedgerDatabase) {
  const forget = (tenant: string, place: string): void => {
    sql('DELETE FROM ledger_change_failures WHERE tenant = ? AND place = ?').run(tenant, place);
  };
  const nextGeneration = (): number => {
    const row = sql('UPDATE ledger_change_generation SET last = last + 1 WHERE id = 1 RETURNING last').get();
    return Number(row?.['last']);
  };

  const note = (tenant: string, place: string, change: string, changedAt: number | null, at: number): void => {
    forget(tenant, place);
    sql(
      `INSERT INTO ledger_changes (tenant, place, change, generation, noticed_at, noted_at, changed_at, attempts, free_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0)
       ON CONFLICT (tenant, place) DO UPDATE SET change = excluded.change, generation = excluded.generation,
         noted_at = excluded.noted_at, changed_at = coalesce(excluded.changed_at, changed_at)`,
    ).run(tenant, place, change, nextGeneration(), at, at, changedAt);
  };

  return {
    noteChanges(tenant: string, noted: { change: Change; changedAt: number | null }[], at: number): void {
      transaction(() => {
        for (const { change, changedAt } of noted) note(tenant, changePlace(change), JSON.stringify(change), changedAt, at);
      });
    },

    retryChanges(tenant: string, { limit, failedUpTo, at }: { limit: number; failedUpTo: number; at: number }): number {
      return transaction(() => {
        const failed = sql(
          'SELECT place, change FROM ledger_change_failures WHERE tenant = ? AND failed_at <= ? ORDER BY failure_no LIMIT ?',
        ).all(tenant, failedUpTo, limit);
        for (const row of failed) note(tenant, text(row['place']), text(row['change']), null, at);
        return failed.length;
      });
    },

    takeChanges(
      tenant: string,
      { limit, claimMs, soloAfter, at }: { limit: number; claimMs: number; soloAfter: number; at: number },
    ): OwedChange[] {
      return transaction(() => {
        const rows = sql(`SELECT * FROM ledger_changes WHERE tenant = ? AND free_at <= ? ORDER BY noticed_at, place LIMIT ?`).all(
          tenant,
          at,
          limit,
        );
        const taken = together(rows, soloAfter, (row) => Number(row['attempts'])).map(toOwed);
        for (const { place } of taken) {
          sql('UPDATE ledger_changes SET attempts = attempts + 1, free_at = ? WHERE tenant = ? AND place = ?').run(
            at + claimMs,
            tenant,
            place,
          );
        }
        return taken;
      });
    },

    settleChanges(tenant: string, settled: SettledChange[], at: number): void {
      transaction(() => {
        for (const { place, generation, failure } of settled) {
          const row = sql('DELETE FROM ledger_changes WHERE tenant = ? AND place = ? AND generation = ? RETURNING change').get(
            tenant,
            place,
            generation,
          );
          if (!row) {
            sql(
              'UPDATE ledger_changes SET noticed_at = noted_at, attempts = 0, free_at = 0 WHERE tenant = ? AND place = ? AND generation > ?',
            ).run(tenant, place, generation);
          } else if (failure) {
            sql(
              `INSERT OR REPLACE INTO ledger_change_failures (tenant, place, change, code, reason, etag, failed_at)
               VALUES (?, ?, ?, ?, ?, ?, ?)`,
            ).run(tenant, place, text(row['change']), failure.code, failure.reason, failure.eTag, at);
          }
        }
      });
    },

    giveBackChanges(tenant: string, places: string[], at: number): void {
      transaction(() => {
        for (const place of places) {
          sql('UPDATE ledger_changes SET attempts = max(0, attempts - 1), free_at = ? WHERE tenant = ? AND place = ?').run(
            at,
            tenant,
            place,
          );
        }
      });
    },

    owedChanges(at: number): { tenant: string; owed: number; free: number; oldestNoticedAt: number }[] {
      return sql(
        `SELECT tenant, count(*) AS owed, sum(free_at <= ?) AS free, min(noticed_at) AS oldest
         FROM ledger_changes GROUP BY tenant ORDER BY tenant`,
      )
        .all(at)
        .map((row) => ({
          tenant: text(row['tenant']),
          owed: Number(row['owed']),
          free: Number(row['free']),
          oldestNoticedAt: Number(row['oldest']),
        }));
    },

    changeFailures(tenant: string, { after = '0', limit }: { after?: string; limit: number }): ChangeFailure[] {
      return sql('SELECT * FROM ledger_change_failures WHERE tenant = ? AND failure_no > ? ORDER BY failure_no LIMIT ?')
        .all(tenant, Number(after), limit)
        .map((row) => ({
          cursor: String(row['failure_no']),
          change: changeSchema.parse(JSON.parse(text(row['change']))),
          code: text(row['code']) as ErrorCode,
          reason: text(row['reason']),
          eTag: textOrNull(row['etag']),
          failedAt: Number(row['failed_at']),
        }));
    },
  };
}

/** What a tenant is owed and what failed of it, inside the caller's transaction. */
export function dropChangesOf({ sql }: Pick<LedgerDatabase, 'sql'>, tenant: string, upTo: number): void {
  sql('DELETE FROM ledger_changes WHERE tenant = ? AND noted_at <= ?').run(tenant, upTo);
  sql('DELETE FROM ledger_change_failures WHERE tenant = ? AND failed_at <= ?').run(tenant, upTo);
}

/** The first alone when workers died over it, else those up to the next of that kind. */
function together<T>(rows: T[], soloAfter: number, attemptsOf: (row: T) => number): T[] {
  const solo = rows.findIndex((row) => attemptsOf(row) >= soloAfter);
  return solo === -1 ? rows : rows.slice(0, Math.max(1, solo));
}

function toOwed(row: Row): OwedChange {
  return {
    place: text(row['place']),
    change: changeSchema.parse(JSON.parse(text(row['change']))),
    generation: Number(row['generation']),
    noticedAt: Number(row['noticed_at']),
    changedAt: numberOrNull(row['changed_at'] ?? null),
    attempts: Number(row['attempts']) + 1,
  };
}
