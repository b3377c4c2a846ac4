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
  readonly #dropped = new Set<'schema' | 'usage' | 'salt' | 'stop'>();
  #tokensField: 'max_tokens' | 'max_completion_tokens' = 'max_tokens';

  constructor(use: { structured: Use; logprobs: Use }) {
    this.#structured = use.structured;
    this.#logprobs = use.logprobs;
  }

  get structured(): boolean {
    return this.#structured === 'auto' ? !this.#dropped.has('schema') : this.#structured === 'on';
  }

  get logprobs(): boolean {
    return this.topLogprobs > 0;
  }

  get topLogprobs(): number {
    if (this.#logprobs === 'off') return 0;
    return TOP_LOGPROBS[this.#tops] ?? 0;
  }

  get takesUsage(): boolean {
    return !this.#dropped.has('usage');
  }

  get takesSalt(): boolean {
    return !this.#dropped.has('salt');
  }

  /** Where it does not, the answer is ended here alone. */
  get takesStop(): boolean {
    return !this.#dropped.has('stop');
  }

  get tokensField(): 'max_tokens' | 'max_completion_tokens' {
    return this.#tokensField;
  }

  /** Whether a failure was about something in `sent` that can be left out: then the request is worth repeating without it. */
  learn({ status, said }: Pick<GeneratorFailure, 'status' | 'said'>, sent: object): boolean {
    const isAbout = (field: string, words: RegExp) => field in sent && words.test(said);
    // transformers 5.24 looks for stop texts in a processor of pictures, which has no vocabulary, once its answer has begun.
    if (isAbout('stop', /no attribute 'get_vocab'/)) return this.#drop('stop');
    if (status !== 400 && status !== 422 && status !== 501) return false;
    if (isAbout('max_tokens', /max_tokens[^]*max_completion_tokens/)) {
      this.#tokensField = 'max_completion_tokens';
      return true;
    }
    if (isAbout('response_format', /response_format|json_schema|structured|guided|grammar/i) && this.#structured === 'auto')
      return this.#drop('schema');
    if (isAbout('logprobs', /logprobs/i) && this.#logprobs === 'auto') {
      // Several may have been refused together.
      const asked = 'top_logprobs' in sent ? TOP_LOGPROBS.findIndex((count) => count === sent.top_logprobs) : 0;
      this.#tops = Math.max(this.#tops, asked + 1);
      return true;
    }
    if (isAbout('stream_options', /stream_options|include_usage/)) return this.#drop('usage');
    if (isAbout('cache_salt', /cache_salt/)) return this.#drop('salt');
    return isAbout('stop', /\bstop(_strings|_sequences)?\b/) && this.#drop('stop');
  }

  /** It took a schema and answered outside it. */
  ignoresSchemas(): void {
    this.#dropped.add('schema');
  }

  ignoresLogprobs(): void {
    this.#tops = this.#logprobs === 'auto' ? TOP_LOGPROBS.length - 1 : this.#tops;
  }

  /** Another server may stand there now. */
  forget(): void {
    this.#tops = 0;
    this.#dropped.clear();
    this.#tokensField = 'max_tokens';
  }

  #drop(what: 'schema' | 'usage' | 'salt' | 'stop'): true {
    this.#dropped.add(what);
    return true;
  }
}
