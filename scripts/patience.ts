/** Asks a stack again that is busy or away for a while. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ERRORS } from '@sightline/shared/runtime/errors';
import { ApiError, ConnectionError } from './api-client.ts';

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5_000;
/** Some five minutes. */
const MOST_PAUSES = 60;

export class Patience {
  readonly #signal: AbortSignal;
  /** Where nothing ever answered the address is wrong: that is not waited for. */
  #isReached = false;

  /** `signal` ends all waits; what they throw then is its reason. */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  async ask<T>(ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    for (let pauses = 0; ; pauses++) {
      this.#signal.throwIfAborted();
      try {
        const answer = await ask(this.#signal);
        this.#isReached = true;
        return answer;
      } catch (error) {
        this.#signal.throwIfAborted();
        if (!this.#isPassing(error) || pauses >= MOST_PAUSES) throw error;
      }
      // It throws an AbortError of its own where it is ended; the reason is thrown above.
      await sleep(Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** pauses), null, { signal: this.#signal }).catch(() => null);
    }
  }

  #isPassing(error: unknown): boolean {
    if (error instanceof ConnectionError) return this.#isReached;
    if (!(error instanceof ApiError)) return false;
    this.#isReached = true;
    // An object that changed stays another one.
    return ERRORS[error.code].retryable && error.code !== 'object_changed';
  }
}
