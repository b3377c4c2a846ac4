import type { SightlineEvent } from '@sightline/shared/contracts/events';
import type { Citation } from '@sightline/shared/contracts/questions';
import type { Question, QuestionLedger } from '@sightline/shared/ports/question-ledger';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import type { OutboxMessage } from '@sightline/shared/ports/webhook-ledger';
import { citedItem } from './answer-question.ts';
import { standingOf } from './sources.ts';

/** Of one asset. More are looked at when it changes again. */
const MOST_ANSWERS = 10_000;

export interface WatchDeps {
  ledger: Pick<QuestionLedger, 'questionsCiting' | 'getQuestion' | 'markStale' | 'recheckQuestions' | 'settleRecheck'>;
  index: () => Pick<VectorIndex, 'findByItem' | 'get'>;
  message: (question: Question, stale: { assetId: string; because: 'changed' | 'gone' }, at: number) => OutboxMessage;
  onMarked: (tenant: string, deliveryIds: string[]) => void;
  now: () => number;
}

/** Answers that cite what events tell of are looked at again. The events only say that something may have changed. */
export async function watchEvents(deps: WatchDeps, events: SightlineEvent[], signal: AbortSignal): Promise<number> {
  let marked = 0;
  const looked = new Set<string>();
  for (const event of events) {
    if (event.type !== 'asset.indexed' && event.type !== 'asset.deleted') continue;
    for (const cited of [event.data.asset_id, ...event.data.item_ids.map(citedItem)]) {
      for (const questionId of await deps.ledger.questionsCiting(event.tenant, cited, MOST_ANSWERS)) {
        if (looked.has(questionId)) continue;
        looked.add(questionId);
        signal.throwIfAborted();
        if (await markWhereStale(deps, event.tenant, questionId)) marked += 1;
      }
    }
  }
  return marked;
}

/**
 * Looks once more at the sources of answers that were just written down: what changed while the model wrote was told before the answer
 * was found by its citations.
 */
export async function recheckAnswers(deps: WatchDeps, limit: number): Promise<number> {
  const due = await deps.ledger.recheckQuestions(limit);
  for (const { tenant, questionId } of due) {
    await markWhereStale(deps, tenant, questionId);
    await deps.ledger.settleRecheck(questionId);
  }
  return due.length;
}

const PAGE = 100;

/**
 * Looks at the sources of every answer that is kept: what an event log lost, or never told because there is none between processes, is
 * found so. Slow by design: a pause after each page. Answers how many were marked.
 */
export async function reviewAnswers(
  deps: WatchDeps & { ledger: Pick<QuestionLedger, 'listQuestions'>; tenants: () => Promise<string[]> },
  { pauseMs, sleep, signal }: { pauseMs: number; sleep: (ms: number, signal: AbortSignal) => Promise<void>; signal: AbortSignal },
): Promise<number> {
  let marked = 0;
  for (const tenant of await deps.tenants()) {
    for (let after: string | null = null; ;) {
      const page = await deps.ledger.listQuestions(tenant, { status: 'answered', limit: PAGE, ...(after !== null && { after }) });
      for (const { questionId, staleAt, result } of page.questions) {
        if (staleAt !== null || !result || result.citations.length === 0) continue;
        signal.throwIfAborted();
        if (await markWhereStale(deps, tenant, questionId)) marked += 1;
      }
      after = page.nextCursor;
      if (after === null) break;
      await sleep(pauseMs, signal);
    }
  }
  return marked;
}

/** Whether it was marked just now. */
async function markWhereStale(deps: WatchDeps, tenant: string, questionId: string): Promise<boolean> {
  const question = await deps.ledger.getQuestion(tenant, questionId);
  if (!question?.result || question.staleAt !== null) return false;
  for (const citation of question.result.citations) {
    const because = await whyStale(deps.index(), tenant, citation);
    if (!because) continue;
    const at = deps.now();
    const done = await deps.ledger.markStale(questionId, deps.message(question, { assetId: citation.assetId, because }, at), at);
    if (done) deps.onMarked(tenant, done.deliveryIds);
    return done !== null;
  }
  return false;
}

/** Null while the source is what it was when it was read. */
async function whyStale(
  index: Pick<VectorIndex, 'findByItem' | 'get'>,
  tenant: string,
  { assetId, itemId, seen }: Citation,
): Promise<'changed' | 'gone' | null> {
  const now = await standingOf(index, tenant, { assetId, itemId });
  if (!now.live || (seen.sha256 !== null && now.seen.sha256 === null)) return 'gone';
  const isSame = now.seen.sha256 === seen.sha256 && now.seen.recordDigest === seen.recordDigest;
  return isSame ? null : 'changed';
}
