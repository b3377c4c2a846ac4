/**
 * Ends a streamed text at the first stop string: servers differ in whether they leave it in, and some never look. What may be the
 * beginning of one is held back until it is known.
 */
export class StopText {
  readonly #stops: readonly string[];
  #held = '';
  #isStopped = false;

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** What may be handed on now. */
  push(text: string): string {
    if (this.#isStopped) return '';
    const whole = this.#held + text;
    const at = Math.min(...this.#stops.map((stop) => whole.indexOf(stop)).filter((index) => index >= 0));
    if (Number.isFinite(at)) {
      this.#isStopped = true;
      this.#held = '';
      return whole.slice(0, at);
    }
    const held = Math.max(0, ...this.#stops.map((stop) => beginningAtEnd(whole, stop)));
    this.#held = whole.slice(whole.length - held);
    return whole.slice(0, whole.length - held);
  }

  /** What was held back, at the end of the text. */
  flush(): string {
    const held = this.#held;
    this.#held = '';
    return held;
  }
}

/** Length of the longest beginning of `stop` that `text` ends with. */
function beginningAtEnd(text: string, stop: string): number {
  for (let length = Math.min(stop.length - 1, text.length); length > 0; length--)
    if (text.endsWith(stop.slice(0, length))) return length;
  return 0;
}
