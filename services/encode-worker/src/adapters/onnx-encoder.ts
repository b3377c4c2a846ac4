import type { Logger } from 'pino';
import type { DecodeLimits } from '@sightline/shared/adapters/sharp-picture-guard';
import type { Lane } from '@sightline/shared/contracts/jobs';
import type { IndexSpec } from '@sightline/shared/ports/vector-index';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { BatchScheduler, type BatchReport } from '../core/batch-scheduler.ts';
import { RUNGS } from '../core/batch-ladder.ts';
import type { DecodedPicture } from '@sightline/shared/pictures/decoded-picture';
import type { EncodedText, Encoder, Outcome } from '../core/encoder.ts';
import type { EncoderPack, TextTower } from '../core/encoder-pack.ts';
import { splitPassages } from '../core/passages.ts';
import { viewLayouts, type ViewLayout } from '@sightline/shared/pictures/picture-view';
import { fuseScales, meanDirection, repeatForScales } from '../core/pooling.ts';
import type { EncoderProgram } from './encoder-child.ts';
import { EncoderSupervisor } from './encoder-supervisor.ts';
import { groupOf, parseGroup, toBatchInput, type EncoderInput, type GraphKey, type InputBatch } from './encoder-inputs.ts';
import type { GraphFacts } from './encoder-protocol.ts';
import { HfTokenizer } from './hf-tokenizer.ts';
import { indexSpec, loadRequest } from './loaded-pack.ts';
import { proveEncoder, type ProofReport } from './prove-encoder.ts';
import { readEncoderPack, type Variant } from './pack-reader.ts';
import { SharpDecoder } from '@sightline/shared/adapters/sharp-decoder';

export interface OnnxEncoderOptions {
  packDir: string;
  /** Where a text encoder that the pack names is looked for, beside the pack's own neighbours. */
  packPlaces?: string[];
  variant?: Variant | undefined;
  /** Intra-op threads of the encoder process: the cores that it may own. */
  threads: number;
  maxBatchMs?: number;
  /** In order of preference, such as ['cuda', 'cpu']. */
  executionProviders?: string[];
  cudaDevice?: number;
  limits?: DecodeLimits;
  logger: Logger;
  observe?: (report: BatchReport) => void;
  startTimeoutMs?: number;
  batchTimeoutMs?: number;
  /** A process that has grown by this much, what new shapes of batches took not counted, is replaced between two batches. */
  recycleGrowthBytes?: number;
  /** What is run as the encoder process, by default the one that computes. Tests have one that fails on command. */
  program?: EncoderProgram;
  now?: () => number;
  sleep?: (ms: number) => Promise<void>;
}

/**
 * Loads a pack into a process of its own, proves it against its golden vectors, and serves it.
 * Errors: `pack_not_found`, `pack_invalid`, `pack_drifted`, `encoder_unavailable`, `config_invalid` (no such provider).
 */
export async function openOnnxEncoder(options: OnnxEncoderOptions): Promise<OnnxEncoder> {
  const pack = await readEncoderPack(options.packDir, { variant: options.variant, places: options.packPlaces ?? [] });
  const encoder = new OnnxEncoder(pack, options);
  try {
    await encoder.start();
  } catch (error) {
    await encoder.close();
    throw error;
  }
  return encoder;
}

export class OnnxEncoder implements Encoder {
  readonly pack: EncoderPack;
  readonly packName: string;
  readonly logitScale: number;
  readonly languages: string[] | null;
  readonly #options: OnnxEncoderOptions;
  readonly #layouts: ViewLayout[];
  readonly #decoder: SharpDecoder;
  readonly #tokenizers: { imageText: HfTokenizer; text: HfTokenizer };
  readonly #scheduler: BatchScheduler<EncoderInput, Float32Array>;
  readonly #supervisor: EncoderSupervisor;
  #spec: IndexSpec | null = null;
  #proof: ProofReport | null = null;
  #facts = new Map<GraphKey, GraphFacts>();

  constructor(pack: EncoderPack, options: OnnxEncoderOptions) {
    this.pack = pack;
    this.packName = pack.name;
    this.logitScale = pack.logitScale;
    this.languages = pack.languages;
    this.#options = options;
    this.#layouts = viewLayouts(pack.plan, pack.multiScale);
    this.#decoder = new SharpDecoder(pack.plan, this.#layouts, options.limits);
    const imageText = new HfTokenizer(pack.imageText);
    this.#tokenizers = { imageText, text: pack.text === pack.imageText ? imageText : new HfTokenizer(pack.text) };
    this.#scheduler = new BatchScheduler({
      run: (batch) => this.#run(batch),
      rungs: (group) => this.#rungs(group),
      renew: () => this.#supervisor.renew('there is no memory for the smallest batch'),
      maxBatchMs: options.maxBatchMs ?? 250,
      now: options.now ?? (() => performance.now()),
      observe: options.observe,
    });
    this.#supervisor = new EncoderSupervisor({
      load: loadRequest(pack, {
        threads: options.threads,
        executionProviders: options.executionProviders ?? ['cpu'],
        cudaDevice: options.cudaDevice ?? 0,
      }),
      startTimeoutMs: options.startTimeoutMs ?? 120_000,
      batchTimeoutMs: options.batchTimeoutMs ?? 60_000,
      recycleGrowthBytes: options.recycleGrowthBytes ?? Infinity,
      program: options.program,
      prove: (facts) => this.#prove(facts),
      onServing: () => this.#scheduler.resume(),
      onDown: () => this.#scheduler.pause(),
      onGivenUp: (error) => this.#scheduler.fail(error),
      drained: () => this.#scheduler.drained(),
      logger: options.logger,
      sleep: options.sleep ?? ((ms) => new Promise((resolve) => setTimeout(resolve, ms).unref())),
    });
  }

  get spec(): IndexSpec {
    if (!this.#spec) throw new SightlineError('encoder_unavailable', 'It has not been started.');
    return this.#spec;
  }

  /** How the encoder stood against its golden vectors when it last started. */
  get proof(): ProofReport {
    if (!this.#proof) throw new SightlineError('encoder_unavailable', 'It has not been proven.');
    return this.#proof;
  }

  /** The encoder process, for tests and health. */
  get pid(): number | undefined {
    return this.#supervisor.pid;
  }

  /** Errors: `pack_invalid`, `pack_drifted`, `config_invalid`, `encoder_unavailable`. */
  start(): Promise<void> {
    return this.#supervisor.start();
  }

  decode(bytes: Uint8Array): Promise<DecodedPicture> {
    return this.#decoder.decode(bytes);
  }

  async encodePictures(
    pictures: DecodedPicture[],
    options: { lane: Lane; signal?: AbortSignal },
  ): Promise<Outcome<Float32Array>[]> {
    const inputs = pictures.flatMap((picture) => this.#crops(picture));
    const outcomes = await this.#submit('vision', inputs, options.lane, options.signal);
    const perPicture = inputs.length / Math.max(1, pictures.length);
    return pictures.map((_, n) => {
      const own = outcomes.slice(n * perPicture, (n + 1) * perPicture);
      const vectors: Float32Array[] = [];
      for (const outcome of own) {
        if (!outcome.ok) return outcome;
        vectors.push(outcome.value);
      }
      let at = 0;
      const perScale = this.#layouts.map((layout) => vectors.slice(at, (at += layout.tiles.length)));
      return { ok: true, value: fuseScales(perScale, this.pack.multiScale?.fuse ?? 'mean') };
    });
  }

  async encodeTexts(
    texts: string[],
    options: { space: 'image' | 'text'; purpose: 'query' | 'passage'; lane: Lane; signal?: AbortSignal },
  ): Promise<EncodedText[]> {
    const { graph, tower, tokenizer } = this.#tower(options.space);
    const templates = this.#templates(options, tower);
    const tokens = texts.flatMap((text) => templates.map((template) => tokenizer.encode(template.replace('{}', () => text))));
    const outcomes = await this.#submit(
      graph,
      tokens.map(({ ids }) => ({ ids })),
      options.lane,
      options.signal,
    );
    return texts.map((_, n) => {
      const [from, to] = [n * templates.length, (n + 1) * templates.length];
      const vectors = outcomes.slice(from, to).map((outcome) => {
        if (!outcome.ok) throw outcome.error;
        return outcome.value;
      });
      const vector = meanDirection(vectors);
      return {
        vector: options.space === 'image' ? this.#forScales(vector) : vector,
        truncated: tokens.slice(from, to).some((t) => t.truncated),
      };
    });
  }

  splitPassages(text: string): string[] {
    const { tokenizer, tower } = this.#tower('text');
    return splitPassages(text, {
      room: tokenizer.room - tokenizer.count(tower.passagePrefix),
      count: (piece) => tokenizer.count(piece),
    });
  }

  async close(): Promise<void> {
    this.#scheduler.pause();
    this.#scheduler.fail(new SightlineError('encoder_unavailable', 'It is closed.'));
    await this.#supervisor.close();
  }

  #templates({ space, purpose }: { space: 'image' | 'text'; purpose: 'query' | 'passage' }, tower: TextTower): string[] {
    if (space === 'image') return purpose === 'query' ? this.pack.promptTemplates : ['{}'];
    return [`${purpose === 'query' ? tower.queryPrefix : tower.passagePrefix}{}`];
  }

  #tower(space: 'image' | 'text'): { graph: 'imageText' | 'text'; tower: TextTower; tokenizer: HfTokenizer } {
    if (space === 'image' || this.pack.text === this.pack.imageText)
      return { graph: 'imageText', tower: this.pack.imageText, tokenizer: this.#tokenizers.imageText };
    return { graph: 'text', tower: this.pack.text, tokenizer: this.#tokenizers.text };
  }

  #forScales(vector: Float32Array): Float32Array {
    return this.pack.multiScale?.fuse === 'concat' ? repeatForScales(vector, this.#layouts.length) : vector;
  }

  #crops(picture: DecodedPicture): EncoderInput[] {
    let at = 0;
    return this.#layouts.flatMap(({ tile, tiles }) =>
      tiles.map(() => ({
        pixels: picture.pixels.subarray(at, (at += tile.widthPx * tile.heightPx * 3)),
        widthPx: tile.widthPx,
        heightPx: tile.heightPx,
      })),
    );
  }

  /** Sorts inputs into groups of equal shape, one submission each, and puts the outcomes back in order. */
  async #submit(graph: GraphKey, inputs: EncoderInput[], lane: Lane, signal?: AbortSignal): Promise<Outcome<Float32Array>[]> {
    const groups = new Map<string, number[]>();
    inputs.forEach((input, n) => {
      const group = groupOf(graph, this.#padded(graph, input));
      groups.set(group, [...(groups.get(group) ?? []), n]);
    });
    const outcomes: Outcome<Float32Array>[] = new Array(inputs.length);
    await Promise.all(
      [...groups].map(async ([group, places]) => {
        const answers = await this.#scheduler.submit(
          group,
          places.map((n) => inputs[n]!),
          lane,
          signal,
        );
        places.forEach((n, i) => (outcomes[n] = answers[i]!));
      }),
    );
    return outcomes;
  }

  /** The shape that an input is computed in: crops as they are, texts padded to one of few lengths. */
  #padded(graph: GraphKey, input: EncoderInput): string {
    if ('pixels' in input) return `${input.widthPx}x${input.heightPx}`;
    const facts = this.#facts.get(graph);
    const tower = graph === 'text' ? this.pack.text : this.pack.imageText;
    if (facts?.fixedTokens) return String(facts.fixedTokens);
    const full = tower.padding === 'max' || (tower.padding === 'auto' && !facts?.takesMask);
    const rung = full ? tower.maxTokens : [16, 32, 64, 128, 256, 512, 1024].find((length) => length >= input.ids.length);
    return String(Math.min(tower.maxTokens, rung ?? tower.maxTokens));
  }

  #rungs(group: string): readonly number[] {
    const fixed = this.#facts.get(parseGroup(group).graph)?.fixedBatch;
    return fixed ? [fixed] : RUNGS;
  }

  async #run(batch: InputBatch): Promise<{ values: (Float32Array | null)[]; computeMs: number }> {
    const reply = await this.#supervisor.run(toBatchInput(batch), batch.lane);
    const dimensions = reply.vectors.length / batch.payloads.length;
    const bad = new Set(reply.bad);
    return {
      computeMs: reply.computeMs,
      values: batch.payloads.map((_, n) => (bad.has(n) ? null : reply.vectors.slice(n * dimensions, (n + 1) * dimensions))),
    };
  }

  /** Through the encoder process alone: nothing is served by it before. */
  async #prove(facts: GraphFacts[]): Promise<void> {
    this.#facts = new Map(facts.map((own) => [own.key, own]));
    this.#spec = indexSpec(this.pack, this.#facts, this.#layouts);
    const { plan } = this.pack;
    this.#proof = await proveEncoder(this.pack, {
      decode: (bytes) => new SharpDecoder(plan, viewLayouts(plan, null), this.#options.limits).decode(bytes),
      decodeExactly: (bytes) =>
        new SharpDecoder({ ...plan, shrinkOnLoad: null }, viewLayouts(plan, null), this.#options.limits).decode(bytes),
      tokenize: (tower, text) => this.#tokenizers[tower].encode(text),
      encode: async (graph, input) => {
        const group = groupOf(graph, this.#padded(graph, input));
        const { values } = await this.#run({ group, payloads: [input], rung: this.#rungs(group)[0]!, lane: 'interactive' });
        return values[0] ?? null;
      },
      logger: this.#options.logger,
    });
    this.#options.logger.info(
      { pack: this.packName, variant: this.pack.variant, pid: this.pid, ...this.#proof },
      'encoder proven',
    );
  }
}
