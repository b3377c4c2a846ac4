import sharp, { type Sharp, type SharpOptions } from 'sharp';
import { SightlineError, type ErrorCode } from '@sightline/shared/runtime/errors';
import type { DecodedPicture } from '../core/encoder.ts';
import { detectPictureFormat, type PictureFormat } from '../core/picture-format.ts';
import { readPictureHeader } from '../core/picture-header.ts';
import { pictureView, type PictureView, type ViewLayout } from '../core/picture-view.ts';
import type { Colour, PreprocessingPlan, Size } from '../core/preprocessing.ts';
import { enlarge } from '../core/enlarge.ts';
import { PixelBudget } from '../core/pixel-budget.ts';

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
 * Turns bytes into the network's input as `plan` says, on libvips' threads. Alpha is laid on white, EXIF orientation is
 * applied, ICC profiles are ignored and CMYK is converted by the plain formula, as Pillow does.
 * Setting it up shuts libvips' other loaders for the whole process.
 */
export class SharpDecoder {
  readonly #plan: PreprocessingPlan;
  readonly #layouts: ViewLayout[];
  readonly #limits: DecodeLimits;
  readonly #budget: PixelBudget;

  constructor(plan: PreprocessingPlan, layouts: ViewLayout[], limits: DecodeLimits = DEFAULT_DECODE_LIMITS) {
    sharp.block({ operation: ['VipsForeignLoad'] });
    sharp.unblock({ operation: LOADERS });
    // One thread a picture and several pictures at a time: fewer hand-overs than several threads on one. The cache would
    // keep strangers' pictures in memory, and no picture comes twice.
    sharp.concurrency(1);
    sharp.cache(false);
    this.#plan = plan;
    this.#layouts = layouts;
    this.#limits = limits;
    this.#budget = new PixelBudget(limits.maxPicturePixels);
  }

  /** Errors: the picture_* codes. */
  async decode(bytes: Uint8Array): Promise<DecodedPicture> {
    if (bytes.length > this.#limits.maxPictureBytes) throw new SightlineError('picture_too_many_bytes', `${bytes.length} bytes.`);
    const format = detectPictureFormat(bytes);
    const header = readPictureHeader(bytes, format);
    this.#checkSize(header);
    const release = await this.#budget.take(header.widthPx * header.heightPx);
    try {
      return await this.#decode(bytes, format);
    } catch (error) {
      throw asPictureError(error);
    } finally {
      release();
    }
  }

  async #decode(bytes: Uint8Array, format: PictureFormat): Promise<DecodedPicture> {
    const metadata = await sharp(bytes, this.#options()).metadata();
    const size = { widthPx: metadata.autoOrient.width, heightPx: metadata.autoOrient.height };
    this.#checkSize(size);
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
      .timeout({ seconds: this.#limits.timeoutSeconds })
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
      .timeout({ seconds: this.#limits.timeoutSeconds })
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 4) throw new SightlineError('picture_colours_unsupported', `CMYK with ${info.channels} channels.`);
    const rgb = await cmykToRgb(data);
    return () =>
      sharp(rgb, {
        raw: { width: info.width, height: info.height, channels: 3 },
        limitInputPixels: this.#limits.maxPicturePixels,
      });
  }

  /** LLaVA's `pad_to_square`: the margin before is the floor, and resizing comes after, so edges blend into the colour. */
  async #padToSquare(picture: Sharp, size: Size, [r, g, b]: Colour): Promise<[() => Sharp, Size]> {
    const side = Math.max(size.widthPx, size.heightPx);
    if (side * side > this.#limits.maxPicturePixels)
      throw new SightlineError('picture_too_many_pixels', `${side} x ${side} once padded.`);
    const [left, top] = [Math.floor((side - size.widthPx) / 2), Math.floor((side - size.heightPx) / 2)];
    const margins = { left, top, right: side - size.widthPx - left, bottom: side - size.heightPx - top };
    const data = await picture
      .flatten({ background: '#ffffff' })
      .toColourspace('srgb')
      .extend({ ...margins, background: { r, g, b } })
      .timeout({ seconds: this.#limits.timeoutSeconds })
      .raw({ depth: 'uchar' })
      .toBuffer();
    if (data.length !== side * side * 3) throw new SightlineError('picture_colours_unsupported');
    const raw = { width: side, height: side, channels: 3 } as const;
    return [() => sharp(data, { raw, limitInputPixels: this.#limits.maxPicturePixels }), { widthPx: side, heightPx: side }];
  }

  #options(): SharpOptions {
    return {
      failOn: 'warning',
      limitInputPixels: this.#limits.maxPicturePixels,
      sequentialRead: true,
      ignoreIcc: true,
      page: 0,
      pages: 1,
    };
  }

  #checkSize({ widthPx, heightPx }: Size): void {
    if (widthPx * heightPx > this.#limits.maxPicturePixels)
      throw new SightlineError('picture_too_many_pixels', `${widthPx} x ${heightPx}.`);
    if (Math.max(widthPx, heightPx) > Math.min(widthPx, heightPx) * this.#limits.maxAspect)
      throw new SightlineError('picture_aspect_extreme', `${widthPx} x ${heightPx}.`);
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
