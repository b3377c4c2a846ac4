import type { QuestionEventData } from '../contracts/questions.ts';
import type { Question, QuestionEnd, QuestionStatus, StoredQuestionEvent } from '../ports/question-ledger.ts';
import type { OutboxMessage } from '../ports/webhook-ledger.ts';
import { keepPrompt } from './sqlite-ledger-feedback.ts';
import { addMessage } from './sqlite-ledger-outbox.ts';
import { toQuestion } from './sqlite-ledger-questions.ts';
import { text, type LedgerDatabase } from './sqlite-ledger-rows.ts';

/** Ledger's methods on questions that are worked. */
export function answerMethods(database: LedgerDatabase) {
  const { sql, transaction } = database;

  const addEvents = (questionId: string, events: QuestionEventData[]): void => {
    for (const event of events) {
      sql(
        `INSERT INTO ledger_question_events (question_id, seq, data)
         SELECT ?1, coalesce(max(seq), 0) + 1, ?2 FROM ledger_question_events WHERE question_id = ?1`,
      ).run(questionId, JSON.stringify(event));
    }
  };
  const isHeld = (questionId: string, token: string): boolean =>
    sql(`SELECT 1 FROM ledger_questions WHERE question_id = ? AND status = 'running' AND claim_token = ?`).get(
      questionId,
      token,
    ) !== undefined;

  return {
    takeQuestion(questionId: string, { token, claimMs, at }: { token: string; claimMs: number; at: number }): Question | null {
      const row = sql(
        `UPDATE ledger_questions SET status = 'running', started_at = coalesce(started_at, ?4), claim_token = ?2, claim_until = ?3,
           attempts = attempts + iif(claim_token IS ?2, 0, 1)
         WHERE question_id = ?1 AND finished_at IS NULL AND (claim_until IS NULL OR claim_until <= ?4 OR claim_token = ?2)
         RETURNING *`,
      ).get(questionId, token, at + claimMs, at);
      return row ? toQuestion(row) : null;
    },

    renewQuestion(
      questionId: string,
      { token, claimMs, at }: { token: string; claimMs: number; at: number },
    ): 'held' | 'cancelled' | 'lost' {
      return transaction(() => {
        const { changes } = sql(
          `UPDATE ledger_questions SET claim_until = ? WHERE question_id = ? AND status = 'running' AND claim_token = ?`,
        ).run(at + claimMs, questionId, token);
        if (Number(changes) === 1) return 'held';
        const row = sql('SELECT status FROM ledger_questions WHERE question_id = ?').get(questionId);
        return row?.['status'] === 'cancelled' ? 'cancelled' : 'lost';
      });
    },

    giveBackQuestion(questionId: string, token: string): void {
      sql(
        `UPDATE ledger_questions SET status = 'queued', attempts = attempts - 1, claim_token = NULL, claim_until = NULL
         WHERE question_id = ? AND status = 'running' AND claim_token = ?`,
      ).run(questionId, token);
    },

    addQuestionEvents(questionId: string, token: string, events: QuestionEventData[]): boolean {
      return transaction(() => {
        if (!isHeld(questionId, token)) return false;
        addEvents(questionId, events);
        return true;
      });
    },

    questionEvents(
      tenant: string,
      questionId: string,
      { after, limit }: { after: number; limit: number },
    ): StoredQuestionEvent[] {
      return (
        sql(
          `SELECT seq, data FROM ledger_question_events WHERE question_id = ?1 AND seq > ?3
             AND EXISTS (SELECT 1 FROM ledger_questions WHERE question_id = ?1 AND tenant = ?2) ORDER BY seq LIMIT ?4`,
        )
          .all(questionId, tenant, after, limit)
          // Written by addEvents.
          .map((row) => ({ seq: Number(row['seq']), data: JSON.parse(text(row['data'])) as QuestionEventData }))
      );
    },

    finishQuestion(questionId: string, token: string, end: QuestionEnd): { deliveryIds: string[] } | null {
      return transaction(() => {
        if (!isHeld(questionId, token)) return null;
        const { status, at, message } = end;
        const citedAssets = end.status === 'answered' ? end.citedAssets : [];
        sql(
          `UPDATE ledger_questions SET status = ?2, finished_at = ?3, result = ?4, error_code = ?5, error_detail = ?6, recheck_at = ?7,
             claim_token = NULL, claim_until = NULL WHERE question_id = ?1`,
        ).run(
          questionId,
          status,
          at,
          end.status === 'answered' ? JSON.stringify(end.result) : null,
          end.status === 'failed' ? end.error.code : null,
          end.status === 'failed' ? end.error.detail : null,
          citedAssets.length > 0 ? at : null,
        );
        if (end.status === 'answered' && end.prompt) keepPrompt(database, questionId, end.prompt);
        addEvents(questionId, [...end.events, { type: 'done', status, eventId: message.messageId }]);
        for (const assetId of citedAssets) {
          sql(
            `INSERT INTO ledger_question_citations (tenant, asset_id, question_id)
             SELECT tenant, ?2, question_id FROM ledger_questions WHERE question_id = ?1 ON CONFLICT DO NOTHING`,
          ).run(questionId, assetId);
        }
        return { deliveryIds: addMessage(database, message) };
      });
    },

    cancelQuestion(tenant: string, questionId: string, { eventId, at }: { eventId: string; at: number }): QuestionStatus | null {
      return transaction(() => {
        const row = sql('SELECT status, finished_at FROM ledger_questions WHERE question_id = ? AND tenant = ?').get(
          questionId,
          tenant,
        );
        if (!row) return null;
        if (row['finished_at'] !== null) return text(row['status']) as QuestionStatus;
        sql(
          `UPDATE ledger_questions SET status = 'cancelled', finished_at = ?, claim_token = NULL, claim_until = NULL
           WHERE question_id = ?`,
        ).run(at, questionId);
        addEvents(questionId, [{ type: 'done', status: 'cancelled', eventId }]);
        return 'cancelled';
      });
    },

    markStale(questionId: string, message: OutboxMessage, at: number): { deliveryIds: string[] } | null {
      return transaction(() => {
        const { changes } = sql(
          `UPDATE ledger_questions SET stale_at = ? WHERE question_id = ? AND status = 'answered' AND stale_at IS NULL`,
        ).run(at, questionId);
        if (Number(changes) === 0) return null;
        // Only those that are not stale yet are looked for.
        sql('DELETE FROM ledger_question_citations WHERE question_id = ?').run(questionId);
        return { deliveryIds: addMessage(database, message) };
      });
    },
  };
}
