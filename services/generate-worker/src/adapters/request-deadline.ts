import { SightlineError } from '@sightline/shared/runtime/errors';

/** One request's signal: aborted with the asker's reason, or with `generator_timeout` when a bound is passed. */
export class RequestDeadline {
  readonly #cut = new AbortController();
  readonly #asker: AbortSignal;
  readonly #whole: NodeJS.Timeout;
  #step: NodeJS.Timeout | undefined;

  constructor(asker: AbortSignal, wholeMs: number) {
    this.#asker = asker;
    if (asker.aborted) this.#cut.abort(asker.reason);
    asker.addEventListener('abort', this.#onAbort, { once: true });
    this.#whole = setTimeout(() => this.#pass('the whole answer', wholeMs), wholeMs);
  }

  get signal(): AbortSignal {
    return this.#cut.signal;
  }

  /** What is waited for next, instead of what was waited for before. */
  expect(what: string, withinMs: number): void {
    this.rest();
    this.#step = setTimeout(() => this.#pass(what, withinMs), withinMs);
  }

  /** The server is not what is waited for. */
  rest(): void {
    clearTimeout(this.#step);
  }

  close(): void {
    this.rest();
    clearTimeout(this.#whole);
    this.#asker.removeEventListener('abort', this.#onAbort);
  }

  readonly #onAbort = () => this.#cut.abort(this.#asker.reason);

  #pass(what: string, ms: number): void {
    this.#cut.abort(new SightlineError('generator_timeout', `Waited ${ms / 1_000} s for ${what}.`));
  }
}

/** What `work` gives, or the signal's reason as soon as it is aborted; `work` is left to itself then. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    if (stop) signal.removeEventListener('abort', stop);
  }
}
