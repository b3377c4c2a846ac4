import type { MultiScale } from '@sightline/shared/pictures/picture-view';

export type Pooling = 'cls' | 'mean' | 'last';

/** L2-normalises in place; a vector of zeros or with a NaN is the network's failure, not a direction. */
export function normalise(vector: Float32Array): Float32Array {
  let sum = 0;
  for (const x of vector) sum += x * x;
  const length = Math.sqrt(sum);
  if (!(length > 0) || !Number.isFinite(length)) throw new RangeError('the network answered a vector without a direction');
  for (let i = 0; i < vector.length; i++) vector[i]! /= length;
  return vector;
}

/**
 * One vector from a text's token states (tokens x dimensions, the first `tokens` rows real). `mean` averages the real
 * tokens, `cls` takes the first, `last` the last: sentence-transformers' `1_Pooling` modes.
 */
export function pool(states: Float32Array, tokens: number, dimensions: number, pooling: Pooling): Float32Array {
  if (pooling === 'cls') return states.slice(0, dimensions);
  if (pooling === 'last') return states.slice((tokens - 1) * dimensions, tokens * dimensions);
  const mean = new Float32Array(dimensions);
  for (let t = 0; t < tokens; t++) for (let d = 0; d < dimensions; d++) mean[d]! += states[t * dimensions + d]! / tokens;
  return mean;
}

/** Mean of unit vectors, normalised again. */
export function meanDirection(vectors: Float32Array[]): Float32Array {
  if (vectors.length === 1) return vectors[0]!;
  const sum = new Float32Array(vectors[0]!.length);
  for (const vector of vectors) for (let d = 0; d < sum.length; d++) sum[d]! += vector[d]!;
  return normalise(sum);
}

/**
 * A picture's vector from the unit vectors of its tiles, per scale. The tiles of a scale are averaged to one unit vector v_s;
 * `mean` is normalise(sum of v_s), `concat` is (v_1, ..., v_S) / sqrt(S), which has unit length.
 */
export function fuseScales(perScale: Float32Array[][], fuse: MultiScale['fuse']): Float32Array {
  const scales = perScale.map(meanDirection);
  if (fuse === 'mean' || scales.length === 1) return meanDirection(scales);
  return concatenate(scales);
}

/**
 * Words beside concatenated pictures: t repeated S times, over sqrt(S). Its cosine with a picture is then the mean over the
 * scales of cos(t, v_s).
 */
export function repeatForScales(vector: Float32Array, scales: number): Float32Array {
  return scales === 1 ? vector : concatenate(Array.from({ length: scales }, () => vector));
}

function concatenate(vectors: Float32Array[]): Float32Array {
  const dimensions = vectors[0]!.length;
  const out = new Float32Array(dimensions * vectors.length);
  const weight = 1 / Math.sqrt(vectors.length);
  vectors.forEach((vector, s) => vector.forEach((x, d) => (out[s * dimensions + d] = x * weight)));
  return out;
}

/** Cosine of two vectors of any length. */
export function cosine(a: Float32Array, b: Float32Array): number {
  let [dot, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    dot += a[i]! * b[i]!;
    aa += a[i]! * a[i]!;
    bb += b[i]! * b[i]!;
  }
  return dot / Math.sqrt(aa * bb);
}
