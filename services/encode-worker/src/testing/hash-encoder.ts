import { createHash } from 'node:crypto';
import type { IndexSpec } from '@sightline/shared/ports/vector-index';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { DecodedPicture } from '@sightline/shared/pictures/decoded-picture';
import type { EncodedText, Encoder, Outcome } from '../core/encoder.ts';

const DIMENSIONS = 16;

/**
 * Fake, named so: an encoder that knows nothing of pictures and hashes what it is given into vectors, so that the flow around
 * it can be proved without a model. Bytes that begin with `BAD` are corrupt, empty ones empty.
 */
export class HashEncoder implements Encoder {
  readonly spec: IndexSpec;
  readonly packName: string;
  readonly logitScale = 100;
  readonly languages = ['en'];
  /** What it did, for tests that count. */
  readonly batches: number[] = [];
  decodes = 0;
  /** Texts that were encoded, in order. */
  readonly texts: string[] = [];
  /** Thrown by the next calls, one each. */
  readonly failNext: Error[] = [];
  readonly #salts: { image: string; text: string };

  /** Salts make other vectors, and other fingerprints, of a space: another pack. */
  constructor({ name = 'hash', image = '', text = '' }: { name?: string; image?: string; text?: string } = {}) {
    this.packName = name;
    this.#salts = { image, text };
    this.spec = {
      image: { fingerprint: `hash-image${image}`, dimensions: DIMENSIONS },
      text: { fingerprint: `hash-text${text}`, dimensions: DIMENSIONS },
    };
  }

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
    return pictures.map(({ pixels }) => ({ ok: true, value: hashVector(salted(this.#salts.image, pixels)) }));
  }

  /** Texts in the text space that were encoded. */
  encodedTexts = 0;

  async encodeTexts(texts: string[], options?: { space: 'image' | 'text' }): Promise<EncodedText[]> {
    const error = this.failNext.shift();
    if (error) throw error;
    this.texts.push(...texts);
    if (options?.space === 'text') this.encodedTexts += texts.length;
    const salt = this.#salts[options?.space ?? 'text'];
    return texts.map((text) => ({ vector: hashVector(salted(salt, Buffer.from(text))), truncated: text.length > 200 }));
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

function salted(salt: string, bytes: Uint8Array): Uint8Array {
  return salt === '' ? bytes : Buffer.concat([Buffer.from(salt), bytes]);
}

export function hashVector(bytes: Uint8Array): Float32Array {
  const digest = createHash('sha512').update(bytes).digest();
  const raw = Float32Array.from({ length: DIMENSIONS }, (_, i) => digest.readInt16LE(i * 2) + 0.5);
  const norm = Math.hypot(...raw);
  return raw.map((value) => value / norm);
}
