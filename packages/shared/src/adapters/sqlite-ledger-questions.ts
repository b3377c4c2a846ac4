import { listCursor, listPlace } from '../contracts/list-cursor.ts';
import { askedQuestion, questionResult } from '../contracts/questions.ts';
import type { Question, QuestionLedger, QuestionStatus } from '../ports/question-ledger.ts';
import type { ErrorCode } from '../runtime/errors.ts';
import { SightlineError } from '../runtime/errors.ts';
import { numberOrNull, text, textOrNull, type LedgerDatabase, type Row } from './sqlite-ledger-rows.ts';

/** Of the ledger's file: a step of its format. */
export const QUESTIONS_LAYOUT = `
  CREATE TABLE ledger_questions (
    question_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, trace_id TEXT NOT NULL, status TEXT NOT NULL, created_at INTEGER NOT NULL,
    started_at INTEGER, finished_at INTEGER, attempts INTEGER NOT NULL DEFAULT 0, claim_token TEXT, claim_until INTEGER,
    stale_at INTEGER, recheck_at INTEGER, error_code TEXT, error_detail TEXT, asked TEXT NOT NULL, result TEXT
  ) STRICT;
  CREATE INDEX ledger_questions_of_tenant ON ledger_questions (tenant, created_at, question_id);
  CREATE INDEX ledger_questions_by_status ON ledger_questions (tenant, status, created_at, question_id);
  CREATE INDEX ledger_questions_active ON ledger_questions (created_at, question_id, claim_until) WHERE finished_at IS NULL;
  CREATE INDEX ledger_questions_backlog ON ledger_questions (tenant, question_id, status, created_at, finished_at)
    WHERE finished_at IS NULL;
  CREATE INDEX ledger_questions_finished ON ledger_questions (finished_at) WHERE finished_at IS NOT NULL;
  CREATE INDEX ledger_questions_recheck ON ledger_questions (recheck_at, question_id) WHERE recheck_at IS NOT NULL;
  CREATE TABLE ledger_question_events (
    question_id TEXT NOT NULL REFERENCES ledger_questions ON DELETE CASCADE, seq INTEGER NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (question_id, seq)
  ) STRICT;
  CREATE TABLE ledger_question_keys (
    tenant TEXT NOT NULL, key TEXT NOT NULL, question_id TEXT NOT NULL REFERENCES ledger_questions ON DELETE CASCADE,
    digest TEXT NOT NULL, keep_until INTEGER NOT NULL, PRIMARY KEY (tenant, key)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX ledger_question_keys_by_question ON ledger_question_keys (question_id);
  CREATE INDEX ledger_question_keys_by_age ON ledger_question_keys (keep_until);
  CREATE TABLE ledger_question_citations (
    tenant TEXT NOT NULL, asset_id TEXT NOT NULL, question_id TEXT NOT NULL REFERENCES ledger_questions ON DELETE CASCADE,
    PRIMARY KEY (tenant, asset_id, question_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX ledger_question_citations_by_question ON ledger_question_citations (question_id);
`;

/** Ledger's methods on questions that are asked, listed and dropped; those of the worker are in sqlite-ledger-answers.ts. */
export function questionMethods({ sql, transaction }: LedgerDatabase) {
  const readOf = (tenant: string, questionId: string): Question | null => {
    const row = sql('SELECT * FROM ledger_questions WHERE question_id = ? AND tenant = ?').get(questionId, tenant);
    return row ? toQuestion(row) : null;
  };
  const count = (where: string, ...values: string[]): number =>
    Number(sql(`SELECT count(*) AS n FROM ledger_questions WHERE finished_at IS NULL ${where}`).get(...values)?.['n']);

  /** The question that the tenant asked under the key before. Error: `idempotency_key_reused`. */
  const askedUnder = (tenant: string, { key, digest }: { key: string; digest: string }, at: number): Question | null => {
    const row = sql('SELECT question_id, digest FROM ledger_question_keys WHERE tenant = ? AND key = ? AND keep_until > ?').get(
      tenant,
      key,
      at,
    );
    if (!row) return null;
    if (text(row['digest']) !== digest) throw new SightlineError('idempotency_key_reused');
    return readOf(tenant, text(row['question_id']));
  };

  return {
    getQuestion: readOf,

    createQuestion(
      { questionId, tenant, traceId, asked, createdAt }: Parameters<QuestionLedger['createQuestion']>[0],
      { maxBacklog, maxOfTenant = maxBacklog, idempotency }: Parameters<QuestionLedger['createQuestion']>[1],
    ): { question: Question; isNew: boolean; ahead: number } {
      const ahead = (id: string): number => count('AND tenant = ? AND question_id <> ?', tenant, id);
      return transaction(() => {
        const before = (idempotency && askedUnder(tenant, idempotency, createdAt)) ?? readOf(tenant, questionId);
        if (before) return { question: before, isNew: false, ahead: ahead(before.questionId) };
        if (count('') >= maxBacklog || count('AND tenant = ?', tenant) >= maxOfTenant)
          throw new SightlineError('question_backlog_full');
        const row = sql(
          `INSERT INTO ledger_questions (question_id, tenant, trace_id, status, created_at, asked)
           VALUES (?, ?, ?, 'queued', ?, ?) RETURNING *`,
        ).get(questionId, tenant, traceId, createdAt, JSON.stringify(asked));
        if (idempotency)
          sql(
            'INSERT OR REPLACE INTO ledger_question_keys (tenant, key, question_id, digest, keep_until) VALUES (?, ?, ?, ?, ?)',
          ).run(tenant, idempotency.key, questionId, idempotency.digest, idempotency.keepUntil);
        return { question: toQuestion(row ?? {}), isNew: true, ahead: ahead(questionId) };
      });
    },

    listQuestions(
      tenant: string,
      { status, after, limit }: Parameters<QuestionLedger['listQuestions']>[1],
    ): { questions: Question[]; nextCursor: string | null } {
      const { at, id } = after === undefined ? { at: Number.MAX_SAFE_INTEGER, id: '' } : listPlace(after);
      const rows = sql(
        `SELECT * FROM ledger_questions WHERE tenant = ?1 AND ${status ? 'status = ?5' : '?5 IS NULL'}
           AND (created_at, question_id) < (?2, ?3) ORDER BY created_at DESC, question_id DESC LIMIT ?4`,
      ).all(tenant, at, id, limit + 1, status ?? null);
      const questions = rows.slice(0, limit).map(toQuestion);
      const last = questions.at(-1);
      const nextCursor = rows.length > limit && last ? listCursor({ at: last.createdAt, id: last.questionId }) : null;
      return { questions, nextCursor };
    },

    owedQuestions({ at, limit }: { at: number; limit: number }): Awaited<ReturnType<QuestionLedger['owedQuestions']>> {
      return sql(
        `SELECT tenant, question_id, trace_id, created_at FROM ledger_questions
         WHERE finished_at IS NULL AND (claim_until IS NULL OR claim_until <= ?) ORDER BY created_at, question_id LIMIT ?`,
      )
        .all(at, limit)
        .map((row) => ({
          tenant: text(row['tenant']),
          questionId: text(row['question_id']),
          traceId: text(row['trace_id']),
          createdAt: Number(row['created_at']),
        }));
    },

    questionBacklog(): { queued: number; running: number; oldestCreatedAt: number | null } {
      const row = sql(
        `SELECT count(*) FILTER (WHERE status = 'queued') AS queued, count(*) FILTER (WHERE status = 'running') AS running,
           min(created_at) AS oldest FROM ledger_questions WHERE finished_at IS NULL`,
      ).get();
      return {
        queued: Number(row?.['queued']),
        running: Number(row?.['running']),
        oldestCreatedAt: numberOrNull(row?.['oldest'] ?? null),
      };
    },

    questionsCiting(tenant: string, assetId: string, limit: number): string[] {
      return sql(
        'SELECT question_id FROM ledger_question_citations WHERE tenant = ? AND asset_id = ? ORDER BY question_id LIMIT ?',
      )
        .all(tenant, assetId, limit)
        .map((row) => text(row['question_id']));
    },

    recheckQuestions(limit: number): { tenant: string; questionId: string }[] {
      return sql(
        'SELECT tenant, question_id FROM ledger_questions WHERE recheck_at IS NOT NULL ORDER BY recheck_at, question_id LIMIT ?',
      )
        .all(limit)
        .map((row) => ({ tenant: text(row['tenant']), questionId: text(row['question_id']) }));
    },

    settleRecheck(questionId: string): void {
      sql('UPDATE ledger_questions SET recheck_at = NULL WHERE question_id = ?').run(questionId);
    },

    pruneQuestions({
      before,
      reviewedBefore,
      at,
      limit,
    }: Parameters<QuestionLedger['pruneQuestions']>[0]): { tenant: string; questionId: string }[] {
      return transaction(() => {
        sql(
          `DELETE FROM ledger_question_keys WHERE (tenant, key) IN (
             SELECT tenant, key FROM ledger_question_keys WHERE keep_until <= ? ORDER BY keep_until LIMIT ?)`,
        ).run(at, limit);
        const drop = (which: string, time: number, most: number) =>
          sql(
            `DELETE FROM ledger_questions WHERE rowid IN (
               SELECT rowid FROM ledger_questions WHERE finished_at < ? AND ${which} ORDER BY finished_at LIMIT ?)
             RETURNING tenant, question_id`,
          )
            .all(time, most)
            .map((row) => ({ tenant: text(row['tenant']), questionId: text(row['question_id']) }));
        const dropped = drop('finished_at IS NOT NULL AND reviewed_at IS NULL', before, limit);
        return [...dropped, ...drop('reviewed_at IS NOT NULL', reviewedBefore, limit - dropped.length)];
      });
    },
  };
}

/** Inside the caller's transaction. */
export function dropQuestionsOf({ sql }: LedgerDatabase, tenant: string, createdUpTo: number): void {
  sql('DELETE FROM ledger_questions WHERE tenant = ? AND created_at <= ?').run(tenant, createdUpTo);
}

export function toQuestion(row: Row): Question {
  const result = textOrNull(row['result']);
  const code = textOrNull(row['error_code']) as ErrorCode | null;
  return {
    questionId: text(row['question_id']),
    tenant: text(row['tenant']),
    traceId: text(row['trace_id']),
    asked: askedQuestion.parse(JSON.parse(text(row['asked']))),
    status: text(row['status']) as QuestionStatus,
    createdAt: Number(row['created_at']),
    startedAt: numberOrNull(row['started_at']),
    finishedAt: numberOrNull(row['finished_at']),
    attempts: Number(row['attempts']),
    result: result === null ? null : questionResult.parse(JSON.parse(result)),
    error: code === null ? null : { code, detail: textOrNull(row['error_detail']) },
    staleAt: numberOrNull(row['stale_at']),
  };
}
