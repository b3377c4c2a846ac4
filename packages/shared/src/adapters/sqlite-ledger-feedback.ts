import { keptPrompt, MAX_REVIEWS, review, REVIEWED_PAGE_CHARS, type KeptPrompt, type Review } from '../contracts/feedback.ts';
import { listCursor, listPlace } from '../contracts/list-cursor.ts';
import type { FeedbackLedger, ReviewedQuestion } from '../ports/feedback-ledger.ts';
import { SightlineError } from '../runtime/errors.ts';
import { toQuestion } from './sqlite-ledger-questions.ts';
import { text, type LedgerDatabase, type Row } from './sqlite-ledger-rows.ts';

/** Of the ledger's file: a step of its format. `reviewed_at`: of the latest review; null where there is none. */
export const FEEDBACK_LAYOUT = `
  ALTER TABLE ledger_questions ADD COLUMN reviewed_at INTEGER;
  DROP INDEX ledger_questions_finished;
  CREATE INDEX ledger_questions_finished ON ledger_questions (finished_at) WHERE finished_at IS NOT NULL AND reviewed_at IS NULL;
  CREATE INDEX ledger_questions_reviewed ON ledger_questions (finished_at) WHERE reviewed_at IS NOT NULL;
  CREATE INDEX ledger_questions_reviewed_of_tenant ON ledger_questions (tenant, reviewed_at, question_id)
    WHERE reviewed_at IS NOT NULL;
  CREATE TABLE ledger_question_prompts (
    question_id TEXT PRIMARY KEY REFERENCES ledger_questions ON DELETE CASCADE, prompt TEXT NOT NULL
  ) STRICT;
  CREATE TABLE ledger_question_reviews (
    question_id TEXT NOT NULL REFERENCES ledger_questions ON DELETE CASCADE, reviewer TEXT NOT NULL, reviewed_at INTEGER NOT NULL,
    said TEXT NOT NULL, PRIMARY KEY (question_id, reviewer)
  ) STRICT;
`;

/** Ledger's methods on reviews of answers. */
export function feedbackMethods({ sql, transaction }: LedgerDatabase) {
  const reviewsOf = (questionId: string): Review[] =>
    sql('SELECT said, reviewed_at FROM ledger_question_reviews WHERE question_id = ? ORDER BY reviewed_at, reviewer')
      .all(questionId)
      .map((row) => review.parse({ ...(JSON.parse(text(row['said'])) as object), reviewedAt: Number(row['reviewed_at']) }));
  const toReviewed = (row: Row): ReviewedQuestion => {
    const question = toQuestion(row);
    const prompt = sql('SELECT prompt FROM ledger_question_prompts WHERE question_id = ?').get(question.questionId)?.['prompt'];
    return {
      question,
      reviews: reviewsOf(question.questionId),
      prompt: prompt === undefined ? null : keptPrompt.parse(JSON.parse(text(prompt))),
    };
  };

  return {
    putReview(tenant: string, questionId: string, { reviewedAt, ...said }: Review): Review[] | null {
      return transaction(() => {
        const row = sql('SELECT status FROM ledger_questions WHERE question_id = ? AND tenant = ?').get(questionId, tenant);
        if (!row) return null;
        const status = text(row['status']);
        if (status !== 'answered') throw new SightlineError('question_state', `It is ${status}.`);
        const others = sql('SELECT count(*) AS n FROM ledger_question_reviews WHERE question_id = ? AND reviewer <> ?');
        if (Number(others.get(questionId, said.reviewer)?.['n']) >= MAX_REVIEWS) throw new SightlineError('feedback_full');
        const { changes } = sql(
          `INSERT INTO ledger_question_reviews (question_id, reviewer, reviewed_at, said) VALUES (?, ?, ?, ?)
           ON CONFLICT DO UPDATE SET reviewed_at = excluded.reviewed_at, said = excluded.said WHERE said <> excluded.said`,
        ).run(questionId, said.reviewer, reviewedAt, JSON.stringify(said));
        if (Number(changes) > 0)
          sql('UPDATE ledger_questions SET reviewed_at = max(?2, coalesce(reviewed_at, ?2)) WHERE question_id = ?1').run(
            questionId,
            reviewedAt,
          );
        return reviewsOf(questionId);
      });
    },

    getReviewed(tenant: string, questionId: string): ReviewedQuestion | null {
      const row = sql('SELECT * FROM ledger_questions WHERE question_id = ? AND tenant = ?').get(questionId, tenant);
      return row ? toReviewed(row) : null;
    },

    listReviewed(
      tenant: string,
      { since = 0, after, limit }: Parameters<FeedbackLedger['listReviewed']>[1],
    ): Awaited<ReturnType<FeedbackLedger['listReviewed']>> {
      const { at, id } = after === undefined ? { at: since, id: '' } : listPlace(after);
      const rows = sql(
        `SELECT * FROM ledger_questions WHERE tenant = ?1 AND reviewed_at >= ?2 AND (reviewed_at, question_id) > (?3, ?4)
         ORDER BY reviewed_at, question_id LIMIT ?5`,
      ).all(tenant, since, at, id, limit + 1);
      const reviewed: ReviewedQuestion[] = [];
      let chars = 0;
      for (const row of rows.slice(0, limit)) {
        if (chars >= REVIEWED_PAGE_CHARS) break;
        const found = toReviewed(row);
        reviewed.push(found);
        chars += JSON.stringify(found).length;
      }
      const last = rows[reviewed.length - 1];
      const count = sql('SELECT count(*) AS n FROM ledger_questions WHERE tenant = ? AND reviewed_at >= ?');
      return {
        reviewed,
        nextCursor:
          rows.length > reviewed.length && last
            ? listCursor({ at: Number(last['reviewed_at']), id: text(last['question_id']) })
            : null,
        total: after === undefined ? Number(count.get(tenant, since)?.['n']) : null,
      };
    },
  };
}

/** Inside the caller's transaction. */
export function keepPrompt({ sql }: LedgerDatabase, questionId: string, prompt: KeptPrompt): void {
  sql('INSERT INTO ledger_question_prompts (question_id, prompt) VALUES (?, ?)').run(questionId, JSON.stringify(prompt));
}
