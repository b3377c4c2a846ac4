import type { IndexSpec, Space } from '../ports/vector-index.ts';
import { SightlineError } from '../runtime/errors.ts';

export const SPACES: readonly Space[] = ['image', 'text'];

/** The spaces in which these two make other vectors. */
export function changedSpaces(a: IndexSpec, b: IndexSpec): Space[] {
  return SPACES.filter((space) => a[space].fingerprint !== b[space].fingerprint || a[space].dimensions !== b[space].dimensions);
}

export function isSameSpec(a: IndexSpec, b: IndexSpec): boolean {
  return changedSpaces(a, b).length === 0;
}

/** Error: `index_encoder_mismatch`. */
export function assertSameSpec(held: IndexSpec, wanted: IndexSpec): void {
  const [space] = changedSpaces(held, wanted);
  if (!space) return;
  throw new SightlineError(
    'index_encoder_mismatch',
    `The index holds ${space} vectors of encoder ${held[space].fingerprint} (${held[space].dimensions} dimensions), this process has ` +
      `${wanted[space].fingerprint} (${wanted[space].dimensions}): start with the pack that made the index (ENCODER_PACK), ` +
      'migrate to the other one (npm run migrate), or ingest again into another index.',
  );
}
