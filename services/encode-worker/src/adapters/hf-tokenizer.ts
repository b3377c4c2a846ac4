import { Tokenizer } from '@huggingface/tokenizers';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { TextTower } from '../core/encoder-pack.ts';

/** A text as token ids, special tokens included, not padded. */
export interface Tokens {
  ids: number[];
  truncated: boolean;
}

/** A pack's tokenizer, cutting on the right as transformers does: special tokens stay, words go. */
export class HfTokenizer {
  readonly #tokenizer: Tokenizer;
  readonly #prefix: number[];
  readonly #suffix: number[];
  readonly #maxTokens: number;

  /** Errors: `pack_invalid` for a tokenizer that the library does not take. */
  constructor(tower: Pick<TextTower, 'tokenizerJson' | 'tokenizerConfig' | 'maxTokens'>) {
    try {
      this.#tokenizer = new Tokenizer(Object(tower.tokenizerJson), tower.tokenizerConfig);
      // Where the special tokens stand is read off the library's own answer for a probe.
      const bare = this.#ids('a', false);
      const full = this.#ids('a', true);
      const at = full.findIndex((_, n) => bare.every((id, i) => full[n + i] === id));
      this.#prefix = full.slice(0, at);
      this.#suffix = full.slice(at + bare.length);
    } catch (error) {
      throw new SightlineError('pack_invalid', `tokenizer.json: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
    this.#maxTokens = tower.maxTokens;
  }

  /** How many tokens of a text itself fit beside the special ones. */
  get room(): number {
    return this.#maxTokens - this.#prefix.length - this.#suffix.length;
  }

  /** Tokens of the text itself, special ones not counted. */
  count(text: string): number {
    return this.#ids(text, false).length;
  }

  encode(text: string): Tokens {
    const ids = this.#ids(text, false);
    const truncated = ids.length > this.room;
    return { ids: [...this.#prefix, ...(truncated ? ids.slice(0, this.room) : ids), ...this.#suffix], truncated };
  }

  // The library's declarations do not resolve under NodeNext, so its answer is typed here.
  #ids(text: string, special: boolean): number[] {
    const encoding: { ids: number[] } = this.#tokenizer.encode(text, { add_special_tokens: special });
    return encoding.ids;
  }
}
