import { createHash } from 'node:crypto';
import type { IndexSpec } from '@sightline/shared/ports/vector-index';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { DecodedPicture, EncodedText, Encoder, Outcome } from '../core/encoder.ts';

const DIMENSIONS = 16;

/**
 * Fake, named so: an encoder that knows nothing of pictures and hashes what it is given into vectors, so that the flow around
 * it can be proved without a model. Bytes that begin with `BAD` are corrupt, empty ones empty.
 */
export class HashEncoder implements Encoder {
  readonly spec: IndexSpec = {
    image: { fingerprint: 'hash-image', dimensions: DIMENSIONS },
    text: { fingerprint: 'hash-text', dimensions: DIMENSIONS },
  };
  readonly packName = 'hash';
  readonly logitScale = 100;
  readonly languages = ['en'];
  /** What it did, for tests that count. */
  readonly batches: number[] = [];
  decodes = 0;
  /** Texts that were encoded, in order. */
  readonly texts: string[] = [];
  /** Thrown by the next calls, one each. */
  readonly failNext: Error[] = [];

  async decode(bytes: Uint8Array): Promise<DecodedPicture> {
    this.decodes += 1;
    if (bytes.length === 0) throw new SightlineError('picture_empty');
    if (Buffer.from(bytes).toString('latin1', 0, 3) === 'BAD') throw new SightlineError('picture_corrupt');
    return { pixels: Uint8Array.from(bytes), crops: 1, widthPx: bytes.length, heightPx: 1, format: 'png' };
  }

  async encodePictures(pictures: DecodedPicture[]): Promise<Outcome<Float32Array>[]> {
    const error = this.failNext.shift();
    if (error) throw error;
    this.batches.push(pictures.length);
    return pictures.map(({ pixels }) => ({ ok: true, value: hashVector(pixels) }));
  }

  async encodeTexts(texts: string[]): Promise<EncodedText[]> {
    const error = this.failNext.shift();
    if (error) throw error;
    this.texts.push(...texts);
    return texts.map((text) => ({ vector: hashVector(Buffer.from(text)), truncated: text.length > 200 }));
  }

  splitPassages(text: string): string[] {
    return (
      text
        .match(/[^.]+\.?/g)
        ?.map((sentence) => sentence.trim())
        .filter((sentence) => sentence !== '') ?? []
    );
  }

  async close(): Promise<void> {}
}

export function hashVector(bytes: Uint8Array): Float32Array {
  const digest = createHash('sha512').update(bytes).digest();
  const raw = Float32Array.from({ length: DIMENSIONS }, (_, i) => digest.readInt16LE(i * 2) + 0.5);
  const norm = Math.hypot(...raw);
  return raw.map((value) => value / norm);
}
