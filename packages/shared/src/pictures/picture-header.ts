import { crc32 } from 'node:zlib';
import { SightlineError } from '../runtime/errors.ts';
import type { PictureFormat } from './picture-format.ts';

/** What a file claims before anything is decoded. Stored size, before EXIF orientation. */
export interface PictureHeader {
  widthPx: number;
  heightPx: number;
}

const truncated = (detail: string) => new SightlineError('picture_truncated', detail);
const invalid = (detail: string) => new SightlineError('picture_header_invalid', detail);

/**
 * Walks the container's structure, decoding nothing, so that a bomb, a cut or a contradiction is known and named before a
 * native decoder sees the bytes. Costs one pass over chunk headers (PNG: one CRC over the file).
 * Errors: `picture_truncated`, `picture_header_invalid`, `picture_zero_size`, `picture_checksum_wrong`,
 * `picture_depth_unsupported`, `picture_colours_unsupported`, `picture_format_unsupported`.
 */
export function readPictureHeader(bytes: Uint8Array, format: PictureFormat): PictureHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = READERS[format](view, bytes);
  if (header.widthPx === 0 || header.heightPx === 0) throw new SightlineError('picture_zero_size');
  return header;
}

const READERS: Record<PictureFormat, (view: DataView, bytes: Uint8Array) => PictureHeader> = {
  png: readPng,
  jpeg: readJpeg,
  gif: readGif,
  webp: readWebp,
  tiff: readTiff,
  avif: readAvif,
};

/** PNG, third edition: bit depths that each colour type allows. */
const PNG_DEPTHS: Record<number, number[]> = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };

function readPng(view: DataView, bytes: Uint8Array): PictureHeader {
  let header: PictureHeader | null = null;
  let hasPixels = false;
  for (let at = 8; ;) {
    if (at + 8 > view.byteLength) throw truncated('A PNG chunk is missing.');
    const length = view.getUint32(at);
    const type = tag(view, at + 4);
    if (!header && type !== 'IHDR') throw invalid('The PNG does not begin with IHDR.');
    if (at + 12 + length > view.byteLength) throw truncated(`The PNG ends inside ${printable(type)}.`);
    // Only critical chunks (capital first letter) matter: a wrong sum in a comment is no reason to refuse a picture.
    const isCritical = (bytes[at + 4]! & 0x20) === 0;
    if (isCritical && crc32(bytes.subarray(at + 4, at + 8 + length)) !== view.getUint32(at + 8 + length)) {
      throw new SightlineError('picture_checksum_wrong', `The sum of PNG chunk ${printable(type)} is wrong.`);
    }
    if (type === 'IHDR') {
      if (header || length !== 13) throw invalid('The PNG has a malformed IHDR.');
      const [depth, colours] = [view.getUint8(at + 16), view.getUint8(at + 17)];
      if (!PNG_DEPTHS[colours]?.includes(depth)) throw invalid(`PNG colour type ${colours} has no depth ${depth}.`);
      header = { widthPx: view.getUint32(at + 8), heightPx: view.getUint32(at + 12) };
    }
    if (type === 'IDAT') hasPixels = true;
    if (type === 'IEND') break;
    at += 12 + length;
  }
  if (!hasPixels) throw invalid('The PNG has no pixels (IDAT).');
  return header!;
}

function readJpeg(view: DataView, bytes: Uint8Array): PictureHeader {
  let header: PictureHeader | null = null;
  for (let at = 2; ;) {
    if (bytes[at] === 0xff && bytes[at + 1] === 0xd9) throw invalid('The JPEG ends without a picture.');
    if (at + 4 > view.byteLength) throw truncated('The JPEG ends before its pixels.');
    // Fill bytes and a few stray bytes between segments are common in the wild; decoders skip them.
    if (bytes[at] !== 0xff || bytes[at + 1] === 0xff || bytes[at + 1] === 0x00) {
      at++;
      continue;
    }
    const marker = bytes[at + 1]!;
    if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {
      at += 2;
      continue;
    }
    const length = view.getUint16(at + 2);
    if (length < 2) throw invalid('A JPEG segment has an impossible length.');
    if (at + 2 + length > view.byteLength) throw truncated('The JPEG ends inside a segment.');
    if (marker === 0xda) {
      if (!header) throw invalid('The JPEG has pixels before their size.');
      // An EXIF thumbnail's own end marker lies before the scan; only one after it ends the picture.
      if (!hasJpegEnd(bytes, at)) throw truncated('The JPEG has no end marker.');
      return header;
    }
    const isFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
    if (isFrame && !header) header = readJpegFrame(view, at, marker, length);
    at += 2 + length;
  }
}

function readJpegFrame(view: DataView, at: number, marker: number, length: number): PictureHeader {
  if (length < 8) throw invalid('The JPEG frame header is too short.');
  if (![0xc0, 0xc1, 0xc2].includes(marker))
    throw new SightlineError('picture_format_unsupported', 'It is a lossless, hierarchical or arithmetic JPEG.');
  const depth = view.getUint8(at + 4);
  const components = view.getUint8(at + 9);
  if (depth !== 8) throw new SightlineError('picture_depth_unsupported', `The JPEG has ${depth} bits a sample.`);
  if (![1, 3, 4].includes(components))
    throw new SightlineError('picture_colours_unsupported', `The JPEG has ${components} components.`);
  return { widthPx: view.getUint16(at + 7), heightPx: view.getUint16(at + 5) };
}

function hasJpegEnd(bytes: Uint8Array, from: number): boolean {
  for (let at = bytes.length - 2; at >= from; at--) if (bytes[at] === 0xff && bytes[at + 1] === 0xd9) return true;
  return false;
}

function readGif(view: DataView, bytes: Uint8Array): PictureHeader {
  if (view.byteLength < 13) throw truncated('The GIF ends in its header.');
  const header = { widthPx: view.getUint16(6, true), heightPx: view.getUint16(8, true) };
  const table = (flags: number) => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0);
  for (let at = 13 + table(bytes[10]!); ;) {
    const kind = bytes[at];
    if (kind === undefined) throw truncated('The GIF ends before its first frame.');
    if (kind === 0x3b) throw invalid('The GIF has no frame.');
    if (kind === 0x21) at = skipGifBlocks(bytes, at + 2);
    else if (kind === 0x2c) {
      if (at + 10 > view.byteLength) throw truncated('The GIF ends in its first frame.');
      const frame = { widthPx: view.getUint16(at + 5, true), heightPx: view.getUint16(at + 7, true) };
      if (frame.widthPx === 0 || frame.heightPx === 0) throw new SightlineError('picture_zero_size');
      skipGifBlocks(bytes, at + 10 + table(bytes[at + 9]!) + 1);
      // Decoders enlarge the screen to the frame, so a small screen must not hide a huge frame.
      return {
        widthPx: header.widthPx && Math.max(header.widthPx, frame.widthPx),
        heightPx: header.heightPx && Math.max(header.heightPx, frame.heightPx),
      };
    } else throw invalid('The GIF has an unknown block.');
  }
}

function skipGifBlocks(bytes: Uint8Array, at: number): number {
  for (;;) {
    const length = bytes[at];
    if (length === undefined) throw truncated('The GIF ends inside a block.');
    at += 1 + length;
    if (length === 0) return at;
  }
}

function readWebp(view: DataView): PictureHeader {
  if (view.byteLength < 20) throw truncated('The WebP ends in its header.');
  const size = view.getUint32(4, true) + 8;
  if (size > view.byteLength) throw truncated('The WebP is shorter than its header says.');
  const type = tag(view, 12);
  if (view.byteLength < 30)
    throw type === 'VP8 ' || type === 'VP8L' || type === 'VP8X'
      ? truncated('The WebP ends in its header.')
      : invalid('The WebP has no picture.');
  if (type === 'VP8X') return { widthPx: 1 + uint24(view, 24), heightPx: 1 + uint24(view, 27) };
  if (view.getUint32(16, true) + 20 > view.byteLength) throw truncated('The WebP ends inside its picture.');
  if (type === 'VP8 ') {
    if (uint24(view, 23) !== 0x2a019d) throw invalid('The WebP has no VP8 start code.');
    return { widthPx: view.getUint16(26, true) & 0x3fff, heightPx: view.getUint16(28, true) & 0x3fff };
  }
  if (type === 'VP8L') {
    if (view.getUint8(20) !== 0x2f) throw invalid('The WebP has no VP8L signature.');
    const bits = view.getUint32(21, true);
    return { widthPx: 1 + (bits & 0x3fff), heightPx: 1 + ((bits >>> 14) & 0x3fff) };
  }
  throw invalid('The WebP has no picture.');
}

/** TIFF 6.0 field types to bytes; 16 to 18 are BigTIFF's. */
const TIFF_BYTES: Record<number, number> = {
  1: 1,
  2: 1,
  3: 2,
  4: 4,
  5: 8,
  6: 1,
  7: 1,
  8: 2,
  9: 4,
  10: 8,
  11: 4,
  12: 8,
  13: 4,
  16: 8,
  17: 8,
  18: 8,
};
const MAX_TIFF_VALUES = 1_000_000;

function readTiff(view: DataView): PictureHeader {
  if (view.byteLength < 16) throw truncated('The TIFF ends in its header.');
  const little = view.getUint8(0) === 0x49;
  const isBig = view.getUint16(2, little) === 43;
  const ifd = isBig ? Number(view.getBigUint64(8, little)) : view.getUint32(4, little);
  if (ifd < 8) throw invalid('The TIFF directory lies in its header.');
  if (ifd + 8 > view.byteLength) throw truncated('The TIFF directory lies beyond the end.');
  const count = isBig ? Number(view.getBigUint64(ifd, little)) : view.getUint16(ifd, little);
  const [entrySize, first, inline] = isBig ? [20, ifd + 8, 8] : [12, ifd + 2, 4];
  if (count === 0 || count > 4096) throw invalid(`The TIFF directory has ${count} entries.`);
  if (first + count * entrySize > view.byteLength) throw truncated('The TIFF ends inside its directory.');
  const fields = new Map<number, number[]>();
  for (let n = 0; n < count; n++) {
    const at = first + n * entrySize;
    const field = view.getUint16(at, little);
    if (!TIFF_FIELDS.has(field)) continue;
    const type = view.getUint16(at + 2, little);
    const values = isBig ? Number(view.getBigUint64(at + 4, little)) : view.getUint32(at + 4, little);
    const bytesEach = TIFF_BYTES[type];
    if (!bytesEach || values > MAX_TIFF_VALUES) throw invalid(`TIFF field ${field} is malformed.`);
    const valueAt = at + (isBig ? 12 : 8);
    const from =
      bytesEach * values <= inline
        ? valueAt
        : isBig
          ? Number(view.getBigUint64(valueAt, little))
          : view.getUint32(valueAt, little);
    if (from + bytesEach * values > view.byteLength) throw truncated(`TIFF field ${field} lies beyond the end.`);
    fields.set(
      field,
      Array.from({ length: values }, (_, i) => readTiffValue(view, from + i * bytesEach, bytesEach, little)),
    );
  }
  return judgeTiff(fields, view.byteLength);
}

const TIFF_FIELDS = new Set([256, 257, 258, 262, 273, 277, 279, 324, 325, 339]);

function readTiffValue(view: DataView, at: number, bytesEach: number, little: boolean): number {
  if (bytesEach === 1) return view.getUint8(at);
  if (bytesEach === 2) return view.getUint16(at, little);
  return bytesEach === 4 ? view.getUint32(at, little) : Number(view.getBigUint64(at, little));
}

function judgeTiff(fields: Map<number, number[]>, sizeBytes: number): PictureHeader {
  const one = (field: number, otherwise: number) => fields.get(field)?.[0] ?? otherwise;
  if (!fields.has(256) || !fields.has(257)) throw invalid('The TIFF does not say its size.');
  const [photometric, samples] = [one(262, 1), one(277, 1)];
  // 0, 1 grey; 2 RGB; 3 palette; 5 CMYK; 6 YCbCr. Lab, CFA (raw) and the like have no agreed way to RGB here.
  if (![0, 1, 2, 3, 5, 6].includes(photometric) || samples < 1 || samples > 5) {
    throw new SightlineError('picture_colours_unsupported', `TIFF colour model ${photometric} with ${samples} samples a pixel.`);
  }
  const depths = fields.get(258) ?? [1];
  if ((fields.get(339) ?? []).some((f) => f !== 1 && f !== 4) || depths.some((d) => ![1, 2, 4, 8, 16].includes(d))) {
    throw new SightlineError(
      'picture_depth_unsupported',
      `TIFF samples of ${[...new Set(depths)].slice(0, 4).join(', ')} bits, format ${one(339, 1)}.`,
    );
  }
  const [offsets, lengths] = [fields.get(273) ?? fields.get(324), fields.get(279) ?? fields.get(325)];
  if (!offsets?.length || (lengths && lengths.length !== offsets.length))
    throw invalid('The TIFF does not say where its pixels are.');
  if (offsets.some((offset, n) => offset + (lengths?.[n] ?? 1) > sizeBytes)) throw truncated('TIFF pixels lie beyond the end.');
  return { widthPx: one(256, 0), heightPx: one(257, 0) };
}

function readAvif(view: DataView): PictureHeader {
  let size: PictureHeader | null = null;
  for (let at = 0; at + 8 <= view.byteLength;) {
    const type = tag(view, at + 4);
    let length = view.getUint32(at);
    if (length === 1 && at + 16 <= view.byteLength) length = Number(view.getBigUint64(at + 8));
    if (length === 0) length = view.byteLength - at;
    if (length < 8) throw invalid('An AVIF box has an impossible length.');
    if (at + length > view.byteLength) throw truncated(`The AVIF ends inside ${printable(type)}.`);
    if (type === 'meta') size = readAvifSize(view, at, at + length);
    at += length;
  }
  if (!size) throw truncated('The AVIF does not say its size.');
  return size;
}

/** The largest `ispe` property: the picture's, or its grid's, never its thumbnail's. */
function readAvifSize(view: DataView, from: number, to: number): PictureHeader | null {
  let largest: PictureHeader | null = null;
  for (let at = from; at + 16 <= to; at++) {
    if (view.getUint8(at) !== 0x69 || tag(view, at) !== 'ispe') continue;
    const found = { widthPx: view.getUint32(at + 8), heightPx: view.getUint32(at + 12) };
    if (!largest || found.widthPx * found.heightPx > largest.widthPx * largest.heightPx) largest = found;
  }
  return largest;
}

const uint24 = (view: DataView, at: number) => view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
const tag = (view: DataView, at: number) =>
  String.fromCharCode(view.getUint8(at), view.getUint8(at + 1), view.getUint8(at + 2), view.getUint8(at + 3));
const printable = (name: string) => name.replace(/[^A-Za-z0-9]/g, '?');
