import { SightlineError } from '@sightline/shared/runtime/errors';
import { APIError, type OpenAI } from 'openai';
import { z } from 'zod';

const KEPT_MS = 60_000;
/** A name that is not in the list is looked for again, since adapters are loaded while the server runs; but not at every question. */
const LOOKED_AGAIN_MS = 1_000;
const LIST_TIMEOUT_MS = 5_000;

const modelList = z.object({ data: z.array(z.object({ id: z.string(), owned_by: z.string().nullish() })) });

interface Listed {
  at: number;
  /** Null where the server has no list, or an empty one. */
  ids: string[] | null;
  isVllm: boolean;
}

/** What the server says that it serves. */
export class ServedModels {
  readonly #client: OpenAI;
  readonly #now: () => number;
  #listed: Listed | null = null;
  #asking: Promise<Listed> | null = null;
  readonly #closing = new AbortController();

  constructor(client: OpenAI, now: () => number) {
    this.#client = client;
    this.#now = now;
  }

  /** Asks now, whatever is known. Errors: those of the library. */
  async look(): Promise<Listed> {
    this.#asking ??= this.#ask().finally(() => (this.#asking = null));
    this.#listed = await this.#asking;
    return this.#listed;
  }

  /** The name to send. Errors: `generator_refused` for an adapter that is not served, or where no model is named by anyone. */
  async nameFor(model: string | null, adapter: string | null): Promise<{ name: string; isVllm: boolean }> {
    let listed = await this.#known(KEPT_MS);
    if (adapter !== null) {
      if (listed.ids && !listed.ids.includes(adapter)) listed = await this.#known(LOOKED_AGAIN_MS);
      if (listed.ids && !listed.ids.includes(adapter))
        throw new SightlineError('generator_refused', `The model server serves no adapter "${adapter}".`);
      return { name: adapter, isVllm: listed.isVllm };
    }
    const name = model ?? listed.ids?.[0];
    if (name === undefined)
      throw new SightlineError('generator_refused', 'The model server lists no model: set VLM_MODEL to the name it goes by.');
    return { name, isVllm: listed.isVllm };
  }

  forget(): void {
    this.#listed = null;
  }

  close(): void {
    this.#closing.abort();
  }

  async #known(forMs: number): Promise<Listed> {
    return this.#listed && this.#now() - this.#listed.at < forMs ? this.#listed : await this.look();
  }

  async #ask(): Promise<Listed> {
    const at = this.#now();
    let body: unknown;
    try {
      body = await this.#client.get('/models', {
        signal: AbortSignal.any([this.#closing.signal, AbortSignal.timeout(LIST_TIMEOUT_MS)]),
      });
    } catch (error) {
      const status = error instanceof APIError ? error.status : undefined;
      if (status === 404 || status === 405 || status === 501) return { at, ids: null, isVllm: false };
      if (error instanceof SyntaxError) return { at, ids: null, isVllm: false };
      throw error;
    }
    const parsed = modelList.safeParse(body);
    if (!parsed.success || parsed.data.data.length === 0) return { at, ids: null, isVllm: false };
    const { data } = parsed.data;
    return { at, ids: data.map(({ id }) => id), isVllm: data.some(({ owned_by }) => owned_by === 'vllm') };
  }
}
