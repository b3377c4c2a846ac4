import type { KeptPrompt } from '@sightline/shared/contracts/feedback';
import type { QuestionEventData, QuestionResult } from '@sightline/shared/contracts/questions';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { QuestionEnd } from '@sightline/shared/ports/question-ledger';
import { newMessage, newResult } from '@sightline/shared/testing/question-builder';

const CLAIM_MS = 60_000;

export const retrieved = (attempt: number): QuestionEventData => ({
  type: 'retrieved',
  attempt,
  sources: [{ citationId: 'c1', assetId: 'asset-1', itemId: 'item-1', title: 'Cooler', relevanceScore: 0.75 }],
  noMatch: false,
  degraded: false,
});
export const tokens = (attempt: number, text: string): QuestionEventData => ({ type: 'tokens', attempt, text });
export const grounded = (attempt: number): QuestionEventData => {
  const { citations, boxes, images, claims } = newResult();
  return { type: 'citations', attempt, citations, boxes, images, claims };
};

/** What a generate worker does to the ledger, step by step, without its model. */
export class QuestionWorker {
  readonly #ledger: Ledger;
  readonly #token: string;

  constructor(ledger: Ledger, token: string) {
    this.#ledger = ledger;
    this.#token = token;
  }

  /** `at`: after another's claim has lapsed, to take over from it. */
  async take(questionId: string, at = Date.now()): Promise<number> {
    const taken = await this.#ledger.takeQuestion(questionId, { token: this.#token, claimMs: CLAIM_MS, at });
    if (!taken) throw new Error(`${questionId} is not to be taken.`);
    return taken.attempts;
  }

  tell(questionId: string, ...events: QuestionEventData[]): Promise<boolean> {
    return this.#ledger.addQuestionEvents(questionId, this.#token, events);
  }

  renew(questionId: string): Promise<'held' | 'cancelled' | 'lost'> {
    return this.#ledger.renewQuestion(questionId, { token: this.#token, claimMs: CLAIM_MS, at: Date.now() });
  }

  async answer(tenant: string, questionId: string, result: Partial<QuestionResult> = {}, prompt?: KeptPrompt): Promise<void> {
    const end = { status: 'answered' as const, result: newResult(result), citedAssets: [], ...(prompt && { prompt }) };
    await this.#end(tenant, questionId, end);
  }

  async fail(tenant: string, questionId: string, error: Extract<QuestionEnd, { status: 'failed' }>['error']): Promise<void> {
    await this.#end(tenant, questionId, { status: 'failed', error });
  }

  async #end(tenant: string, questionId: string, end: EndOf<QuestionEnd>): Promise<void> {
    const at = Date.now();
    const message = newMessage(doneId(questionId), { tenant, subject: questionId, type: `question.${end.status}`, at });
    const events: QuestionEventData[] = end.status === 'answered' ? [grounded(1)] : [];
    if (!(await this.#ledger.finishQuestion(questionId, this.#token, { at, events, message, ...end })))
      throw new Error(`${questionId} is not this worker's any more.`);
  }
}

type EndOf<T> = T extends unknown ? Omit<T, 'at' | 'events' | 'message'> : never;

/** Id of the event that ends a question which a `QuestionWorker` ended. */
export function doneId(questionId: string): string {
  return `done-${questionId}`;
}
