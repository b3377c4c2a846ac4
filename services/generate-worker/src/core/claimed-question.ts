import type { Question, QuestionLedger } from '@sightline/shared/ports/question-ledger';

/** Why a question is not worked on: told apart from errors by its class. */
export class QuestionLeft extends Error {
  readonly why: 'cancelled' | 'lost';

  constructor(why: 'cancelled' | 'lost') {
    super(`The question is ${why}.`);
    this.name = 'QuestionLeft';
    this.why = why;
  }
}

export interface ClaimDeps {
  ledger: Pick<QuestionLedger, 'takeQuestion' | 'renewQuestion'>;
  newToken: () => string;
  now: () => number;
  claimMs: number;
  renewEveryMs: number;
}

export interface ClaimedQuestion {
  question: Question;
  token: string;
  /** Aborts with QuestionLeft when the asker cancels or the claim is lost, else with what the outer signal aborts with. */
  signal: AbortSignal;
  /** Ends the renewing. */
  end: () => void;
}

/** Takes a question and keeps it until `end`. Null when it is not to be had. A ledger that is away leaves the claim to run its time. */
export async function claimQuestion(deps: ClaimDeps, questionId: string, outer: AbortSignal): Promise<ClaimedQuestion | null> {
  const token = deps.newToken();
  let keptUntil = deps.now() + deps.claimMs;
  const question = await deps.ledger.takeQuestion(questionId, { token, claimMs: deps.claimMs, at: deps.now() });
  if (!question) return null;
  const left = new AbortController();
  const renew = async (): Promise<void> => {
    const at = deps.now();
    try {
      const held = await deps.ledger.renewQuestion(questionId, { token, claimMs: deps.claimMs, at });
      if (held === 'held') keptUntil = at + deps.claimMs;
      else left.abort(new QuestionLeft(held));
    } catch {
      if (deps.now() >= keptUntil) left.abort(new QuestionLeft('lost'));
    }
  };
  let isRenewing = false;
  const timer = setInterval(() => {
    if (isRenewing || left.signal.aborted) return;
    isRenewing = true;
    void renew().finally(() => (isRenewing = false));
  }, deps.renewEveryMs);
  return { question, token, signal: AbortSignal.any([outer, left.signal]), end: () => clearInterval(timer) };
}
