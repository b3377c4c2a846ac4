const UNDECODED = '\ufffd';

/**
 * The text of tokens as they come, in whole characters: one character may be several tokens, and what a token says may depend on the one
 * before it. Only the last character can be unfinished; it is held back until it is whole or the answer ends.
 */
export class TokenText {
  readonly #textOf: (ids: number[]) => string;
  /** The tokens that the next one's text depends on, and how much of their text was handed out. */
  #ids: number[] = [];
  #told = 0;
  /** How many of them were whole at the last look. */
  #whole = 0;

  constructor(textOf: (ids: number[]) => string) {
    this.#textOf = textOf;
  }

  push(id: number): string {
    this.#ids.push(id);
    const text = this.#textOf(this.#ids);
    const isWhole = !text.endsWith(UNDECODED);
    const said = text.slice(this.#told, isWhole ? undefined : -1);
    this.#told += said.length;
    if (isWhole && said !== '') {
      this.#ids = this.#ids.slice(this.#whole);
      this.#whole = this.#ids.length;
      this.#told = this.#textOf(this.#ids).length;
    }
    return said;
  }

  /** What was held back, at the end. */
  flush(): string {
    const said = this.#textOf(this.#ids).slice(this.#told);
    this.#told += said.length;
    return said;
  }
}
