import type { QuestionEventData } from '@sightline/shared/contracts/questions';

const FLUSH_EVERY_MS = 150;
const FLUSH_CHARS = 400;

/**
 * A model's text on its way to who listens: gathered for a moment, so that a token is not a write of the ledger each. `add` throws what
 * a write threw, or `lost()` when the question is another's by now.
 */
export class TokenStream {
  readonly #write: (event: QuestionEventData) => Promise<boolean>;
  readonly #attempt: number;
  readonly #nowMs: () => number;
  readonly #lost: () => Error;
  #gathered = '';
  #writtenAtMs: number;

  constructor(
    deps: { write: (event: QuestionEventData) => Promise<boolean>; nowMs: () => number; lost: () => Error },
    attempt: number,
  ) {
    this.#write = deps.write;
    this.#nowMs = deps.nowMs;
    this.#lost = deps.lost;
    this.#attempt = attempt;
    this.#writtenAtMs = deps.nowMs() - FLUSH_EVERY_MS;
  }

  async add(text: string): Promise<void> {
    this.#gathered += text;
    const isDue = this.#gathered.length >= FLUSH_CHARS || this.#nowMs() - this.#writtenAtMs >= FLUSH_EVERY_MS;
    // The other half of a character that was cut through comes with the next piece.
    if (isDue) await this.#send(/[\ud800-\udbff]$/.test(this.#gathered) ? this.#gathered.length - 1 : this.#gathered.length);
  }

  /** Sends all of it. */
  flush(): Promise<void> {
    return this.#send(this.#gathered.length);
  }

  async #send(length: number): Promise<void> {
    if (length === 0) return;
    const text = this.#gathered.slice(0, length).toWellFormed();
    this.#gathered = this.#gathered.slice(length);
    this.#writtenAtMs = this.#nowMs();
    if (!(await this.#write({ type: 'tokens', attempt: this.#attempt, text }))) throw this.#lost();
  }
}
