import type { GeneratorFailure } from './generator-failure.ts';

export type Use = 'auto' | 'on' | 'off';

/** Chances of tokens that are asked for: the most that vLLM and OpenAI give, then what smaller servers do. */
const TOP_LOGPROBS = [20, 5, 0] as const;

/**
 * What this server takes beyond the protocol's core. Everything is tried until it is refused by name once; what a setting says is not
 * learned.
 */
export class ServerDialect {
  readonly #structured: Use;
  readonly #logprobs: Use;
  #tops = 0;
  #takesSchema = true;
  #takesUsage = true;
  #takesSalt = true;
  #takesStop = true;
  #tokensField: 'max_tokens' | 'max_completion_tokens' = 'max_tokens';

  constructor(use: { structured: Use; logprobs: Use }) {
    this.#structured = use.structured;
    this.#logprobs = use.logprobs;
  }

  get structured(): boolean {
    return this.#structured === 'auto' ? this.#takesSchema : this.#structured === 'on';
  }

  get logprobs(): boolean {
    return this.topLogprobs > 0;
  }

  get topLogprobs(): number {
    if (this.#logprobs === 'off') return 0;
    return TOP_LOGPROBS[this.#tops] ?? 0;
  }

  get takesUsage(): boolean {
    return this.#takesUsage;
  }

  get takesSalt(): boolean {
    return this.#takesSalt;
  }

  /** Where it does not, the answer is ended here alone. */
  get takesStop(): boolean {
    return this.#takesStop;
  }

  get tokensField(): 'max_tokens' | 'max_completion_tokens' {
    return this.#tokensField;
  }

  /** Whether a refusal was about something that can be left out: then the request is worth repeating without it. */
  learn({ status, said }: Pick<GeneratorFailure, 'status' | 'said'>): boolean {
    // transformers 5.24 looks for stop texts in a processor of pictures, which has no vocabulary, once its answer has begun.
    if (this.#takesStop && /no attribute 'get_vocab'/.test(said)) {
      this.#takesStop = false;
      return true;
    }
    if (status !== 400 && status !== 422 && status !== 501) return false;
    if (/max_completion_tokens/.test(said) && /max_tokens/.test(said) && this.#tokensField === 'max_tokens') {
      this.#tokensField = 'max_completion_tokens';
      return true;
    }
    if (/response_format|json_schema|structured|guided|grammar/i.test(said) && this.#structured === 'auto' && this.#takesSchema) {
      this.#takesSchema = false;
      return true;
    }
    if (/logprobs/i.test(said) && this.#logprobs === 'auto' && this.topLogprobs > 0) {
      this.#tops++;
      return true;
    }
    if (/stream_options|include_usage/.test(said) && this.#takesUsage) {
      this.#takesUsage = false;
      return true;
    }
    if (/cache_salt/.test(said) && this.#takesSalt) {
      this.#takesSalt = false;
      return true;
    }
    if (/\bstop(_strings|_sequences)?\b/.test(said) && this.#takesStop) {
      this.#takesStop = false;
      return true;
    }
    return false;
  }

  /** It took a schema and answered outside it. */
  ignoresSchemas(): void {
    this.#takesSchema = false;
  }

  ignoresLogprobs(): void {
    this.#tops = this.#logprobs === 'auto' ? TOP_LOGPROBS.length - 1 : this.#tops;
  }

  /** Another server may stand there now. */
  forget(): void {
    this.#tops = 0;
    this.#takesSchema = true;
    this.#takesUsage = true;
    this.#takesSalt = true;
    this.#takesStop = true;
    this.#tokensField = 'max_tokens';
  }
}
