import sharp from 'sharp';
import { SharpPictureGuard, type DecodeLimits } from '@sightline/shared/adapters/sharp-picture-guard';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { annotatedPicture, canvasOf, shownLabel, type BoxToDraw } from '../core/annotated-picture.ts';
import type { Size } from '../core/rects.ts';
import { LabelFont } from './label-font.ts';
import { PixelCanvas } from './pixel-canvas.ts';

/** Draws boxes with their labels on pictures, in letters that come with the project. */
export class SharpAnnotator {
  readonly #guard: SharpPictureGuard;
  readonly #font = new LabelFont();

  constructor(limits?: DecodeLimits) {
    this.#guard = new SharpPictureGuard(limits);
  }

  /**
   * A PNG of a picture, upright by its EXIF orientation, in sRGB and on white, with its boxes and their labels drawn, at most `maxPx`
   * on its long side; small ones are enlarged. PNG, since a lossy format blurs thin lines and letters, and WebP without loss takes
   * several times as long. Errors: the picture_* codes.
   */
  draw(bytes: Uint8Array, boxes: BoxToDraw[], maxPx: number): Promise<Buffer> {
    return this.#guard.admit(bytes, async () => {
      const metadata = await sharp(bytes, this.#guard.options()).metadata();
      this.#guard.checkSize({ widthPx: metadata.width, heightPx: metadata.height });
      const { width, height } = metadata.autoOrient;
      const canvas = canvasOf({ widthPx: width, heightPx: height }, maxPx);
      const pixels = await this.#decode(bytes, canvas);

      const shown = boxes.map(({ upright, label }, index) => ({ upright, label: shownLabel(label, index) }));
      await this.#font.load(['…0123456789', ...shown.map(({ label }) => label)]);
      const drawing = annotatedPicture(canvas, shown, (text, fontPx) => this.#font.measure(text, fontPx));
      new PixelCanvas(pixels, canvas).draw(drawing, (text, fontPx) => this.#font.outline(text, fontPx));
      return sharp(pixels, { raw: { width: canvas.widthPx, height: canvas.heightPx, channels: 3 } })
        .png()
        .toBuffer();
    });
  }

  async #decode(bytes: Uint8Array, canvas: Size): Promise<Buffer> {
    const { data, info } = await sharp(bytes, this.#guard.options())
      .autoOrient()
      .flatten({ background: '#ffffff' })
      .resize(canvas.widthPx, canvas.heightPx, { fit: 'fill', kernel: 'cubic' })
      .toColourspace('srgb')
      .timeout({ seconds: this.#guard.limits.timeoutSeconds })
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    // The painter writes by these numbers.
    if (info.channels !== 3 || info.width !== canvas.widthPx || info.height !== canvas.heightPx)
      throw new SightlineError('picture_colours_unsupported', `${info.channels} channels of ${info.width} x ${info.height}.`);
    return data;
  }
}
