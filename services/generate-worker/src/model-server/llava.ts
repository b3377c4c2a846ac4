import { SightlineError } from '@sightline/shared/runtime/errors';
import { StopText } from '../core/stop-text.ts';
import { ChatPrompt, contextExceeded } from './chat-prompt.ts';
import { ChatRefused, type ChatMessage } from './chat-request.ts';
import type { ModelPack } from './model-pack.ts';
import { OnnxLlava, release } from './onnx-llava.ts';
import { chancesOf, Sampler, type SamplingRule, type TokenChance } from './sampler.ts';
import { TokenText } from './token-text.ts';

export interface Asked {
  /** The pack's name, an adapter's, or null for the pack. */
  model: string | null;
  messages: ChatMessage[];
  /** RGB, 8 bits, interleaved, of the model's own square, in the order of the messages. */
  pictures: Uint8Array[];
  sampling: SamplingRule;
  /** Null: until the context is full. */
  maxTokens: number | null;
  stop: string[];
  /** How many likeliest tokens are told at each place; null: no log-probabilities. */
  topLogprobs: number | null;
}

export interface SaidToken {
  id: number;
  /** Whole characters; empty while one is not finished. */
  text: string;
  chances: { own: NamedChance; top: NamedChance[] } | null;
}
export interface NamedChance {
  token: string;
  logprob: number;
}

export interface Ended {
  finishReason: 'stop' | 'length' | 'cancelled';
  /** Text that was held back. */
  text: string;
  promptTokens: number;
  completionTokens: number;
}

/** What an adapter must have in common with its pack: numbers of a vector, tokens of a picture, tokens that there are. */
const SIZES = ['hidden', 'tokensPerImage', 'vocabulary'] as const;
type Sizes = Record<(typeof SIZES)[number], number>;

/** Vectors that the decoder reads at once: bounds the memory of its attention, and how long a cancelled prompt goes on. */
const CHUNK = 256;

/** A loaded pack that answers one request at a time. Blocks its thread while it computes. */
export class Llava {
  readonly tokensPerImage: number;
  readonly #pack: ModelPack;
  readonly #prompt: ChatPrompt;
  readonly #graphs: OnnxLlava;
  readonly #adapters = new Map<string, OnnxLlava>();
  readonly #threads: number;
  readonly #sizes: Sizes;
  readonly #hidden: number;
  readonly #tables: Float32Array[];

  private constructor(pack: ModelPack, threads: number, prompt: ChatPrompt, graphs: OnnxLlava, sizes: Sizes) {
    this.#pack = pack;
    this.#threads = threads;
    this.#prompt = prompt;
    this.#graphs = graphs;
    this.#sizes = sizes;
    this.#hidden = sizes.hidden;
    this.tokensPerImage = sizes.tokensPerImage;
    this.#tables = tablesOf(pack);
  }

  /** Loads the pack and runs it once. Adapters are loaded when they are first asked for, and kept. Error: `pack_invalid`. */
  static async open(pack: ModelPack, threads: number): Promise<Llava> {
    const prompt = new ChatPrompt(pack);
    const graphs = await OnnxLlava.load(pack.graphs, threads);
    const sizes = await sizesOf(graphs, prompt.imageTokenId, pack.plan.input.widthPx);
    const { tokensPerImage } = sizes;
    if (pack.tokensPerImage !== null && pack.tokensPerImage !== tokensPerImage)
      throw doNotFit(`a picture gives ${tokensPerImage} tokens, sightline.json says ${pack.tokensPerImage}`);
    return new Llava(pack, threads, prompt, graphs, sizes);
  }

  /** The prompt's token ids, at least one. Errors: `ChatRefused`, with `context_length_exceeded` where the answer has no room. */
  promptIds({ messages, pictures, maxTokens }: Pick<Asked, 'messages' | 'pictures' | 'maxTokens'>): number[] {
    const ids = this.#prompt.ids(messages, pictures.length, this.tokensPerImage);
    if (ids.length === 0) throw new ChatRefused('invalid_request_error', 'The prompt is empty.');
    const needed = ids.length + (maxTokens ?? 1);
    if (needed > this.#pack.contextTokens) throw contextExceeded(this.#pack.contextTokens, String(needed));
    return ids;
  }

  /**
   * Answers a request; `onToken` gets each token as it is picked. `isCancelled` is asked before each run of a graph. Errors: `ChatRefused`,
   * with `adapter_invalid` for an adapter that cannot be used.
   */
  async answer(
    asked: Asked,
    { isCancelled, onToken }: { isCancelled: () => boolean; onToken: (token: SaidToken) => void },
  ): Promise<Ended> {
    const ids = this.promptIds(asked);
    const graphs = await this.#graphsFor(asked.model);
    const most = Math.min(asked.maxTokens ?? Infinity, this.#pack.contextTokens - ids.length);
    const sampler = new Sampler(asked.sampling);
    const text = new TokenText((some) => this.#prompt.text(some));
    const stop = new StopText(asked.stop);
    const said: number[] = [];
    const end = (finishReason: Ended['finishReason']): Ended => ({
      finishReason,
      text: finishReason === 'cancelled' ? '' : stop.push(text.flush()) + stop.flush(),
      promptTokens: ids.length,
      completionTokens: said.length,
    });
    let past = graphs.nothing();
    try {
      let vectors = await this.#vectorsOf(ids, asked.pictures, graphs, isCancelled);
      for (;;) {
        let logits: Float32Array | null = null;
        for (let from = 0; from < vectors.length; from += CHUNK * this.#hidden) {
          if (isCancelled()) return end('cancelled');
          const chunk = vectors.slice(from, from + CHUNK * this.#hidden);
          ({ logits, past } = await graphs.step(chunk, chunk.length / this.#hidden, past));
        }
        if (!logits) return end('cancelled');
        const id = sampler.pick(logits);
        said.push(id);
        const isEnd = this.#prompt.eosIds.has(id);
        onToken({ id, text: isEnd ? '' : stop.push(text.push(id)), chances: this.#chances(asked, logits, id) });
        if (isEnd || stop.isStopped) return end('stop');
        if (said.length >= most) return end('length');
        vectors = await graphs.embed([id]);
      }
    } finally {
      release(past);
    }
  }

  #chances({ topLogprobs }: Asked, logits: Float32Array, id: number): SaidToken['chances'] {
    if (topLogprobs === null) return null;
    const { own, top } = chancesOf(logits, id, topLogprobs);
    const named = (chance: TokenChance): NamedChance => ({ token: this.#prompt.nameOf(chance.id), logprob: chance.logprob });
    return { own: named(own), top: top.map(named) };
  }

  async #graphsFor(model: string | null): Promise<OnnxLlava> {
    if (model === null || model === this.#pack.name) return this.#graphs;
    const adapter = this.#pack.adapters.find(({ name }) => name === model);
    if (!adapter) throw new ChatRefused('model_not_found', `There is no model "${model}" here.`, 404);
    const kept = this.#adapters.get(model);
    if (kept) return kept;
    try {
      const graphs = await OnnxLlava.load(adapter.graphs, this.#threads, this.#graphs);
      const sizes = await sizesOf(graphs, this.#prompt.imageTokenId, this.#pack.plan.input.widthPx);
      const other = SIZES.find((name) => sizes[name] !== this.#sizes[name]);
      if (other !== undefined) throw doNotFit(`${other} is ${sizes[other]}, of the pack ${this.#sizes[other]}`);
      this.#adapters.set(model, graphs);
      return graphs;
    } catch (error) {
      const why = error instanceof SightlineError ? error.detail : textOf(error);
      throw new ChatRefused('adapter_invalid', `The adapter "${model}" cannot be used. ${why}`, 422);
    }
  }

  /** Words and pictures as one row of vectors; empty when cancelled. */
  async #vectorsOf(ids: number[], pictures: Uint8Array[], graphs: OnnxLlava, isCancelled: () => boolean): Promise<Float32Array> {
    const vectors = await graphs.embed(ids);
    let place = ids.indexOf(this.#prompt.imageTokenId);
    for (const picture of pictures) {
      if (isCancelled()) return new Float32Array(0);
      vectors.set(await graphs.see(this.#normalised(picture), this.#pack.plan.input.widthPx), place * this.#hidden);
      place = ids.indexOf(this.#prompt.imageTokenId, place + this.tokensPerImage);
    }
    return vectors;
  }

  /** Bytes, interleaved, to floats, channel by channel. */
  #normalised(pixels: Uint8Array): Float32Array {
    const area = pixels.length / 3;
    const floats = new Float32Array(pixels.length);
    for (const [channel, table] of this.#tables.entries())
      for (let at = 0; at < area; at++) floats[channel * area + at] = table[pixels[at * 3 + channel] ?? 0] ?? 0;
    return floats;
  }
}

/** Runs each graph once. Error: `pack_invalid`. */
async function sizesOf(graphs: OnnxLlava, imageTokenId: number, sidePx: number): Promise<Sizes> {
  try {
    const { length: hidden } = await graphs.embed([imageTokenId]);
    const seen = await graphs.see(new Float32Array(3 * sidePx * sidePx), sidePx);
    const tokensPerImage = seen.length / hidden;
    if (!Number.isInteger(tokensPerImage)) throw new Error(`a picture gives ${seen.length} numbers, a token ${hidden}`);
    const { past, logits } = await graphs.step(seen.slice(0, hidden), 1, graphs.nothing());
    release(past);
    return { hidden, tokensPerImage, vocabulary: logits.length };
  } catch (error) {
    throw doNotFit(textOf(error), error);
  }
}

/** What each of the 256 values of a channel becomes. */
function tablesOf({ plan: { mean, std, rescaleFactor } }: ModelPack): Float32Array[] {
  return mean.map((average, channel) =>
    Float32Array.from({ length: 256 }, (_, value) => (Math.fround(value * rescaleFactor) - average) / (std[channel] ?? 1)),
  );
}

const textOf = (error: unknown) => (error instanceof Error ? error.message : String(error)).replace(/\s+/g, ' ').slice(0, 300);

const doNotFit = (detail: string, cause?: unknown) =>
  new SightlineError('pack_invalid', `Its graphs do not work together: ${detail}.`, { cause });
