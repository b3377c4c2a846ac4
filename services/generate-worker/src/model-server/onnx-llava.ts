import { InferenceSession, Tensor } from 'onnxruntime-node';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { GRAPH_NAMES, type GraphName, type ModelPack } from './model-pack.ts';

/** What a decoder is given of what it computed before; grows with every step. */
export interface KeyValues {
  tensors: Record<string, Tensor>;
  length: number;
}

const PAST = /^past_key_values\.(\d+)\.(key|value)$/;
const KNOWN: Record<GraphName, (name: string) => boolean> = {
  embed_tokens: (name) => name === 'input_ids',
  vision_encoder: (name) => name === 'pixel_values',
  decoder_model_merged: (name) => ['inputs_embeds', 'attention_mask', 'position_ids'].includes(name) || PAST.test(name),
};

/** The three graphs of a pack on ONNX Runtime, one row at a time. Every run blocks the thread: only ever used in one of its own. */
export class OnnxLlava {
  readonly #sessions: Record<GraphName, InferenceSession>;

  private constructor(sessions: Record<GraphName, InferenceSession>) {
    this.#sessions = sessions;
  }

  /** `shared`: taken from there where `files` has none of its own. Error: `pack_invalid` for what cannot be loaded. */
  static async load(files: Partial<ModelPack['graphs']>, threads: number, shared?: OnnxLlava): Promise<OnnxLlava> {
    const sessions = new Map<GraphName, InferenceSession>();
    for (const name of GRAPH_NAMES) {
      const file = files[name];
      if (file !== undefined) sessions.set(name, await open(name, file, threads));
      else if (shared) sessions.set(name, shared.#sessions[name]);
    }
    return new OnnxLlava(Object.fromEntries(sessions) as Record<GraphName, InferenceSession>);
  }

  /** Vectors of tokens: tokens x hidden. */
  async embed(ids: number[]): Promise<Float32Array> {
    const feeds = { input_ids: integers(ids) };
    return this.#one('embed_tokens', feeds);
  }

  /** Vectors of one picture, normalised pixels channel by channel (3 x side x side): tokens x hidden. */
  async see(pixels: Float32Array, sidePx: number): Promise<Float32Array> {
    return this.#one('vision_encoder', { pixel_values: new Tensor('float32', pixels, [1, 3, sidePx, sidePx]) });
  }

  nothing(): KeyValues {
    const tensors: Record<string, Tensor> = {};
    for (const input of this.#sessions.decoder_model_merged.inputMetadata) {
      if (!PAST.test(input.name) || !input.isTensor) continue;
      const [, heads, , size] = input.shape;
      tensors[input.name] = new Tensor('float32', new Float32Array(0), [1, Number(heads), 0, Number(size)]);
    }
    return { tensors, length: 0 };
  }

  /** Reads `count` further vectors (count x hidden) and gives the logits after the last of them. `past` is used up. */
  async step(vectors: Float32Array, count: number, past: KeyValues): Promise<{ logits: Float32Array; past: KeyValues }> {
    const session = this.#sessions.decoder_model_merged;
    const length = past.length + count;
    const feeds: Record<string, Tensor> = {
      inputs_embeds: new Tensor('float32', vectors, [1, count, vectors.length / count]),
      attention_mask: new Tensor('int64', new BigInt64Array(length).fill(1n), [1, length]),
      ...past.tensors,
    };
    if (session.inputNames.includes('position_ids'))
      feeds['position_ids'] = integers(Array.from({ length: count }, (_, n) => past.length + n));
    const results = await session.run(feeds);
    const tensors: Record<string, Tensor> = {};
    for (const name of Object.keys(past.tensors)) tensors[name] = results[presentOf(name)] as Tensor;
    release(past);
    const output = results['logits'] as Tensor;
    const size = output.dims.at(-1) ?? 0;
    const logits = (output.data as Float32Array).slice(-size);
    output.dispose();
    return { logits, past: { tensors, length } };
  }

  async #one(name: GraphName, feeds: Record<string, Tensor>): Promise<Float32Array> {
    const session = this.#sessions[name];
    const results = await session.run(feeds);
    const output = results[session.outputNames[0] ?? ''] as Tensor;
    const values = Float32Array.from(output.data as Float32Array);
    output.dispose();
    return values;
  }
}

export function release({ tensors }: KeyValues): void {
  for (const tensor of Object.values(tensors)) tensor.dispose();
}

async function open(name: GraphName, file: string, threads: number): Promise<InferenceSession> {
  let session: InferenceSession;
  try {
    session = await InferenceSession.create(file, {
      executionProviders: ['cpu'],
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      logSeverityLevel: 3,
      // Spinning threads would take the cores from everything else between tokens.
      extra: { session: { intra_op: { allow_spinning: '0' } } },
    });
  } catch (error) {
    throw invalid(name, textOf(error), error);
  }
  const unknown = session.inputNames.filter((input) => !KNOWN[name](input));
  if (unknown.length > 0) throw invalid(name, `it takes ${unknown.slice(0, 5).join(', ')}, which is not known here`);
  for (const { isTensor, name: input, ...rest } of session.inputMetadata) {
    if (!isTensor || !('type' in rest)) throw invalid(name, `${input} is no tensor`);
    const whole = input === 'input_ids' || input === 'attention_mask' || input === 'position_ids';
    if (rest.type !== (whole ? 'int64' : 'float32'))
      throw invalid(name, `${input} is ${rest.type}; ${whole ? 'int64' : 'float32'} is what is given`);
    if (PAST.test(input) && !(typeof rest.shape[1] === 'number' && typeof rest.shape[3] === 'number'))
      throw invalid(name, `${input} does not say how many heads of what size it has`);
  }
  if (name === 'decoder_model_merged') {
    const past = session.inputNames.filter((input) => PAST.test(input));
    const missing = ['logits', ...past.map(presentOf)].filter((output) => !session.outputNames.includes(output));
    if (past.length === 0 || !session.inputNames.includes('inputs_embeds') || missing.length > 0)
      throw invalid(name, `it lacks ${past.length === 0 ? 'past_key_values' : (missing[0] ?? 'inputs_embeds')}`);
  }
  return session;
}

const presentOf = (past: string): string => past.replace('past_key_values', 'present');

function integers(values: number[]): Tensor {
  return new Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length]);
}

function invalid(name: GraphName, detail: string, cause?: unknown): SightlineError {
  return new SightlineError('pack_invalid', `${name}.onnx: ${detail}.`, { cause });
}

const textOf = (error: unknown) => (error instanceof Error ? error.message : String(error)).replace(/\s+/g, ' ').slice(0, 300);
