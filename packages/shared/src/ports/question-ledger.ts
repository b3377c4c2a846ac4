import type { KeptPrompt } from '../contracts/feedback.ts';
import type { AskedQuestion, QuestionEventData, QuestionResult } from '../contracts/questions.ts';
import type { ErrorCode } from '../runtime/errors.ts';
import type { OutboxMessage } from './webhook-ledger.ts';

export type QuestionStatus = 'queued' | 'running' | 'answered' | 'failed' | 'cancelled';

/** A question and what came of it. Times in Unix milliseconds. */
export interface Question {
  questionId: string;
  tenant: string;
  traceId: string;
  asked: AskedQuestion;
  status: QuestionStatus;
  createdAt: number;
  /** When it was first taken. */
  startedAt: number | null;
  finishedAt: number | null;
  /** How often it was taken and not given back. */
  attempts: number;
  result: QuestionResult | null;
  error: { code: ErrorCode; detail: string | null } | null;
  /** When one of its cited sources was seen to have changed or gone. */
  staleAt: number | null;
}

export interface StoredQuestionEvent {
  /** From 1, without gaps. */
  seq: number;
  data: QuestionEventData;
}

/** What ends a question. `citedAssets` are found again by `questionsCiting`. */
export type QuestionEnd = {
  at: number;
  /** Told to who listens, before `done`, which `finishQuestion` adds by itself with `message.messageId`. */
  events: QuestionEventData[];
  message: OutboxMessage;
} &
  /** `prompt`: absent where no model was asked. */
  (
    | { status: 'answered'; result: QuestionResult; citedAssets: string[]; prompt?: KeptPrompt }
    | { status: 'failed'; error: { code: ErrorCode; detail: string | null } }
  );

/**
 * Questions, what is told while they are worked, and which answers cite what. Every method is one atomic step and durable when it
 * returns. A worker holds a question under a claim: a token of its own that lapses unless it is renewed; who has lost it changes
 * nothing any more.
 */
export interface QuestionLedger {
  /**
   * Writes down a question, `queued`. With an idempotency key that the tenant used before (until `keepUntil`) the question of
   * that time is answered, `isNew: false`, however full the backlog is; a question that is not kept any more leaves its key free.
   * `ahead`: how many other questions of the tenant are not finished. Errors: `question_backlog_full` when `maxOfTenant`
   * questions of the tenant, or `maxBacklog` questions of all tenants are not finished, `idempotency_key_reused` when `digest` is
   * another; neither writes anything.
   */
  createQuestion(
    question: { questionId: string; tenant: string; traceId: string; asked: AskedQuestion; createdAt: number },
    options: { maxBacklog: number; maxOfTenant?: number; idempotency?: { key: string; digest: string; keepUntil: number } },
  ): Promise<{ question: Question; isNew: boolean; ahead: number }>;
  getQuestion(tenant: string, questionId: string): Promise<Question | null>;
  /** Newest first, after a cursor (`listCursor`). Error: `request_invalid` for one that is none. */
  listQuestions(
    tenant: string,
    options: { status?: QuestionStatus; after?: string; limit: number },
  ): Promise<{ questions: Question[]; nextCursor: string | null }>;
  /**
   * A worker takes a question that is queued, or runs under a claim that has lapsed: it is `running` from then on, under `token`
   * until `at + claimMs`. Null when it is over, gone, or under another's claim. Taken again with the same token it is the same
   * taking.
   */
  takeQuestion(questionId: string, claim: { token: string; claimMs: number; at: number }): Promise<Question | null>;
  /** Prolongs the claim to `at + claimMs`. `lost`: another's, or over; `cancelled`: the asker cancelled it. */
  renewQuestion(
    questionId: string,
    claim: { token: string; claimMs: number; at: number },
  ): Promise<'held' | 'cancelled' | 'lost'>;
  /** A worker that lives gives it up: `queued` again, that time no longer counts. Nothing under another's claim. */
  giveBackQuestion(questionId: string, token: string): Promise<void>;
  /** Adds to what is told; false, and nothing added, when the claim is not this one any more. */
  addQuestionEvents(questionId: string, token: string, events: QuestionEventData[]): Promise<boolean>;
  /** What was told after `after` (0: from the beginning), in order. Empty for a question that is not the tenant's. */
  questionEvents(tenant: string, questionId: string, options: { after: number; limit: number }): Promise<StoredQuestionEvent[]>;
  /**
   * Ends a running question under its claim: status, result or error, the last events, the index of its citations, and the outbox
   * message with its deliveries, all in one step. Answers the deliveries' ids; null, and nothing changed, when the claim is lost
   * or the question over.
   */
  finishQuestion(questionId: string, token: string, end: QuestionEnd): Promise<{ deliveryIds: string[] } | null>;
  /**
   * `cancelled` from `queued` or `running`, with its `done` event of id `eventId`. Answers the status it has then; null when
   * there is no such question.
   */
  cancelQuestion(tenant: string, questionId: string, end: { eventId: string; at: number }): Promise<QuestionStatus | null>;
  /**
   * Not finished, oldest first: queued ones, and running ones whose claim has lapsed by `at`; what the sweep adds to the queue
   * again.
   */
  owedQuestions(options: {
    at: number;
    limit: number;
  }): Promise<{ tenant: string; questionId: string; traceId: string; createdAt: number }[]>;
  questionBacklog(): Promise<{ queued: number; running: number; oldestCreatedAt: number | null }>;
  /** Answered questions of a tenant that cite the asset and are not stale yet; at most `limit` of them. */
  questionsCiting(tenant: string, assetId: string, limit: number): Promise<string[]>;
  /**
   * Marks an answered question stale, once, and puts the message into the outbox in the same step; null when it was stale before
   * or there is none.
   */
  markStale(questionId: string, message: OutboxMessage, at: number): Promise<{ deliveryIds: string[] } | null>;
  /**
   * Answers whose cited sources are to be looked at once more because they may have changed before the answer was written down:
   * all that `finishQuestion` ended as answered with citations, oldest first, until they are `settleRecheck`ed.
   */
  recheckQuestions(limit: number): Promise<{ tenant: string; questionId: string }[]>;
  settleRecheck(questionId: string): Promise<void>;
  /**
   * Drops what finished before `before`, or, where it was reviewed, before `reviewedBefore`, with its events, prompt and reviews,
   * and idempotency keys past their time; at most `limit` questions. Answers the dropped ones.
   */
  pruneQuestions(options: {
    before: number;
    reviewedBefore: number;
    at: number;
    limit: number;
  }): Promise<{ tenant: string; questionId: string }[]>;
}
