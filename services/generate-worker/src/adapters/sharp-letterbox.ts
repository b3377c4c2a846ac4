import sharp from 'sharp';
import { SharpPictureGuard, type DecodeLimits } from '@sightline/shared/adapters/sharp-picture-guard';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { Letterbox, Letterboxed } from '../core/grounding/letterbox.ts';
import { letterboxFrame, uprightSize, type Size } from '../core/grounding/picture-frame.ts';

/** Neutral grey: what a model's normalisation turns into about nothing. */
const PADDING = 127;
const JPEG_QUALITY = 90;
/**
 * Both are made (7 ms at 336 px) and the PNG is taken up to so many times the JPEG's size. Of the sample's pictures at 336 and 672 px
 * drawings and problem sheets come to 0.9-1.6, radiographs to 4.4-4.7: lines and figures, which a JPEG alters by up to 50 of 255, stay
 * exact, and what looks like a photograph stays small.
 */
const PNG_FACTOR = 2;

/**
 * Upright by EXIF, in sRGB by the picture's own profile (as viewers show it, which is what a model was trained on), on white, resized
 * to the square with grey around it, and encoded here: nothing of a stranger's file but its pixels reaches the model server.
 */
export class SharpLetterbox implements Letterbox {
  readonly #sidePx: number;
  readonly #guard: SharpPictureGuard;

  constructor(sidePx: number, limits?: DecodeLimits) {
    this.#sidePx = sidePx;
    this.#guard = new SharpPictureGuard(limits);
  }

  letterbox(bytes: Uint8Array): Promise<Letterboxed> {
    return this.#guard.admit(bytes, () => this.#letterbox(bytes));
  }

  async #letterbox(bytes: Uint8Array): Promise<Letterboxed> {
    const metadata = await sharp(bytes, this.#guard.options()).metadata();
    const stored = { widthPx: metadata.width, heightPx: metadata.height };
    this.#guard.checkSize(stored);
    const orientation = metadata.orientation ?? 1;
    const frame = letterboxFrame(stored, orientation, this.#sidePx);
    const [resize, pad] = frame.steps;
    if (resize?.kind !== 'resize' || pad?.kind !== 'pad') throw new TypeError('a letterbox is a resize and a padding');
    const upright = uprightSize(stored, orientation);
    if (upright.widthPx !== metadata.autoOrient.width || upright.heightPx !== metadata.autoOrient.height)
      throw new SightlineError('picture_header_invalid', `It turns by orientation ${orientation} into another size.`);
    const { data, info } = await sharp(bytes, this.#guard.options())
      .autoOrient()
      .flatten({ background: '#ffffff' })
      .resize(resize.widthPx, resize.heightPx, { fit: 'fill' })
      .toColourspace('srgb')
      .timeout({ seconds: this.#guard.limits.timeoutSeconds })
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 3 || info.width !== resize.widthPx || info.height !== resize.heightPx) {
      throw new SightlineError(
        'picture_colours_unsupported',
        `It decodes to ${info.channels} channels of ${info.width} x ${info.height}.`,
      );
    }
    const canvas = place(data, resize, pad);
    return { ...(await encode(canvas, this.#sidePx)), frame };
  }
}

function place(pixels: Buffer, size: Size, canvas: Size & { leftPx: number; topPx: number }): Buffer {
  const out = Buffer.alloc(canvas.widthPx * canvas.heightPx * 3, PADDING);
  for (let y = 0; y < size.heightPx; y++) {
    const to = ((y + canvas.topPx) * canvas.widthPx + canvas.leftPx) * 3;
    pixels.copy(out, to, y * size.widthPx * 3, (y + 1) * size.widthPx * 3);
  }
  return out;
}

async function encode(pixels: Buffer, sidePx: number): Promise<Pick<Letterboxed, 'bytes' | 'mediaType'>> {
  const raw = { width: sidePx, height: sidePx, channels: 3 } as const;
  const [png, jpeg] = await Promise.all([
    sharp(pixels, { raw }).png({ compressionLevel: 6 }).toBuffer(),
    sharp(pixels, { raw }).jpeg({ quality: JPEG_QUALITY, chromaSubsampling: '4:4:4' }).toBuffer(),
  ]);
  return png.length <= jpeg.length * PNG_FACTOR
    ? { bytes: png, mediaType: 'image/png' }
    : { bytes: jpeg, mediaType: 'image/jpeg' };
}
