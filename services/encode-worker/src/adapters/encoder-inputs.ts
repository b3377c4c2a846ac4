import type { Lane } from '@sightline/shared/contracts/jobs';
import type { BatchInput, GraphFacts } from './encoder-protocol.ts';

/** One input of a graph: a crop, or a text's tokens. */
export type EncoderInput = { pixels: Uint8Array; widthPx: number; heightPx: number } | { ids: number[] };
export type GraphKey = GraphFacts['key'];

/** Inputs of one shape for one graph. */
export interface InputBatch {
  group: string;
  payloads: EncoderInput[];
  rung: number;
  lane: Lane;
}

/** The name of a shape: a graph, and width x height of a crop or the padded length of a text. */
export const groupOf = (graph: GraphKey, shape: string) => `${graph} ${shape}`;

export function parseGroup(group: string): { graph: GraphKey; shape: string } {
  const [graph, shape] = group.split(' ') as [GraphKey, string];
  return { graph, shape };
}

/** Inputs packed for the encoder process. */
export function toBatchInput({ group, payloads, rung }: InputBatch): BatchInput {
  const { graph, shape } = parseGroup(group);
  if (graph === 'vision') {
    const [widthPx, heightPx] = shape.split('x').map(Number) as [number, number];
    const pixels = new Uint8Array(payloads.length * widthPx * heightPx * 3);
    payloads.forEach((payload, n) => 'pixels' in payload && pixels.set(payload.pixels, n * widthPx * heightPx * 3));
    return { kind: 'pixels', graph, widthPx, heightPx, count: payloads.length, rung, pixels };
  }
  const ids = payloads.map((payload) => ('ids' in payload ? payload.ids : []));
  return {
    kind: 'tokens',
    graph,
    length: Number(shape),
    count: payloads.length,
    rung,
    ids: Int32Array.from(ids.flat()),
    lengths: Int32Array.from(ids, (i) => i.length),
  };
}
