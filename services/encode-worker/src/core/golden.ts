import { deflateSync, inflateSync } from 'node:zlib';
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { cosine } from './pooling.ts';

const base64 = z.base64().max(16 * 1024 * 1024);
const id = z.string().min(1).max(64);

/**
 * `golden.json`: what a pack's encoder must answer. `reference` goldens were computed by another implementation;
 * `self-recorded` ones only prove that nothing changed since they were recorded.
 */
export const goldenFile = z.strictObject({
  format: z.literal(1),
  origin: z.enum(['reference', 'self-recorded']),
  /** Which programs, in which versions, computed it. */
  made_with: z.string().max(512),
  pictures: z
    .array(
      z.strictObject({
        id,
        /** A picture file; with it the decoder is proved, too. */
        source: base64.optional(),
        width: z.int().min(1).max(2048),
        height: z.int().min(1).max(2048),
        /** The network's input before normalisation: RGB, 8 bits, interleaved, zlib-deflated. */
        pixels: base64,
        pixels_sha256: z.string().regex(/^[0-9a-f]{64}$/),
      }),
    )
    .max(32),
  /** Texts exactly as the tokenizer gets them, prefixes and templates included. */
  texts: z
    .array(
      z.strictObject({
        id,
        space: z.enum(['image', 'text']),
        text: z.string().max(8192),
        ids: z.array(z.int().nonnegative()).max(32_768),
      }),
    )
    .min(1)
    .max(64),
  /** Per variant, the digest of the graphs that a self-recorded file was recorded from: other graphs are another pack. */
  graphs: z.record(z.string().max(32), z.string().max(256)).optional(),
  /** Per variant, by id: unit vectors as little-endian float32. */
  vectors: z.record(z.string().max(32), z.record(id, base64)),
});
export type Golden = z.infer<typeof goldenFile>;

/** Least cosine between a recorded vector and the encoder's own. */
export const MIN_COSINE = { fp32: 0.9999, fp16: 0.999, quantised: 0.99 } as const;
/**
 * Mean difference, in grey levels, between recorded pixels and the decoder's. libvips against Pillow comes to at most 0.42 on the
 * golden pictures, another resampling filter to 2.5 or more on the tiny one.
 */
export const MAX_MEAN_PIXEL_DIFFERENCE = 1;

export function minCosine(variant: string): number {
  if (variant === 'fp32' || variant === 'fp16') return MIN_COSINE[variant];
  return MIN_COSINE.quantised;
}

export const encodeVector = (vector: Float32Array) =>
  Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('base64');

export function decodeVector(text: string): Float32Array {
  const bytes = Buffer.from(text, 'base64');
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

export function encodePixels(pixels: Uint8Array): { pixels: string; pixels_sha256: string } {
  return {
    pixels: deflateSync(pixels, { level: 9 }).toString('base64'),
    pixels_sha256: createHash('sha256').update(pixels).digest('hex'),
  };
}

/** Errors: `pack_invalid` when the pixels are not those that the digest is of. */
export function decodePixels(picture: Golden['pictures'][number]): Uint8Array {
  const sizeBytes = picture.width * picture.height * 3;
  try {
    const pixels = new Uint8Array(inflateSync(Buffer.from(picture.pixels, 'base64'), { maxOutputLength: sizeBytes }));
    if (pixels.length === sizeBytes && createHash('sha256').update(pixels).digest('hex') === picture.pixels_sha256) return pixels;
  } catch {
    // Falls through: not deflated data, or more of it than the size allows.
  }
  throw new SightlineError('pack_invalid', `golden.json: the pixels of ${picture.id} are damaged.`);
}

/** The vectors that a variant is held against: its own, else fp32's. */
export function goldenVectors(golden: Golden, variant: string): Record<string, string> {
  const vectors = golden.vectors[variant] ?? golden.vectors['fp32'];
  if (!vectors) throw new SightlineError('pack_invalid', `golden.json has vectors neither for ${variant} nor for fp32.`);
  return vectors;
}

/** Errors: `pack_drifted`, with the cosine. */
export function assertSameVector(golden: Golden, variant: string, name: string, vector: Float32Array): number {
  const recorded = goldenVectors(golden, variant)[name];
  if (!recorded) throw new SightlineError('pack_invalid', `golden.json has no vector for ${name}.`);
  const expected = decodeVector(recorded);
  const similarity = expected.length === vector.length ? cosine(expected, vector) : NaN;
  if (!(similarity >= minCosine(variant))) {
    throw new SightlineError(
      'pack_drifted',
      `${name} (${variant}): cosine ${similarity.toFixed(6)} with the golden vector, at least ${minCosine(variant)} is wanted.`,
    );
  }
  return similarity;
}

export function meanDifference(a: Uint8Array, b: Uint8Array): number {
  if (a.length !== b.length) return Infinity;
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += Math.abs(a[i]! - b[i]!);
  return sum / a.length;
}
