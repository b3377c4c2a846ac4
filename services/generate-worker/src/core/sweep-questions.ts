import { QUESTION_PICTURES, questionOfPicture, questionPictureKey, SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import type { JobData } from '@sightline/shared/contracts/jobs';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { QuestionLedger } from '@sightline/shared/ports/question-ledger';
import { SightlineError } from '@sightline/shared/runtime/errors';

const DRIVEN_A_TURN = 200;
const PRUNED_A_STEP = 200;

/** Adds questions that are owed to the queue again: one that is there already is one job. Answers how many. */
export async function driveOwedQuestions(deps: {
  ledger: Pick<QuestionLedger, 'owedQuestions'>;
  enqueue: (job: JobData<'answer'>) => Promise<void>;
  now: () => number;
}): Promise<number> {
  const owed = await deps.ledger.owedQuestions({ at: deps.now(), limit: DRIVEN_A_TURN });
  for (const { tenant, questionId, traceId } of owed) await deps.enqueue({ tenant, questionId, traceId });
  return owed.length;
}

/**
 * Drops questions that ended longer ago than `keepMs`, those whose answers were reviewed longer ago than `keepReviewedMs` where
 * that is more, with their pictures. `giveUpAfterMs`: how long one may wait before it ends. Answers how many.
 */
export async function pruneQuestions(
  deps: {
    ledger: Pick<QuestionLedger, 'pruneQuestions' | 'getQuestion'>;
    store: Pick<ObjectStore, 'list' | 'delete'>;
    now: () => number;
  },
  { keepMs, keepReviewedMs, giveUpAfterMs }: { keepMs: number; keepReviewedMs: number; giveUpAfterMs: number },
): Promise<number> {
  let count = 0;
  const longestMs = Math.max(keepMs, keepReviewedMs);
  for (;;) {
    const at = deps.now();
    const times = { before: at - keepMs, reviewedBefore: at - longestMs, at };
    const dropped = await deps.ledger.pruneQuestions({ ...times, limit: PRUNED_A_STEP });
    for (const { tenant, questionId } of dropped)
      await deps.store.delete({ bucket: SYSTEM_BUCKET, key: questionPictureKey(tenant, questionId) });
    count += dropped.length;
    if (dropped.length < PRUNED_A_STEP) break;
  }
  await dropLeftOver(deps, deps.now() - keepMs - giveUpAfterMs);
  return count;
}

/**
 * Deletes pictures without a question: what was left over by those who died between a picture and its question, or between a
 * question and its picture. `before`, in Unix milliseconds, is when only what was reviewed can have its question still.
 */
async function dropLeftOver({ ledger, store }: Parameters<typeof pruneQuestions>[0], before: number): Promise<void> {
  try {
    for await (const { key, modifiedAt } of store.list({ bucket: SYSTEM_BUCKET, prefix: QUESTION_PICTURES })) {
      if (modifiedAt.getTime() >= before) continue;
      const of = questionOfPicture(key);
      if (!of || !(await ledger.getQuestion(of.tenant, of.questionId))) await store.delete({ bucket: SYSTEM_BUCKET, key });
    }
  } catch (error) {
    // A bucket into which nothing was ever put is not there.
    if (!(error instanceof SightlineError && error.code === 'source_not_found')) throw error;
  }
}
