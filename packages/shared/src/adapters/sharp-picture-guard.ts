import sharp, { type SharpOptions } from 'sharp';
import { SightlineError, type ErrorCode } from '../runtime/errors.ts';
import { detectPictureFormat, type PictureFormat } from '../pictures/picture-format.ts';
import { readPictureHeader } from '../pictures/picture-header.ts';
import { PixelBudget } from '../pictures/pixel-budget.ts';

/** Limits on what a stranger's file may cost. */
export interface DecodeLimits {
  maxPictureBytes: number;
  /** Of one picture, and of all that are being decoded at a time. */
  maxPicturePixels: number;
  /** Long side over short side: 1 x 20,000 resized by its short side would be 224 x 4,480,000. */
  maxAspect: number;
  timeoutSeconds: number;
}

export const DEFAULT_DECODE_LIMITS: DecodeLimits = {
  maxPictureBytes: 64 * 1024 * 1024,
  maxPicturePixels: 50_000_000,
  maxAspect: 400,
  timeoutSeconds: 30,
};

/** The loaders that libvips may use: six formats, from memory. Everything else (SVG, PDF, ImageMagick, files) stays shut. */
const LOADERS = ['Jpeg', 'Png', 'Webp', 'Nsgif', 'Tiff', 'Heif'].map((name) => `VipsForeignLoad${name}Buffer`);

/**
 * What stands between a stranger's picture and libvips: size, format and structure are known before it decodes, its faults become
 * codes, and pictures that are decoded at a time are bounded. Setting it up shuts libvips' other loaders for the whole process.
 */
export class SharpPictureGuard {
  readonly limits: DecodeLimits;
  readonly #budget: PixelBudget;

  constructor(limits: DecodeLimits = DEFAULT_DECODE_LIMITS) {
    sharp.block({ operation: ['VipsForeignLoad'] });
    sharp.unblock({ operation: LOADERS });
    // One thread a picture and several pictures at a time: fewer hand-overs than several threads on one. The cache would
    // keep strangers' pictures in memory, and no picture comes twice.
    sharp.concurrency(1);
    sharp.cache(false);
    this.limits = limits;
    this.#budget = new PixelBudget(limits.maxPicturePixels);
  }

  /** Looks at the bytes, waits for room, and works. Errors: the picture_* codes; of `work` too, whatever libvips says. */
  async admit<T>(bytes: Uint8Array, work: (format: PictureFormat) => Promise<T>): Promise<T> {
    if (bytes.length > this.limits.maxPictureBytes) throw new SightlineError('picture_too_many_bytes', `${bytes.length} bytes.`);
    const format = detectPictureFormat(bytes);
    const header = readPictureHeader(bytes, format);
    this.checkSize(header);
    const release = await this.#budget.take(header.widthPx * header.heightPx);
    try {
      return await work(format);
    } catch (error) {
      throw asPictureError(error);
    } finally {
      release();
    }
  }

  /** How libvips opens it: the first frame alone. */
  options(): SharpOptions {
    return { failOn: 'warning', limitInputPixels: this.limits.maxPicturePixels, sequentialRead: true, page: 0, pages: 1 };
  }

  /** Once more with what libvips itself says, which may be another size than the header's. */
  checkSize({ widthPx, heightPx }: { widthPx: number; heightPx: number }): void {
    if (widthPx * heightPx > this.limits.maxPicturePixels)
      throw new SightlineError('picture_too_many_pixels', `${widthPx} x ${heightPx}.`);
    if (Math.max(widthPx, heightPx) > Math.min(widthPx, heightPx) * this.limits.maxAspect)
      throw new SightlineError('picture_aspect_extreme', `${widthPx} x ${heightPx}.`);
  }
}

/** libvips reports faults as text only; this is the one place that reads it. */
const FAULTS: [pattern: RegExp, code: ErrorCode][] = [
  [/exceeds pixel limit|too large|dimensions exceed|security limit/i, 'picture_too_many_pixels'],
  [/timeout/i, 'picture_too_slow'],
  // libjpeg says this of a stray marker among the pixels; a file that really ends early was found before decoding.
  [/corrupt jpeg data/i, 'picture_corrupt'],
  [
    /premature|truncat|unexpected end|end of (file|stream|data|input)|read(ing)? past|not enough data|out of data|insufficient data/i,
    'picture_truncated',
  ],
];

function asPictureError(error: unknown): SightlineError {
  if (error instanceof SightlineError) return error;
  const text = error instanceof Error ? error.message : String(error);
  const code = FAULTS.find(([pattern]) => pattern.test(text))?.[1] ?? 'picture_corrupt';
  return new SightlineError(code, `The decoder says: ${text.replace(/\s+/g, ' ').slice(0, 200)}`, { cause: error });
}
