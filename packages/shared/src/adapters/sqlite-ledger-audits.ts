import { auditResult } from '../contracts/audits.ts';
import type { Audit, AuditLedger, AuditStanding, AuditStatus } from '../ports/audit-ledger.ts';
import { numberOrNull, text, textOrNull, type LedgerDatabase, type Row } from './sqlite-ledger-rows.ts';

/** Of the ledger's file: a step of its format. */
export const AUDITS_LAYOUT = `
  CREATE TABLE ledger_audits (
    audit_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, place TEXT, repair INTEGER NOT NULL, grace_ms INTEGER NOT NULL,
    asked_by TEXT NOT NULL, status TEXT NOT NULL, reason TEXT, attempts INTEGER NOT NULL DEFAULT 0, result TEXT, clean INTEGER,
    created_at INTEGER NOT NULL, finished_at INTEGER
  ) STRICT;
  CREATE INDEX ledger_audits_by_tenant ON ledger_audits (tenant, created_at, audit_id);
  CREATE INDEX ledger_audits_active ON ledger_audits (created_at, audit_id) WHERE finished_at IS NULL;
`;

/** The newest completed audit of everything of each tenant, and the newest clean one. */
const STANDING = (also: string): string => `
  SELECT audit_id, tenant, finished_at, row_number() OVER (PARTITION BY tenant ORDER BY finished_at DESC, audit_id DESC) AS nth
  FROM ledger_audits WHERE status = 'completed' AND place IS NULL ${also}`;

/** Ledger's methods on audits. */
export function auditMethods({ sql, transaction }: LedgerDatabase) {
  const read = (auditId: string): Audit | null => {
    const row = sql('SELECT * FROM ledger_audits WHERE audit_id = ?').get(auditId);
    return row ? toAudit(row) : null;
  };
  return {
    createAudit({
      auditId,
      tenant,
      place,
      repair,
      graceMs,
      askedBy,
      createdAt,
    }: Parameters<AuditLedger['createAudit']>[0]): Audit {
      return transaction(() => {
        sql(
          `INSERT INTO ledger_audits (audit_id, tenant, place, repair, grace_ms, asked_by, status, created_at)
           VALUES (?, ?, ?, ?, ?, ?, 'queued', ?) ON CONFLICT DO NOTHING`,
        ).run(
          auditId,
          tenant,
          place ? JSON.stringify([place.bucket, place.prefix]) : null,
          repair ? 1 : 0,
          graceMs,
          askedBy,
          createdAt,
        );
        return toAudit(sql('SELECT * FROM ledger_audits WHERE audit_id = ?').get(auditId) ?? {});
      });
    },

    getAudit(tenant: string, auditId: string): Audit | null {
      const audit = read(auditId);
      return audit?.tenant === tenant ? audit : null;
    },

    listAudits(tenant: string, { limit }: { limit: number }): Audit[] {
      return sql('SELECT * FROM ledger_audits WHERE tenant = ? ORDER BY created_at DESC, audit_id DESC LIMIT ?')
        .all(tenant, limit)
        .map(toAudit);
    },

    activeAudits(tenant: string | null, { limit }: { limit: number }): Audit[] {
      return sql(
        `SELECT * FROM ledger_audits WHERE finished_at IS NULL AND (?1 IS NULL OR tenant = ?1)
         ORDER BY created_at, audit_id LIMIT ?2`,
      )
        .all(tenant, limit)
        .map(toAudit);
    },

    takeAudit(auditId: string): Audit | null {
      return transaction(() => {
        const { changes } = sql(
          `UPDATE ledger_audits SET status = 'running', attempts = attempts + 1 WHERE audit_id = ? AND finished_at IS NULL`,
        ).run(auditId);
        return Number(changes) === 1 ? read(auditId) : null;
      });
    },

    giveBackAudit(auditId: string): void {
      sql(`UPDATE ledger_audits SET status = 'queued', attempts = attempts - 1 WHERE audit_id = ? AND status = 'running'`).run(
        auditId,
      );
    },

    endAudit(auditId: string, end: Parameters<AuditLedger['endAudit']>[1]): boolean {
      const result = end.status === 'completed' ? end.result : null;
      const { changes } = sql(
        `UPDATE ledger_audits SET status = ?2, reason = ?3, result = ?4, clean = ?5, finished_at = ?6
         WHERE audit_id = ?1 AND finished_at IS NULL`,
      ).run(
        auditId,
        end.status,
        end.status === 'failed' ? end.reason : null,
        result ? JSON.stringify(result) : null,
        result ? Number(result.clean) : null,
        end.at,
      );
      return Number(changes) === 1;
    },

    auditStandings(): AuditStanding[] {
      return sql(
        `SELECT t.tenant, l.audit_id AS latest, c.finished_at AS clean_at
         FROM (SELECT DISTINCT tenant FROM ledger_audits WHERE finished_at IS NOT NULL AND place IS NULL) t
         LEFT JOIN (${STANDING('')}) l ON l.tenant = t.tenant AND l.nth = 1
         LEFT JOIN (${STANDING('AND clean = 1')}) c ON c.tenant = t.tenant AND c.nth = 1
         ORDER BY t.tenant`,
      )
        .all()
        .map((row) => ({
          tenant: text(row['tenant']),
          latest: row['latest'] === null ? null : read(text(row['latest'])),
          lastCleanAt: numberOrNull(row['clean_at']),
        }));
    },
  };
}

/** Inside the caller's transaction. Answers how many. */
export function dropAuditsOf({ sql }: LedgerDatabase, tenant: string, createdUpTo: number): number {
  return Number(sql('DELETE FROM ledger_audits WHERE tenant = ? AND created_at <= ?').run(tenant, createdUpTo).changes);
}

export function pruneAudits({ sql }: LedgerDatabase, before: number): number {
  const { changes } = sql(
    `DELETE FROM ledger_audits WHERE finished_at < ? AND audit_id NOT IN (
       SELECT audit_id FROM (${STANDING('')}) WHERE nth = 1 UNION ALL SELECT audit_id FROM (${STANDING('AND clean = 1')}) WHERE nth = 1)`,
  ).run(before);
  return Number(changes);
}

function toAudit(row: Row): Audit {
  const result = textOrNull(row['result']);
  return {
    auditId: text(row['audit_id']),
    tenant: text(row['tenant']),
    place: toPlace(textOrNull(row['place'])),
    repair: row['repair'] === 1,
    graceMs: Number(row['grace_ms']),
    askedBy: text(row['asked_by']) as Audit['askedBy'],
    status: text(row['status']) as AuditStatus,
    reason: textOrNull(row['reason']),
    attempts: Number(row['attempts']),
    result: result === null ? null : auditResult.parse(JSON.parse(result)),
    createdAt: Number(row['created_at']),
    finishedAt: numberOrNull(row['finished_at']),
  };
}

function toPlace(stored: string | null): Audit['place'] {
  if (stored === null) return null;
  const [bucket, prefix] = JSON.parse(stored) as [string, string];
  return { bucket, prefix };
}
