import sharp from 'sharp';
import { SightlineError } from '@sightline/shared/runtime/errors';

/** Formats whose loaders are needed; the rest (vector drawings, documents, raw dumps) never reach a parser here. */
const FORMATS = new Set(['jpeg', 'png', 'webp', 'gif', 'tiff', 'heif']);
// Parsers that no catalogue's picture needs; their formats are also refused below, but only after they would have been read.
sharp.block({ operation: ['VipsForeignLoadSvg', 'VipsForeignLoadPdf', 'VipsForeignLoadVips'] });

const MAX_PIXELS = 100_000_000;
const TIMEOUT_SECONDS = 20;

/**
 * A WebP of a picture, upright by its EXIF orientation, at most `widthPx` wide and high, on white. Re-encoded always: a stranger's
 * bytes are never passed on. Errors: `picture_corrupt`, `picture_format_unsupported`.
 */
export async function makeThumbnail(bytes: Uint8Array, widthPx: number): Promise<Buffer> {
  try {
    const picture = sharp(bytes, { limitInputPixels: MAX_PIXELS, failOn: 'error', pages: 1 });
    const { format } = await picture.metadata();
    if (!format || !FORMATS.has(format)) throw new SightlineError('picture_format_unsupported', format);
    return await picture
      .autoOrient()
      .resize({ width: widthPx, height: widthPx, fit: 'inside', withoutEnlargement: true })
      .flatten({ background: 'white' })
      .timeout({ seconds: TIMEOUT_SECONDS })
      .webp({ quality: 82 })
      .toBuffer();
  } catch (error) {
    if (error instanceof SightlineError) throw error;
    throw new SightlineError('picture_corrupt', undefined, { cause: error });
  }
}
