/**
 * The text of an answer out of the stream of its JSON: what stands in the first string of the key `answer`. Text that is no JSON object
 * passes as it is. Fed in any pieces it gives the same.
 */
export class AnswerTextStream {
  #state: 'begin' | 'seek' | 'inside' | 'after' | 'plain' = 'begin';
  #held = '';

  /** What of the piece is the answer's text. */
  add(piece: string): string {
    if (this.#state === 'plain') return piece;
    if (this.#state === 'after') return '';
    this.#held += piece;
    if (this.#state === 'begin') {
      const start = this.#held.trimStart();
      if (start === '') return '';
      if (!start.startsWith('{')) {
        this.#state = 'plain';
        return this.#held;
      }
      this.#state = 'seek';
    }
    if (this.#state === 'seek') {
      const key = /"answer"\s*:\s*"/.exec(this.#held);
      if (!key) {
        // The key may be cut in two; what lies before it is of no use.
        this.#held = this.#held.slice(-64);
        return '';
      }
      this.#held = this.#held.slice(key.index + key[0].length);
      this.#state = 'inside';
    }
    return this.#inside();
  }

  #inside(): string {
    let text = '';
    let at = 0;
    while (at < this.#held.length) {
      const char = this.#held[at];
      if (char === '"') {
        this.#state = 'after';
        break;
      }
      if (char !== '\\') {
        text += char;
        at += 1;
        continue;
      }
      const escape = this.#held[at + 1];
      const length = escape === 'u' ? 6 : 2;
      if (escape === undefined || at + length > this.#held.length) break;
      text += unescaped(this.#held.slice(at, at + length));
      at += length;
    }
    this.#held = this.#held.slice(at);
    return text;
  }
}

function unescaped(escape: string): string {
  try {
    return String(JSON.parse(`"${escape}"`));
  } catch {
    return '';
  }
}
