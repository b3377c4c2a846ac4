import { sourceKey } from '../contracts/source-place.ts';
import type { Hold, Ingestion, IngestionStatus, Ledger } from '../ports/ledger.ts';
import { dropChangesOf } from './sqlite-ledger-changes.ts';
import { dropAuditsOf, pruneAudits } from './sqlite-ledger-audits.ts';
import { dropOutboxOf } from './sqlite-ledger-outbox.ts';
import { dropQuestionsOf } from './sqlite-ledger-questions.ts';
import { toIngestion, type LedgerDatabase } from './sqlite-ledger-rows.ts';

const TERMINAL: ReadonlySet<IngestionStatus> = new Set(['completed', 'failed', 'cancelled']);

/** Ledger's methods on ingestions. */
export function ingestionMethods(database: LedgerDatabase) {
  const { sql, transaction, mustExist } = database;
  return {
    createIngestion(ingestion: Parameters<Ledger['createIngestion']>[0]): Ingestion {
      return transaction(() => {
        sql(
          `INSERT INTO ledger_ingestions (ingestion_id, tenant, source, source_key, dry_run, status, created_at)
           VALUES (?, ?, ?, ?, ?, 'planning', ?) ON CONFLICT DO NOTHING`,
        ).run(
          ingestion.ingestionId,
          ingestion.tenant,
          JSON.stringify(ingestion.source),
          sourceKey(ingestion.source),
          ingestion.dryRun ? 1 : 0,
          ingestion.createdAt,
        );
        return toIngestion(mustExist(ingestion.ingestionId));
      });
    },

    getIngestion(tenant: string, ingestionId: string): Ingestion | null {
      const row = sql('SELECT * FROM ledger_ingestions WHERE tenant = ? AND ingestion_id = ?').get(tenant, ingestionId);
      return row ? toIngestion(row) : null;
    },

    listIngestions(
      tenant: string | null,
      { statuses, limit, oldestFirst }: Parameters<Ledger['listIngestions']>[1],
    ): Ingestion[] {
      const order = oldestFirst ? 'ASC' : 'DESC';
      return sql(
        `SELECT * FROM ledger_ingestions WHERE (?1 IS NULL OR tenant = ?1)
           AND (?2 IS NULL OR status IN (SELECT value FROM json_each(?2)))
         ORDER BY created_at ${order}, ingestion_id ${order} LIMIT ?3`,
      )
        .all(tenant, statuses ? JSON.stringify(statuses) : null, limit)
        .map(toIngestion);
    },

    latestIngestions(tenant: string | null): Ingestion[] {
      return sql(
        `SELECT i.* FROM ledger_ingestions i WHERE (?1 IS NULL OR i.tenant = ?1) AND i.dry_run = 0 AND NOT EXISTS (
           SELECT 1 FROM ledger_ingestions newer WHERE newer.tenant = i.tenant AND newer.source_key = i.source_key
             AND newer.dry_run = 0 AND (newer.created_at, newer.ingestion_id) > (i.created_at, i.ingestion_id))
         ORDER BY created_at, ingestion_id`,
      )
        .all(tenant)
        .map(toIngestion);
    },

    setStatus(
      ingestionId: string,
      from: IngestionStatus[],
      to: IngestionStatus,
      { reason, at }: { reason?: string; at: number },
    ): boolean {
      return transaction(() => {
        mustExist(ingestionId);
        const ends = TERMINAL.has(to);
        const { changes } = sql(
          `UPDATE ledger_ingestions SET status = ?2, reason = ?3, finished_at = ?4, hold = NULL
           WHERE ingestion_id = ?1 AND status IN (SELECT value FROM json_each(?5)) AND (hold IS NULL OR ?6)`,
        ).run(ingestionId, to, reason ?? null, ends ? at : null, JSON.stringify(from), ends ? 1 : 0);
        if (Number(changes) === 0) return false;
        if (to === 'cancelled') sql('DELETE FROM ledger_chunks WHERE ingestion_id = ?').run(ingestionId);
        return true;
      });
    },

    setHold(ingestionId: string, hold: Hold | null, { reason }: { reason?: string; at: number }): boolean {
      return transaction(() => {
        mustExist(ingestionId);
        const { changes } = hold
          ? sql(
              `UPDATE ledger_ingestions SET status = 'paused', hold = ?2, reason = ?3
               WHERE ingestion_id = ?1 AND status IN ('planning', 'running', 'paused') AND hold IS NULL`,
            ).run(ingestionId, hold, reason ?? null)
          : sql(
              `UPDATE ledger_ingestions SET status = iif(planned, 'running', 'planning'), hold = NULL, reason = ?2
               WHERE ingestion_id = ?1 AND status = 'paused'`,
            ).run(ingestionId, reason ?? null);
        return Number(changes) === 1;
      });
    },

    reopen(ingestionId: string, cursor: string): number {
      return transaction(() => {
        const ingestion = toIngestion(mustExist(ingestionId));
        const row = sql('SELECT count(*) AS n FROM ledger_failures WHERE ingestion_id = ? AND retried = 0').get(ingestionId);
        const failures = Number(row?.['n']);
        // Asked again by one who did not hear the answer.
        if (ingestion.status === 'planning' && ingestion.cursor === cursor) return failures;
        if (!TERMINAL.has(ingestion.status) || failures === 0) return 0;
        sql(
          `UPDATE ledger_ingestions SET status = 'planning', planned = 0, cursor = ?2, reason = NULL, finished_at = NULL
           WHERE ingestion_id = ?1`,
        ).run(ingestionId, cursor);
        return failures;
      });
    },

    finishPlanning(ingestionId: string): void {
      transaction(() => {
        mustExist(ingestionId);
        sql('UPDATE ledger_ingestions SET planned = 1 WHERE ingestion_id = ?').run(ingestionId);
      });
    },

    deleteTenant(
      tenant: string,
      { createdUpTo = Number.MAX_SAFE_INTEGER }: { createdUpTo?: number } = {},
    ): { ingestions: number; failures: number; apiKeys: number } {
      return transaction(() => {
        const row = sql(
          `SELECT count(*) AS n FROM ledger_failures JOIN ledger_ingestions USING (ingestion_id)
           WHERE tenant = ? AND created_at <= ? AND retried = 0`,
        ).get(tenant, createdUpTo);
        dropChangesOf({ sql }, tenant, createdUpTo);
        const ingestions = sql('DELETE FROM ledger_ingestions WHERE tenant = ? AND created_at <= ?').run(tenant, createdUpTo);
        dropAuditsOf(database, tenant, createdUpTo);
        dropQuestionsOf(database, tenant, createdUpTo);
        dropOutboxOf(database, tenant, createdUpTo);
        const apiKeys = sql('DELETE FROM ledger_api_keys WHERE tenant = ? AND created_at <= ?').run(tenant, createdUpTo);
        return { ingestions: Number(ingestions.changes), failures: Number(row?.['n']), apiKeys: Number(apiKeys.changes) };
      });
    },

    prune(before: number): number {
      const { changes } = sql(
        `DELETE FROM ledger_ingestions WHERE finished_at < ? AND (dry_run = 1 OR EXISTS (
           SELECT 1 FROM ledger_ingestions newer WHERE newer.tenant = ledger_ingestions.tenant
             AND newer.source_key = ledger_ingestions.source_key AND newer.dry_run = 0
             AND (newer.created_at, newer.ingestion_id) > (ledger_ingestions.created_at, ledger_ingestions.ingestion_id)))`,
      ).run(before);
      return Number(changes) + pruneAudits(database, before);
    },
  };
}
