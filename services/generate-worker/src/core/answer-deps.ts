import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { Question, QuestionLedger } from '@sightline/shared/ports/question-ledger';
import type { OutboxMessage } from '@sightline/shared/ports/webhook-ledger';
import type { QuestionResult } from '@sightline/shared/contracts/questions';
import type { SearchVersion } from '@sightline/shared/search/search-versions';
import type { ErrorCode } from '@sightline/shared/runtime/errors';
import type { ClaimDeps } from './claimed-question.ts';
import type { Generator } from './generator.ts';
import type { ClaimTemplate } from './grounding/check-claims.ts';
import type { Letterbox } from './grounding/letterbox.ts';
import type { PromptTemplate } from './prompt-template.ts';
import type { Slots } from './slots.ts';

/** What answering a question needs. */
export interface AnswerDeps extends ClaimDeps {
  ledger: QuestionLedger;
  store: ObjectStore;
  /** For the version of the index that serves at that moment. */
  version: () => SearchVersion;
  generator: Generator;
  letterbox: Letterbox;
  /** For pictures as they are stored, in memory until they are letterboxed, over all questions. */
  pictureSlots: Slots;
  /** One, for questions that workers died over. */
  suspectSlots: Slots;
  template: PromptTemplate;
  claimTemplate: ClaimTemplate;
  messages: {
    answered: (question: Question, result: QuestionResult, at: number) => OutboxMessage;
    failed: (question: Question, error: { code: ErrorCode; detail: string | null }, at: number) => OutboxMessage;
  };
  /** Has the outbox looked at, which is owed already: its messages and these deliveries. Never throws. */
  onFinished: (tenant: string, deliveryIds: string[]) => void;
  metrics: AnswerMetrics;
  warn: (error: unknown, message: string, about: Record<string, unknown>) => void;
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** Of a monotonic clock. */
  nowMs: () => number;
  maxPictureBytes: number;
  /** How many tokens an answer may have where the asker does not say. */
  answerTokens: number;
  /** How long a question may wait for what is away before it fails with that code. */
  giveUpAfterMs: number;
  /** Workers that may die over a question before it is given up. */
  mostDeaths: number;
}

export interface AnswerMetrics {
  stage: (stage: 'queue' | 'retrieve' | 'prompt' | 'generate' | 'ground', ms: number) => void;
  ended: (outcome: 'answered' | 'no_match' | 'failed' | 'cancelled' | 'given_back') => void;
  dropped: (what: 'citations' | 'boxes', count: number) => void;
  claim: (verdict: 'supported' | 'unsupported' | 'not_checked', count: number) => void;
}
