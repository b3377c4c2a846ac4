import { SightlineError } from '../runtime/errors.ts';

const MAX_KEY_BYTES = 1024;

/**
 * Refuses what cannot be a key here: nothing, more than 1,024 bytes, a NUL, half a surrogate pair, and the segments `.` and `..`:
 * a proxy or a gateway over a file system would resolve those, out of the bucket. Empty segments and a leading slash are names
 * like any other to S3. Error: `key_outside_source`.
 */
export function assertS3Key(key: string): void {
  if (key === '' || key.includes('\0') || !key.isWellFormed() || key.split('/').some((part) => part === '.' || part === '..'))
    throw new SightlineError('key_outside_source', 'A key is UTF-8 without NUL and without "." or ".." segments.');
  if (Buffer.byteLength(key) > MAX_KEY_BYTES)
    throw new SightlineError('key_outside_source', `A key has at most ${MAX_KEY_BYTES} bytes.`);
}

/**
 * The order of two keys by their UTF-8 bytes, below, at or above zero. JavaScript's own comparison is by UTF-16 units, which puts
 * the astral planes (surrogates, D800 to DFFF) before U+E000 to U+FFFF.
 */
export function compareKeys(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let at = 0; at < shared; at++) {
    const left = a.charCodeAt(at);
    const right = b.charCodeAt(at);
    if (left !== right) return codePointRank(left) - codePointRank(right);
  }
  return a.length - b.length;
}

function codePointRank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

/** A key of a listing with `encoding-type=url`, or null when it is not UTF-8. Gateways write a blank as `+` or as `%20`. */
export function decodeListedKey(encoded: string): string | null {
  try {
    return decodeURIComponent(encoded.replaceAll('+', '%20'));
  } catch {
    return null;
  }
}
