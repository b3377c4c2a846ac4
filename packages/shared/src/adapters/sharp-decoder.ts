import sharp, { type Sharp, type SharpOptions } from 'sharp';
import { SharpPictureGuard, type DecodeLimits } from './sharp-picture-guard.ts';
import type { PictureFormat } from '../pictures/picture-format.ts';
import { SightlineError } from '../runtime/errors.ts';
import type { DecodedPicture } from '../pictures/decoded-picture.ts';
import { pictureView, type PictureView, type ViewLayout } from '../pictures/picture-view.ts';
import type { Colour, PreprocessingPlan, Size } from '../pictures/preprocessing.ts';
import { enlarge } from '../pictures/enlarge.ts';

/**
 * Turns bytes into the network's input as `plan` says, on libvips' threads. Alpha is laid on white, EXIF orientation is
 * applied, ICC profiles are ignored and CMYK is converted by the plain formula, as Pillow does.
 * Setting it up shuts libvips' other loaders for the whole process.
 */
export class SharpDecoder {
  readonly #plan: PreprocessingPlan;
  readonly #layouts: ViewLayout[];
  readonly #guard: SharpPictureGuard;

  constructor(plan: PreprocessingPlan, layouts: ViewLayout[], limits?: DecodeLimits) {
    this.#plan = plan;
    this.#layouts = layouts;
    this.#guard = new SharpPictureGuard(limits);
  }

  /** Errors: the picture_* codes. */
  decode(bytes: Uint8Array): Promise<DecodedPicture> {
    return this.#guard.admit(bytes, (format) => this.#decode(bytes, format));
  }

  async #decode(bytes: Uint8Array, format: PictureFormat): Promise<DecodedPicture> {
    const metadata = await sharp(bytes, this.#options()).metadata();
    const size = { widthPx: metadata.autoOrient.width, heightPx: metadata.autoOrient.height };
    this.#guard.checkSize(size);
    let open = metadata.space === 'cmyk' ? await this.#openCmyk(bytes) : () => this.#open(bytes, format);
    let drawn = size;
    if (this.#plan.square && size.widthPx !== size.heightPx)
      [open, drawn] = await this.#padToSquare(open(), size, this.#plan.square);
    const cuts: Uint8Array[] = [];
    for (const layout of this.#layouts) {
      const view = pictureView(this.#plan, drawn, layout.factor);
      const canvas = await this.#draw(open(), drawn, view);
      for (const tile of layout.tiles) cuts.push(cut(canvas, layout.canvas, tile, layout.tile));
    }
    return { pixels: cuts.length === 1 ? cuts[0]! : concatenate(cuts), crops: cuts.length, ...size, format };
  }

  /** sharp shrinks a JPEG while loading it even where it is told not to, unless it is told the colour space to work in. */
  #open(bytes: Uint8Array, format: PictureFormat): Sharp {
    const picture = sharp(bytes, this.#options()).autoOrient();
    return format === 'jpeg' && this.#plan.shrinkOnLoad === null ? picture.pipelineColourspace('srgb') : picture;
  }

  /** libvips reduces, `enlarge` enlarges: each side of the picture does one or the other. */
  async #draw(picture: Sharp, size: Size, view: PictureView): Promise<Uint8Array> {
    const { source, resized, canvas } = view;
    const enlarges = size.widthPx < resized.widthPx || size.heightPx < resized.heightPx;
    const reduced = { widthPx: Math.min(size.widthPx, resized.widthPx), heightPx: Math.min(size.heightPx, resized.heightPx) };
    const window = enlarges ? { leftPx: 0, topPx: 0, ...reduced } : source;
    picture.flatten({ background: '#ffffff' }).resize(reduced.widthPx, reduced.heightPx, {
      fit: 'fill',
      kernel: this.#plan.kernel,
      fastShrinkOnLoad: this.#plan.shrinkOnLoad === 1,
    });
    if (window.widthPx !== reduced.widthPx || window.heightPx !== reduced.heightPx) {
      picture.extract({ left: window.leftPx, top: window.topPx, width: window.widthPx, height: window.heightPx });
    }
    const { data, info } = await picture
      .toColourspace('srgb')
      .timeout({ seconds: this.#guard.limits.timeoutSeconds })
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 3 || info.width !== window.widthPx || info.height !== window.heightPx) {
      throw new SightlineError(
        'picture_colours_unsupported',
        `It decodes to ${info.channels} channels of ${info.width} x ${info.height}.`,
      );
    }
    const decoded = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const pixels = enlarges ? enlarge(decoded, reduced, resized, source, this.#plan.kernel) : decoded;
    if (source.widthPx === canvas.widthPx && source.heightPx === canvas.heightPx) return pixels;
    return place(pixels, view);
  }

  /** libvips would convert by an ICC profile; Pillow takes (255-C)(255-K)/255, and the networks were trained on Pillow's. */
  async #openCmyk(bytes: Uint8Array): Promise<() => Sharp> {
    const { data, info } = await sharp(bytes, this.#options())
      .autoOrient()
      .pipelineColourspace('cmyk')
      .toColourspace('cmyk')
      .timeout({ seconds: this.#guard.limits.timeoutSeconds })
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 4) throw new SightlineError('picture_colours_unsupported', `CMYK with ${info.channels} channels.`);
    const rgb = await cmykToRgb(data);
    return () =>
      sharp(rgb, {
        raw: { width: info.width, height: info.height, channels: 3 },
        limitInputPixels: this.#guard.limits.maxPicturePixels,
      });
  }

  /** LLaVA's `pad_to_square`: the margin before is the floor, and resizing comes after, so edges blend into the colour. */
  async #padToSquare(picture: Sharp, size: Size, [r, g, b]: Colour): Promise<[() => Sharp, Size]> {
    const side = Math.max(size.widthPx, size.heightPx);
    if (side * side > this.#guard.limits.maxPicturePixels)
      throw new SightlineError('picture_too_many_pixels', `${side} x ${side} once padded.`);
    const [left, top] = [Math.floor((side - size.widthPx) / 2), Math.floor((side - size.heightPx) / 2)];
    const margins = { left, top, right: side - size.widthPx - left, bottom: side - size.heightPx - top };
    const data = await picture
      .flatten({ background: '#ffffff' })
      .toColourspace('srgb')
      .extend({ ...margins, background: { r, g, b } })
      .timeout({ seconds: this.#guard.limits.timeoutSeconds })
      .raw({ depth: 'uchar' })
      .toBuffer();
    if (data.length !== side * side * 3) throw new SightlineError('picture_colours_unsupported');
    const raw = { width: side, height: side, channels: 3 } as const;
    return [() => sharp(data, { raw, limitInputPixels: this.#guard.limits.maxPicturePixels }), { widthPx: side, heightPx: side }];
  }

  /** Profiles are ignored, as Pillow does. */
  #options(): SharpOptions {
    return { ...this.#guard.options(), ignoreIcc: true };
  }
}

/** Pillow's `cmyk2rgb` (libImaging/Convert.c), in slices, so that the event loop is not held for a poster. */
async function cmykToRgb(cmyk: Uint8Array): Promise<Uint8Array> {
  const rgb = new Uint8Array((cmyk.length / 4) * 3);
  const slice = 1 << 20;
  for (let from = 0; from < cmyk.length; from += slice) {
    if (from > 0) await new Promise(setImmediate);
    const to = Math.min(cmyk.length, from + slice);
    for (let i = from, o = (from / 4) * 3; i < to; i += 4) {
      const light = 255 - cmyk[i + 3]!;
      for (let c = 0; c < 3; c++) rgb[o++] = Math.max(0, light - divideBy255(cmyk[i + c]! * light));
    }
  }
  return rgb;
}

/** Pillow's MULDIV255: rounded division by 255 without dividing. */
function divideBy255(product: number): number {
  const t = product + 128;
  return ((t >> 8) + t) >> 8;
}

function place(pixels: Uint8Array, view: PictureView): Uint8Array {
  const { canvas, source, fill } = view;
  const out = new Uint8Array(canvas.widthPx * canvas.heightPx * 3);
  for (let i = 0; i < out.length; i++) out[i] = fill[i % 3]!;
  for (let y = 0; y < source.heightPx; y++) {
    out.set(
      pixels.subarray(y * source.widthPx * 3, (y + 1) * source.widthPx * 3),
      ((y + view.topPx) * canvas.widthPx + view.leftPx) * 3,
    );
  }
  return out;
}

function cut(pixels: Uint8Array, canvas: Size, at: { leftPx: number; topPx: number }, size: Size): Uint8Array {
  if (canvas.widthPx === size.widthPx && canvas.heightPx === size.heightPx) return pixels;
  const out = new Uint8Array(size.widthPx * size.heightPx * 3);
  for (let y = 0; y < size.heightPx; y++) {
    const from = ((y + at.topPx) * canvas.widthPx + at.leftPx) * 3;
    out.set(pixels.subarray(from, from + size.widthPx * 3), y * size.widthPx * 3);
  }
  return out;
}

function concatenate(parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
