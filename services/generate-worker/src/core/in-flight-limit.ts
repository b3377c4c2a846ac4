const AT_FIRST = 4;
/** What a server says to wait for is believed up to this. */
const LONGEST_HOLD_MS = 30_000;

/**
 * How many questions may be with the model server at once. It doubles a round until the server is first seen to be full, then grows by
 * one a round; an overload halves it, once for all that were on their way together; questions that wait inside the server
 * take it down step by step. Never above `most`, never below one.
 */
export class InFlightLimit {
  readonly #most: number;
  readonly #now: () => number;
  #value: number;
  #isFeelingOut = true;
  #halvings = 0;
  #isQueueing = false;
  #heldUntil = 0;

  constructor(most: number, now: () => number) {
    this.#most = most;
    this.#now = now;
    this.#value = Math.min(AT_FIRST, most);
  }

  get value(): number {
    return Math.floor(this.#value);
  }

  /** How long nothing is to be sent, because the server said so. */
  get heldMs(): number {
    return Math.max(0, this.#heldUntil - this.#now());
  }

  /** To be given to `answered` or `overloaded` at the end of what begins now. */
  begin(): number {
    return this.#halvings;
  }

  /** An answer came while `inFlight` were with the server: a limit that was not used says nothing about what the server can take. */
  answered(began: number, inFlight: number): void {
    if (this.#isQueueing || began !== this.#halvings || inFlight < this.value) return;
    this.#value = Math.min(this.#most, this.#value + (this.#isFeelingOut ? 1 : 1 / this.#value));
  }

  /** Refused for the moment, or not answered in time. */
  overloaded(began: number, retryAfterMs: number | null): void {
    if (retryAfterMs !== null) this.#heldUntil = Math.max(this.#heldUntil, this.#now() + Math.min(LONGEST_HOLD_MS, retryAfterMs));
    if (began !== this.#halvings) return;
    this.#halvings++;
    this.#isFeelingOut = false;
    this.#value = Math.max(1, this.#value / 2);
  }

  /**
   * What the server says of its own queue: one look may catch what is about to be taken, two in a row do not. An eighth of what it
   * works on may wait, so that it always has the next at hand.
   */
  observed({ waiting, running }: { waiting: number; running: number }): void {
    const tooMany = waiting - Math.floor(running / 8);
    const wasQueueing = this.#isQueueing;
    this.#isQueueing = tooMany > 0;
    if (!this.#isQueueing) return;
    this.#isFeelingOut = false;
    if (wasQueueing) this.#value = Math.max(1, this.#value - Math.max(1, Math.min(tooMany, this.#value / 8)));
  }

  /** Another server may stand there now. */
  reset(): void {
    this.#value = Math.min(AT_FIRST, this.#most);
    this.#isFeelingOut = true;
    this.#isQueueing = false;
    this.#heldUntil = 0;
    this.#halvings++;
  }
}
