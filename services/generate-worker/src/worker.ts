import type { JobName } from '@sightline/shared/contracts/jobs';
import type { JobHandler } from '@sightline/shared/ports/queue-engine';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { AnswerDeps } from './core/answer-deps.ts';
import { answerQuestion } from './core/answer-question.ts';

/** The jobs of this service; the mapped type forces a handler for each. */
export type GenerateHandlers = { [N in Extract<JobName, 'answer'>]: JobHandler<N> };

const LOOK_EVERY_MS = 250;
/** Of a job's time while the model server is away; then the job waits in the queue again. */
const WAIT_MS = 5_000;

export function generateHandlers(deps: AnswerDeps): GenerateHandlers {
  return {
    answer: async (data, { signal }) => {
      // A question is not taken while nobody could answer it, but for one that has waited too long.
      if (!(await isServed(deps, signal))) {
        const question = await deps.ledger.getQuestion(data.tenant, data.questionId);
        const isOld = question !== null && deps.now() - question.createdAt >= deps.giveUpAfterMs;
        if (!isOld) throw new SightlineError('job_handed_back', 'The model server is away.');
      }
      await answerQuestion(deps, data, signal);
    },
  };
}

async function isServed({ generator, nowMs, sleep }: AnswerDeps, signal: AbortSignal): Promise<boolean> {
  for (const startedMs = nowMs(); generator.limit() === 0; await sleep(LOOK_EVERY_MS, signal))
    if (nowMs() - startedMs >= WAIT_MS) return false;
  return true;
}
