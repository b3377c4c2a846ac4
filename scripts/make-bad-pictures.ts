import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { crc32, deflateSync, gzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';

/**
 * Writes a folder of pictures that are bad in every way we could think of, some good ones among them, and `expected.json`:
 * file name to error code, or null for a good one. The same bytes on every run.
 *
 *   node scripts/make-bad-pictures.ts FOLDER
 */
export async function makeBadPictures(folder: string): Promise<Record<string, string | null>> {
  mkdirSync(folder, { recursive: true });
  const expected: Record<string, string | null> = {};
  for (const [name, code, bytes] of await badPictures()) {
    writeFileSync(path.join(folder, name), bytes);
    expected[name] = code;
  }
  writeFileSync(path.join(folder, 'expected.json'), `${JSON.stringify(expected, null, 2)}\n`);
  return expected;
}

type Case = [name: string, code: string | null, bytes: Uint8Array];

async function badPictures(): Promise<Case[]> {
  const base = sharp(drawing(120, 80), { raw: { width: 120, height: 80, channels: 3 } });
  const [jpeg, progressive, png, webp, lossless, gif, tiff, avif] = await Promise.all([
    base.clone().jpeg({ quality: 90 }).toBuffer(),
    base.clone().jpeg({ progressive: true }).toBuffer(),
    base.clone().png().toBuffer(),
    base.clone().webp().toBuffer(),
    base.clone().webp({ lossless: true }).toBuffer(),
    base.clone().gif().toBuffer(),
    base.clone().tiff({ compression: 'none' }).toBuffer(),
    base.clone().avif({ effort: 0 }).toBuffer(),
  ]);
  const cmyk = await base.clone().toColourspace('cmyk').jpeg().toBuffer();
  return [
    // Good, whatever they are called or carry.
    ['good.jpg', null, jpeg],
    ['good-progressive.jpg', null, progressive],
    ['good-cmyk.jpg', null, cmyk],
    ['good-webp.webp', null, webp],
    ['good-tiff.tif', null, tiff],
    ['good-avif.avif', null, avif],
    ['good-png-called.jpg', null, png],
    ['good-jpeg-called.png', null, jpeg],
    ['good-gif-without-extension', null, gif],
    ['good-webp-called.gif', null, lossless],
    ['good-one-pixel.png', null, pngOf(1, 1, 8, 2, Buffer.from([0, 9, 99, 200]))],
    ['good-png-with-zip-behind.png', null, Buffer.concat([png, zip('evil.txt', 'hello')])],
    ['good-png-wrong-sum-in-a-comment.png', null, pngWith(png, 'tEXt', Buffer.from('Comment\0hi'), { sum: 1 })],
    ['good-jpeg-with-html-in-a-comment.jpg', null, jpegWith(jpeg, 0xfe, Buffer.from('<html><script>alert(1)</script></html>'))],
    // Nothing, or nothing known.
    ['zero-bytes.jpg', 'picture_empty', Buffer.alloc(0)],
    ['one-byte.jpg', 'picture_not_a_picture', Buffer.from([0xff])],
    ['zeros.png', 'picture_not_a_picture', Buffer.alloc(4096)],
    ['noise.jpg', 'picture_not_a_picture', noise(5000)],
    ['program.png', 'picture_not_a_picture', Buffer.concat([Buffer.from('\x7fELF\x02\x01\x01\0', 'latin1'), noise(600)])],
    ['jpeg-without-its-first-byte.jpg', 'picture_not_a_picture', jpeg.subarray(1)],
    [
      'png-after-text-transfer.png',
      'picture_not_a_picture',
      Buffer.from(png.toString('latin1').replaceAll('\r\n', '\n'), 'latin1'),
    ],
    // Something else.
    [
      'web-page.jpg',
      'picture_is_text',
      Buffer.from('<!DOCTYPE html><html><body><script>alert(document.cookie)</script>404 Not Found</body></html>'),
    ],
    ['error.json.png', 'picture_is_text', Buffer.from('{"error":"AccessDenied","key":"p/1.png"}')],
    ['storage-error.xml.jpg', 'picture_is_text', Buffer.from('<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>')],
    [
      'entities.svg.jpg',
      'picture_is_vector',
      Buffer.from(
        `<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa">${'bcdefghi'
          .split('')
          .map((c, n) => `<!ENTITY ${c} "&${'abcdefgh'[n]};&${'abcdefgh'[n]};&${'abcdefgh'[n]};">`)
          .join('')}]><svg xmlns="http://www.w3.org/2000/svg"><text>&i;</text></svg>`,
      ),
    ],
    [
      'reads-a-file.svg',
      'picture_is_vector',
      Buffer.from(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9" height="9"><image xlink:href="file:///etc/passwd"/></svg>',
      ),
    ],
    ['postscript.jpg', 'picture_is_vector', Buffer.from('%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file\n')],
    ['document.pdf.jpg', 'picture_is_document', Buffer.from('%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n')],
    ['word.docx.jpg', 'picture_is_document', zip('[Content_Types].xml', '<Types/>')],
    [
      'film.mp4.jpg',
      'picture_is_video',
      Buffer.concat([uint32(24), Buffer.from('ftypisom\0\0\x02\0isommp42', 'latin1'), noise(500)]),
    ],
    ['film.webm.png', 'picture_is_video', Buffer.concat([Buffer.from([0x1a, 0x45, 0xdf, 0xa3]), noise(500)])],
    [
      'film.avi.jpg',
      'picture_is_video',
      Buffer.concat([Buffer.from('RIFF'), uint32le(600), Buffer.from('AVI LIST'), noise(600)]),
    ],
    ['archive.zip.png', 'picture_is_archive', zip('a.txt', 'hello')],
    ['zip-bomb.gz.jpg', 'picture_is_archive', gzipSync(Buffer.alloc(20_000_000))],
    [
      'photo.heic',
      'picture_format_unsupported',
      Buffer.concat([uint32(24), Buffer.from('ftypheic\0\0\0\0mif1heic', 'latin1'), noise(500)]),
    ],
    ['drawing.bmp', 'picture_format_unsupported', bmp()],
    ['icon.ico', 'picture_format_unsupported', Buffer.concat([Buffer.from([0, 0, 1, 0, 1, 0]), noise(60)])],
    ['layers.psd', 'picture_format_unsupported', Buffer.concat([Buffer.from('8BPS\0\x01', 'latin1'), noise(60)])],
    ['new.jxl', 'picture_format_unsupported', Buffer.concat([Buffer.from([0xff, 0x0a]), noise(60)])],
    ['scan.jp2', 'picture_format_unsupported', Buffer.concat([Buffer.from('\0\0\0\x0cjP  \r\n\x87\n', 'latin1'), noise(60)])],
    ['lossless-jpeg.jpg', 'picture_format_unsupported', patched(jpeg, jpeg.indexOf(Buffer.from([0xff, 0xc0])) + 1, [0xc3])],
    // Too much of it.
    ['bomb-50000x50000.png', 'picture_too_many_pixels', pngOf(50_000, 50_000, 1, 0, Buffer.alloc(2_000_000))],
    ['bomb-wrapping-32-bits.png', 'picture_too_many_pixels', pngOf(0x10000, 0x10000, 8, 2, Buffer.alloc(1000))],
    ['bomb-65535x65535.gif', 'picture_too_many_pixels', gifOf(65_535, 65_535)],
    ['bomb-frame-outside-its-screen.gif', 'picture_too_many_pixels', gifOf(1, 1, 60_000, 60_000)],
    ['bomb-65500x65500.jpg', 'picture_too_many_pixels', jpegSized(jpeg, 65_500, 65_500)],
    ['bomb.tif', 'picture_too_many_pixels', tiffOf({ 256: 200_000, 257: 200_000 })],
    ['bomb-16383x16383.webp', 'picture_too_many_pixels', patched(webp, 26, [0xff, 0x3f, 0xff, 0x3f])],
    ['a-line-of-20000.png', 'picture_aspect_extreme', pngOf(20_000, 1, 8, 0, Buffer.alloc(20_001))],
    ['a-column-of-60000.png', 'picture_aspect_extreme', pngOf(1, 60_000, 8, 0, Buffer.alloc(120_000))],
    // Too little.
    ['no-width.png', 'picture_zero_size', pngOf(0, 100, 8, 2, Buffer.alloc(100))],
    ['no-height.jpg', 'picture_zero_size', jpegSized(jpeg, 120, 0)],
    ['no-size.gif', 'picture_zero_size', gifOf(0, 0)],
    ['cut-in-the-signature.png', 'picture_truncated', png.subarray(0, 10)],
    ['cut-in-the-pixels.png', 'picture_truncated', png.subarray(0, Math.floor(png.length / 2))],
    ['cut-before-the-end.png', 'picture_truncated', png.subarray(0, png.length - 12)],
    ['cut-in-the-header.jpg', 'picture_truncated', jpeg.subarray(0, 100)],
    ['cut-in-the-pixels.jpg', 'picture_truncated', jpeg.subarray(0, Math.floor(jpeg.length * 0.7))],
    ['cut-by-one-byte.jpg', 'picture_truncated', jpeg.subarray(0, jpeg.length - 1)],
    ['cut-progressive.jpg', 'picture_truncated', progressive.subarray(0, Math.floor(progressive.length * 0.6))],
    [
      'cut-and-closed.jpg',
      'picture_corrupt',
      Buffer.concat([jpeg.subarray(0, Math.floor(jpeg.length * 0.6)), Buffer.from([0xff, 0xd9])]),
    ],
    ['cut.gif', 'picture_truncated', gif.subarray(0, Math.floor(gif.length / 2))],
    ['cut.webp', 'picture_truncated', webp.subarray(0, Math.floor(webp.length / 2))],
    ['cut-lossless.webp', 'picture_truncated', lossless.subarray(0, lossless.length - 40)],
    ['cut.tif', 'picture_truncated', tiff.subarray(0, Math.floor(tiff.length / 2))],
    ['cut.avif', 'picture_truncated', avif.subarray(0, avif.length - 50)],
    ['larger-than-it-says.webp', 'picture_truncated', patched(webp, 4, [0xff, 0xff, 0xff, 0x7f])],
    // Contradictions.
    ['png-of-depth-3.png', 'picture_header_invalid', pngOf(8, 8, 3, 2, Buffer.alloc(200))],
    [
      'png-pixels-first.png',
      'picture_header_invalid',
      Buffer.concat([png.subarray(0, 8), chunk('IDAT', deflateSync(Buffer.alloc(30))), png.subarray(8)]),
    ],
    ['png-without-pixels.png', 'picture_header_invalid', Buffer.concat([png.subarray(0, 33), chunk('IEND', Buffer.alloc(0))])],
    [
      'jpeg-of-a-header-alone.jpg',
      'picture_header_invalid',
      jpegWith(Buffer.from([0xff, 0xd8, 0xff, 0xd9]), 0xfe, Buffer.from('a comment and no more')),
    ],
    ['tiff-directory-in-its-header.tif', 'picture_header_invalid', Buffer.from('II*\0\x02\0\0\0aaaaaaaaaaaa', 'latin1')],
    ['tiff-with-absurd-counts.tif', 'picture_header_invalid', tiffOf({ 273: 0 }, { 273: 0xfffffff0 })],
    ['tiff-of-no-size.tif', 'picture_header_invalid', tiffOf({}, {}, [256, 257])],
    [
      'webp-of-nothing.webp',
      'picture_header_invalid',
      Buffer.concat([Buffer.from('RIFF'), uint32le(30), Buffer.from('WEBPJUNK'), uint32le(18), Buffer.alloc(18)]),
    ],
    [
      'gif-without-a-frame.gif',
      'picture_header_invalid',
      Buffer.concat([gif.subarray(0, 6), Buffer.from([9, 0, 9, 0, 0, 0, 0, 0x3b])]),
    ],
    ['tiff-pixels-far-away.tif', 'picture_truncated', tiffOf({ 273: 0x7ffffff0 })],
    ['tiff-directory-far-away.tif', 'picture_truncated', Buffer.from('MM\0*\x7f\xff\xff\xf0aaaaaaaaaaaa', 'latin1')],
    // Damage.
    ['png-wrong-sum.png', 'picture_checksum_wrong', patched(png, png.indexOf('IDAT') + 30, [0xaa, 0x55, 0xaa])],
    ['png-wrong-header-sum.png', 'picture_checksum_wrong', patched(png, 30, [1, 2, 3])],
    ['png-broken-zlib.png', 'picture_corrupt', pngOf(64, 64, 8, 2, Buffer.alloc(0), noise(400))],
    ['png-unknown-filter.png', 'picture_corrupt', pngOf(16, 16, 8, 2, Buffer.alloc(16 * 49, 77))],
    ['png-too-few-pixels.png', 'picture_corrupt', pngOf(64, 64, 8, 2, Buffer.alloc(1000))],
    ['png-palette-missing.png', 'picture_corrupt', pngOf(16, 16, 8, 3, Buffer.alloc(16 * 17))],
    ['jpeg-without-tables.jpg', 'picture_corrupt', withoutSegments(jpeg, [0xc4, 0xdb])],
    ['jpeg-noise-for-pixels.jpg', 'picture_corrupt', noisePixels(jpeg)],
    ['cmyk-noise-for-pixels.jpg', 'picture_corrupt', noisePixels(cmyk)],
    ['webp-noise-for-pixels.webp', 'picture_corrupt', Buffer.concat([lossless.subarray(0, 25), noise(lossless.length - 25)])],
    [
      'avif-noise-for-pixels.avif',
      'picture_corrupt',
      Buffer.concat([avif.subarray(0, avif.indexOf('mdat') + 4), noise(avif.length - avif.indexOf('mdat') - 4)]),
    ],
    ['tiff-unknown-compression.tif', 'picture_corrupt', tiffOf({ 259: 60_000 })],
    // Samples and colours that nobody here converts.
    ['tiff-32-bit-float.tif', 'picture_depth_unsupported', tiffOf({ 258: 32, 339: 3 })],
    ['jpeg-12-bit.jpg', 'picture_depth_unsupported', patched(jpeg, jpeg.indexOf(Buffer.from([0xff, 0xc0])) + 4, [12])],
    ['tiff-lab.tif', 'picture_colours_unsupported', tiffOf({ 262: 8 })],
    ['tiff-camera-mosaic.dng', 'picture_colours_unsupported', tiffOf({ 262: 32_803 })],
    ['tiff-40-samples.tif', 'picture_colours_unsupported', tiffOf({ 277: 40 })],
    [
      'jpeg-of-two-components.jpg',
      'picture_colours_unsupported',
      patched(jpeg, jpeg.indexOf(Buffer.from([0xff, 0xc0])) + 9, [2]),
    ],
  ];
}

function drawing(width: number, height: number): Uint8Array {
  const pixels = new Uint8Array(width * height * 3);
  for (let n = 0; n < pixels.length; n++) pixels[n] = (n * 7 + ((n / 360) | 0) * 13) & 255;
  return pixels;
}

/** The same noise on every run (a multiplicative congruential generator). */
function noise(length: number): Buffer {
  let state = 12_345;
  return Buffer.from(Array.from({ length }, () => (state = (state * 48_271) % 2_147_483_647) & 255));
}

const uint32 = (value: number) => Buffer.from([value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]);
const uint32le = (value: number) => Buffer.from([value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24]);

function patched(bytes: Buffer, at: number, values: number[]): Buffer {
  const copy = Buffer.from(bytes);
  copy.set(values, at);
  return copy;
}

function chunk(type: string, data: Uint8Array, { sum }: { sum?: number } = {}): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  return Buffer.concat([uint32(data.length), body, uint32(sum ?? crc32(body))]);
}

/** A PNG whose header may say anything; `scanlines` are deflated, or `data` stands as it is. */
function pngOf(width: number, height: number, depth: number, colours: number, scanlines: Uint8Array, data?: Uint8Array): Buffer {
  const header = Buffer.concat([uint32(width), uint32(height), Buffer.from([depth, colours, 0, 0, 0])]);
  const signature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('IDAT', data ?? deflateSync(scanlines, { level: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

function pngWith(png: Buffer, type: string, data: Uint8Array, options: { sum?: number }): Buffer {
  return Buffer.concat([png.subarray(0, 33), chunk(type, data, options), png.subarray(33)]);
}

function jpegWith(jpeg: Buffer, marker: number, data: Uint8Array): Buffer {
  const length = data.length + 2;
  return Buffer.concat([jpeg.subarray(0, 2), Buffer.from([0xff, marker, length >> 8, length & 255]), data, jpeg.subarray(2)]);
}

function jpegSized(jpeg: Buffer, width: number, height: number): Buffer {
  return patched(jpeg, jpeg.indexOf(Buffer.from([0xff, 0xc0])) + 5, [height >> 8, height & 255, width >> 8, width & 255]);
}

function withoutSegments(jpeg: Buffer, markers: number[]): Buffer {
  const parts = [jpeg.subarray(0, 2)];
  for (let at = 2; at < jpeg.length;) {
    const length = 2 + jpeg.readUInt16BE(at + 2);
    if (jpeg[at + 1] === 0xda) {
      parts.push(jpeg.subarray(at));
      break;
    }
    if (!markers.includes(jpeg[at + 1]!)) parts.push(jpeg.subarray(at, at + length));
    at += length;
  }
  return Buffer.concat(parts);
}

function noisePixels(jpeg: Buffer): Buffer {
  const scan = jpeg.indexOf(Buffer.from([0xff, 0xda]));
  const from = scan + 2 + jpeg.readUInt16BE(scan + 2);
  return Buffer.concat([jpeg.subarray(0, from), noise(jpeg.length - from - 2), Buffer.from([0xff, 0xd9])]);
}

function gifOf(width: number, height: number, frameWidth = width, frameHeight = height): Buffer {
  const size = (value: number) => [value & 255, value >> 8];
  const head = [...Buffer.from('GIF89a'), ...size(width), ...size(height), 0x80, 0, 0, 0, 0, 0, 255, 255, 255];
  const frame = [0x2c, 0, 0, 0, 0, ...size(frameWidth), ...size(frameHeight), 0, 2, 2, 0x4c, 0x01, 0, 0x3b];
  return Buffer.from([...head, ...frame]);
}

/** A grey 8 x 8 TIFF in one strip, with fields overridden, their counts too, or left out. */
function tiffOf(values: Record<number, number>, counts: Record<number, number> = {}, without: number[] = []): Buffer {
  const all: Record<number, number> = { 256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: 64, ...values };
  const fields = Object.entries(all).filter(([field]) => !without.includes(Number(field)));
  const directory = Buffer.concat([
    Buffer.from([fields.length, 0]),
    ...fields.map(([field, value]) =>
      Buffer.concat([
        Buffer.from([Number(field) & 255, Number(field) >> 8, 4, 0]),
        uint32le(counts[Number(field)] ?? 1),
        uint32le(value),
      ]),
    ),
    uint32le(0),
  ]);
  return Buffer.concat([Buffer.from('II*\0', 'latin1'), uint32le(72), Buffer.alloc(64, 128), directory]);
}

function bmp(): Buffer {
  const header = Buffer.alloc(54);
  header.write('BM');
  header.writeUInt32LE(54 + 192, 2);
  header.writeUInt32LE(54, 10);
  header.writeUInt32LE(40, 14);
  header.writeInt32LE(8, 18);
  header.writeInt32LE(8, 22);
  header.writeUInt16LE(1, 26);
  header.writeUInt16LE(24, 28);
  return Buffer.concat([header, Buffer.alloc(192, 90)]);
}

function zip(name: string, content: string): Buffer {
  const data = Buffer.from(content);
  const local = Buffer.alloc(30);
  local.writeUInt32LE(0x04034b50, 0);
  local.writeUInt32LE(crc32(data), 14);
  local.writeUInt32LE(data.length, 18);
  local.writeUInt32LE(data.length, 22);
  local.writeUInt16LE(name.length, 26);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  return Buffer.concat([local, Buffer.from(name), data, end]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = process.argv[2];
  if (!folder) {
    console.error('usage: make-bad-pictures FOLDER');
    process.exit(2);
  }
  const expected = Object.values(await makeBadPictures(folder));
  const bad = expected.filter((code) => code !== null);
  console.log(`${folder}: ${bad.length} bad pictures with ${new Set(bad).size} codes, ${expected.length - bad.length} good ones`);
}
