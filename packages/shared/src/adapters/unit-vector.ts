import type { IndexSpec, Space } from '../ports/vector-index.ts';
import { SightlineError } from '../runtime/errors.ts';

/** Below this difference of the squared length from 1 a vector is returned bit for bit as it came. */
const TOLERANCE = 1e-6;

/**
 * The L2-normalised vector that every index stores and asks with. Errors: `index_encoder_mismatch` when the dimensions are not
 * the space's, `encoder_failed` when the vector has no direction (zero, or not finite).
 */
export function unitVector(spec: IndexSpec, space: Space, vector: Float32Array): Float32Array {
  const { dimensions } = spec[space];
  if (vector.length !== dimensions) {
    throw new SightlineError(
      'index_encoder_mismatch',
      `A vector for ${space} has ${vector.length} dimensions, the index ${dimensions}.`,
    );
  }
  const squared = vector.reduce((sum, x) => sum + x * x, 0);
  if (!Number.isFinite(squared) || squared === 0) {
    throw new SightlineError('encoder_failed', `A vector for ${space} is zero or not finite.`);
  }
  if (Math.abs(squared - 1) <= TOLERANCE) return vector;
  const length = Math.sqrt(squared);
  return vector.map((x) => x / length);
}

/** The bytes of a vector as sqlite-vec reads them: float32, little-endian. */
export function vectorBytes(vector: Float32Array): Uint8Array {
  return new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);
}
