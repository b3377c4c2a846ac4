import { InferenceSession, Tensor } from 'onnxruntime-node';
import { normalise, pool, type Pooling } from '../core/pooling.ts';
import type { BatchInput, GraphFacts, LoadRequest } from './encoder-protocol.ts';

type GraphRequest = LoadRequest['graphs'][number];

/** Outputs that hold one vector a row, best first; then token states, which need pooling. */
const VECTOR_OUTPUTS: Record<GraphFacts['key'], string[]> = {
  vision: ['image_embeds', 'pooler_output'],
  imageText: ['text_embeds', 'pooler_output'],
  text: ['sentence_embedding', 'text_embeds'],
};
const STATE_OUTPUTS = ['last_hidden_state', 'token_embeddings'];

/** One graph on ONNX Runtime. `run` blocks the thread: only ever used in the encoder process's own thread. */
export class OnnxGraph {
  readonly #session: InferenceSession;
  readonly #request: GraphRequest;
  readonly #tables: Float32Array[];
  readonly #inputs: Map<string, { type: string; shape: readonly (number | string)[] }>;
  readonly #output: string;
  readonly #pooling: Pooling | null;
  #dimensions = 0;

  private constructor(session: InferenceSession, request: GraphRequest, normalisation: LoadRequest['normalisation']) {
    this.#session = session;
    this.#request = request;
    // 256 values a channel instead of arithmetic a pixel, and to the last bit what float32 arithmetic gives.
    this.#tables = normalisation.mean.map((mean, c) =>
      Float32Array.from({ length: 256 }, (_, v) => (Math.fround(v * normalisation.rescaleFactor) - mean) / normalisation.std[c]!),
    );
    this.#inputs = new Map(
      session.inputMetadata.map((input) => [
        input.name,
        input.isTensor ? { type: input.type, shape: input.shape } : { type: 'other', shape: [] },
      ]),
    );
    const vector = VECTOR_OUTPUTS[request.key].find((name) => session.outputNames.includes(name));
    const states = STATE_OUTPUTS.find((name) => session.outputNames.includes(name));
    const output =
      request.key === 'text' && request.pooling && states ? states : (vector ?? (request.pooling ? states : undefined));
    if (!output)
      throw new Error(
        `graph ${request.key} gives ${session.outputNames.join(', ')}, none of which can be used${states ? ' without a pooling mode (1_Pooling/config.json, or "pooling" in sightline.json)' : ''}`,
      );
    this.#output = output;
    this.#pooling = output === states ? request.pooling : null;
  }

  static async load(request: GraphRequest, load: LoadRequest): Promise<OnnxGraph> {
    const session = await InferenceSession.create(request.file, {
      executionProviders: load.executionProviders.map((name) => (name === 'cuda' ? { name, deviceId: load.cudaDevice } : name)),
      intraOpNumThreads: load.threads,
      interOpNumThreads: 1,
      logSeverityLevel: 3,
      // Spinning threads would take the cores from decoding between batches.
      extra: { session: { intra_op: { allow_spinning: '0' } } },
    });
    const graph = new OnnxGraph(session, request, load.normalisation);
    graph.#checkInputs();
    return graph;
  }

  /** Runs one blank input to learn the vector's length, and gives the facts that batching needs. */
  async facts(heightPx: number, widthPx: number): Promise<GraphFacts> {
    const pixels = this.#inputs.get('pixel_values')?.shape ?? [];
    const ids = this.#inputs.get('input_ids')?.shape ?? [];
    const own = this.#request.key === 'vision' ? pixels : ids;
    const fixed = (dimension: number | string | undefined) => (typeof dimension === 'number' && dimension > 0 ? dimension : null);
    const facts: GraphFacts = {
      key: this.#request.key,
      dimensions: 0,
      fixedBatch: fixed(own[0]),
      fixedTokens: this.#request.key === 'vision' ? null : fixed(ids[1]),
      fixedHeightPx: this.#request.key === 'vision' ? fixed(pixels[2]) : null,
      takesMask: this.#inputs.has('attention_mask'),
      output: this.#output,
    };
    const rung = facts.fixedBatch ?? 1;
    const length = facts.fixedTokens ?? 8;
    if (this.#request.key === 'vision') {
      const edge = facts.fixedHeightPx ?? heightPx;
      await this.run({
        kind: 'pixels',
        graph: 'vision',
        widthPx: facts.fixedHeightPx ?? widthPx,
        heightPx: edge,
        count: 1,
        rung,
        pixels: new Uint8Array(edge * (facts.fixedHeightPx ?? widthPx) * 3),
      });
    } else {
      await this.run({
        kind: 'tokens',
        graph: this.#request.key,
        length,
        count: 1,
        rung,
        ids: new Int32Array(length).fill(1),
        lengths: Int32Array.of(length),
      });
    }
    return { ...facts, dimensions: this.#dimensions };
  }

  /** Unit vectors, count x dimensions, and which rows have no direction. */
  async run(input: BatchInput): Promise<{ vectors: Float32Array; bad: number[] }> {
    const feeds = this.#feeds(input);
    const results = await this.#session.run(feeds, [this.#output]);
    const output = results[this.#output]!;
    const data = output.data instanceof Float32Array ? output.data : Float32Array.from(output.data as ArrayLike<number>);
    const dimensions = output.dims.at(-1)!;
    this.#dimensions = dimensions;
    const vectors = new Float32Array(input.count * dimensions);
    const bad: number[] = [];
    const rowLength = data.length / input.rung;
    for (let n = 0; n < input.count; n++) {
      const row = data.subarray(n * rowLength, (n + 1) * rowLength);
      const tokens = input.kind === 'tokens' ? input.lengths[n]! : rowLength / dimensions;
      try {
        vectors.set(
          normalise(this.#pooling ? pool(row, tokens, dimensions, this.#pooling) : row.slice(0, dimensions)),
          n * dimensions,
        );
      } catch {
        bad.push(n);
      }
    }
    for (const result of Object.values(results)) result.dispose();
    return { vectors, bad };
  }

  async release(): Promise<void> {
    await this.#session.release();
  }

  #feeds(input: BatchInput): Record<string, Tensor> {
    const feeds: Record<string, Tensor> = {};
    if (input.kind === 'pixels') feeds['pixel_values'] = this.#pixels(input);
    else this.#tokens(feeds, input.ids, input.lengths, input.count, input.rung, input.length);
    // A file with both towers in one graph wants both inputs: the other side gets one blank row.
    if (input.kind === 'pixels' && this.#inputs.has('input_ids'))
      this.#tokens(feeds, Int32Array.of(1, 1), Int32Array.of(2), 1, 1, 2);
    if (input.kind === 'tokens' && this.#inputs.has('pixel_values')) {
      const [, , height, width] = this.#inputs.get('pixel_values')!.shape;
      const [heightPx, widthPx] = [typeof height === 'number' ? height : 224, typeof width === 'number' ? width : 224];
      feeds['pixel_values'] = this.#pixels({
        kind: 'pixels',
        graph: 'vision',
        widthPx,
        heightPx,
        count: 1,
        rung: 1,
        pixels: new Uint8Array(widthPx * heightPx * 3),
      });
    }
    return feeds;
  }

  /** Bytes, interleaved, to floats, channel by channel; rows beyond `count` stay zero. */
  #pixels({ widthPx, heightPx, count, rung, pixels }: Extract<BatchInput, { kind: 'pixels' }>): Tensor {
    const area = widthPx * heightPx;
    const floats = new Float32Array(rung * 3 * area);
    const [red, green, blue] = this.#tables as [Float32Array, Float32Array, Float32Array];
    for (let n = 0; n < count; n++) {
      let [at, r] = [n * area * 3, n * area * 3];
      for (let i = 0; i < area; i++, at += 3, r++) {
        floats[r] = red[pixels[at]!]!;
        floats[r + area] = green[pixels[at + 1]!]!;
        floats[r + 2 * area] = blue[pixels[at + 2]!]!;
      }
    }
    const dims = [rung, 3, heightPx, widthPx];
    return this.#inputs.get('pixel_values')!.type === 'float16'
      ? new Tensor('float16', halves(floats), dims)
      : new Tensor('float32', floats, dims);
  }

  #tokens(
    feeds: Record<string, Tensor>,
    ids: Int32Array,
    lengths: Int32Array,
    count: number,
    rung: number,
    length: number,
  ): void {
    const rows = new Int32Array(rung * length).fill(this.#request.padId);
    const mask = new Int32Array(rung * length);
    let from = 0;
    for (let n = 0; n < rung; n++) {
      // Empty rows carry one unmasked token: a mask of zeros alone makes some attention kernels give NaN.
      const own = n < count ? lengths[n]! : 1;
      if (n < count) rows.set(ids.subarray(from, (from += own)), n * length);
      mask.fill(1, n * length, n * length + own);
    }
    feeds['input_ids'] = this.#integers('input_ids', rows, [rung, length]);
    if (this.#inputs.has('attention_mask')) feeds['attention_mask'] = this.#integers('attention_mask', mask, [rung, length]);
    if (this.#inputs.has('token_type_ids'))
      feeds['token_type_ids'] = this.#integers('token_type_ids', new Int32Array(rung * length), [rung, length]);
  }

  #integers(name: string, values: Int32Array, dims: number[]): Tensor {
    if (this.#inputs.get(name)!.type === 'int32') return new Tensor('int32', values, dims);
    return new Tensor('int64', BigInt64Array.from(values, BigInt), dims);
  }

  #checkInputs(): void {
    const known = ['pixel_values', 'input_ids', 'attention_mask', 'token_type_ids'];
    const unknown = [...this.#inputs.keys()].filter((name) => !known.includes(name));
    const needed = this.#request.key === 'vision' ? 'pixel_values' : 'input_ids';
    if (unknown.length > 0 || !this.#inputs.has(needed))
      throw new Error(
        `graph ${this.#request.key} takes ${[...this.#inputs.keys()].join(', ')}; only ${known.join(', ')} are known`,
      );
  }
}

function halves(floats: Float32Array): Uint16Array {
  const half = Float16Array.from(floats);
  return new Uint16Array(half.buffer);
}
