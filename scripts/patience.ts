/** Asks a stack again that is busy or away for a while. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ERRORS } from '@sightline/shared/runtime/errors';
import { ApiError, ConnectionError } from './api-client.ts';

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5_000;
/** Some five minutes. */
const MOST_PAUSES = 60;
const REFUSED_FOR_NOW_MS = 2_000;
const MOST_REFUSALS = 30;

interface Rule {
  signal: AbortSignal;
  mayPass: (error: unknown) => boolean;
  pauseMs: (pauses: number) => number;
  mostPauses: number;
}

/** Errors: the last that may pass, the first that may not, and the signal's reason. */
async function askAgain<T>(ask: () => Promise<T>, { signal, mayPass, pauseMs, mostPauses }: Rule): Promise<T> {
  for (let pauses = 0; ; pauses++) {
    signal.throwIfAborted();
    try {
      return await ask();
    } catch (error) {
      signal.throwIfAborted();
      if (!mayPass(error) || pauses >= mostPauses) throw error;
    }
    // It throws an AbortError of its own where it is ended; the reason is thrown above.
    await sleep(pauseMs(pauses), null, { signal }).catch(() => null);
  }
}

/** Asks again what is refused for now (too many requests, not ready), up to 30 times, `waitMs` apart. Error: the last refusal, or why it was aborted. */
export function untilTaken<T>(
  ask: () => Promise<T>,
  { signal, waitMs = REFUSED_FOR_NOW_MS }: { signal: AbortSignal; waitMs?: number },
): Promise<T> {
  const mayPass = (error: unknown): boolean => error instanceof ApiError && ERRORS[error.code].retryable;
  return askAgain(ask, { signal, mayPass, pauseMs: () => waitMs, mostPauses: MOST_REFUSALS });
}

export class Patience {
  readonly #signal: AbortSignal;
  /** Where nothing ever answered the address is wrong: that is not waited for. */
  #isReached = false;

  /** `signal` ends all waits; what they throw then is its reason. */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  ask<T>(ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const once = async (): Promise<T> => {
      const answer = await ask(this.#signal);
      this.#isReached = true;
      return answer;
    };
    const pauseMs = (pauses: number): number => Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** pauses);
    return askAgain(once, {
      signal: this.#signal,
      mayPass: (error) => this.#isPassing(error),
      pauseMs,
      mostPauses: MOST_PAUSES,
    });
  }

  #isPassing(error: unknown): boolean {
    if (error instanceof ConnectionError) return this.#isReached;
    if (!(error instanceof ApiError)) return false;
    this.#isReached = true;
    // An object that changed stays another one.
    return ERRORS[error.code].retryable && error.code !== 'object_changed';
  }
}
