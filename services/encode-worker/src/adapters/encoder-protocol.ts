import type { Lane } from '@sightline/shared/contracts/jobs';
import type { Graph } from '../core/encoder-pack.ts';
import type { Pooling } from '../core/pooling.ts';

/** What the encoder process is told once. */
export interface LoadRequest {
  graphs: { key: Graph['key']; file: string; pooling: Pooling | null; padId: number }[];
  /** Pixel value v of channel c becomes (v * rescaleFactor - mean[c]) / std[c]. */
  normalisation: { rescaleFactor: number; mean: number[]; std: number[] };
  /** The network's input by the preprocessor. */
  input: { widthPx: number; heightPx: number };
  threads: number;
  /** In order of preference. */
  executionProviders: string[];
  /** Which GPU, where CUDA is among the providers. */
  cudaDevice: number;
}

/** What a loaded graph takes and gives. Null where it takes any. */
export interface GraphFacts {
  key: Graph['key'];
  dimensions: number;
  fixedBatch: number | null;
  fixedTokens: number | null;
  fixedHeightPx: number | null;
  takesMask: boolean;
  output: string;
}

/** A batch of equal shape: crops of one size, or texts padded to one length. `rung` rows are computed, `count` are real. */
export type BatchInput =
  | { kind: 'pixels'; graph: 'vision'; widthPx: number; heightPx: number; count: number; rung: number; pixels: Uint8Array }
  | {
      kind: 'tokens';
      graph: 'imageText' | 'text';
      length: number;
      count: number;
      rung: number;
      ids: Int32Array;
      lengths: Int32Array;
    };

export type ToEncoder = { type: 'load'; load: LoadRequest } | { type: 'run'; id: number; lane: Lane; input: BatchInput };

export type FromEncoder =
  /** `providers`: what is computed on, which is the end of the list where its beginning could not be had. */
  | { type: 'loaded'; facts: GraphFacts[]; providers: string[]; passedOver: string | null }
  | { type: 'load_failed'; message: string; isProvider: boolean }
  /** The batch is being computed from now on: should the process end, it is this one that may have ended it. */
  | { type: 'begun'; id: number }
  /** `vectors` is count x dimensions, L2-normalised; a row without a direction (NaN, zeros) is listed in `bad`. */
  | { type: 'done'; id: number; vectors: Float32Array; bad: number[]; computeMs: number; residentBytes: number }
  | { type: 'failed'; id: number; message: string; isOutOfMemory: boolean };
