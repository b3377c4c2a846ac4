import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import sharp from 'sharp';
import { DEFAULT_DECODE_LIMITS } from './sharp-picture-guard.ts';
import { SightlineError } from '../runtime/errors.ts';
import { makeBadPictures } from '../../../../scripts/make-bad-pictures.ts';
import { viewLayouts } from '../pictures/picture-view.ts';
import { parsePreprocessing } from '../pictures/preprocessing.ts';
import { SharpDecoder } from './sharp-decoder.ts';

const clip = parsePreprocessing({ image_processor_type: 'CLIPImageProcessor' });
const decoderOf = (plan = clip, limits = DEFAULT_DECODE_LIMITS) => new SharpDecoder(plan, viewLayouts(plan, null), limits);

const codeOf = (error: unknown) => (error instanceof SightlineError ? error.code : error);

test('every bad picture fails with its own code, the good ones among them decode, and memory stays bounded', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'sightline-bad-'));
  try {
    const expected = await makeBadPictures(folder);
    const decoder = decoderOf();
    const before = process.memoryUsage.rss();
    let highest = before;
    const found: Record<string, unknown> = {};
    for (let round = 0; round < 3; round++) {
      await Promise.all(
        Object.keys(expected).map(async (name) => {
          found[name] = await decoder.decode(readFileSync(path.join(folder, name))).then(() => null, codeOf);
          highest = Math.max(highest, process.memoryUsage.rss());
        }),
      );
      expect(found).toEqual(expected);
    }
    const bad = Object.values(expected).filter((code) => code !== null);
    expect(bad.length).toBeGreaterThanOrEqual(40);
    expect(new Set(bad).size).toBeGreaterThanOrEqual(12);
    expect(highest - before).toBeLessThan(400 * 1024 * 1024);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('bytes over the limit are refused before they are looked at', async () => {
  const decoder = decoderOf(clip, { ...DEFAULT_DECODE_LIMITS, maxPictureBytes: 10 });
  await expect(decoder.decode(new Uint8Array(11)).catch(codeOf)).resolves.toBe('picture_too_many_bytes');
});

test('a picture within the pixel limit decodes and one beyond it does not', async () => {
  const decoder = decoderOf(clip, { ...DEFAULT_DECODE_LIMITS, maxPicturePixels: 10_000 });
  const square = (edge: number) =>
    sharp({ create: { width: edge, height: edge, channels: 3, background: '#888' } })
      .png()
      .toBuffer();
  await expect(decoder.decode(await square(100))).resolves.toMatchObject({ widthPx: 100, heightPx: 100 });
  await expect(decoder.decode(await square(101)).catch(codeOf)).resolves.toBe('picture_too_many_pixels');
});

test('a huge picture is decoded in little memory', async () => {
  const bytes = await sharp({ create: { width: 8000, height: 6000, channels: 3, background: '#123456' } })
    .jpeg()
    .toBuffer();
  const before = process.memoryUsage.rss();
  const { pixels } = await decoderOf().decode(bytes);
  expect(process.memoryUsage.rss() - before).toBeLessThan(150 * 1024 * 1024);
  expect(Math.abs(pixels[0]! - 0x12)).toBeLessThan(3);
});

test('transparency is laid on white, 16-bit samples are scaled by their range', async () => {
  const clear = await sharp({ create: { width: 50, height: 40, channels: 4, background: { r: 200, g: 0, b: 0, alpha: 0 } } })
    .png()
    .toBuffer();
  expect([...(await decoderOf().decode(clear)).pixels.subarray(0, 3)]).toEqual([255, 255, 255]);
  const grey = await sharp(new Uint16Array(400).fill(0x8000), { raw: { width: 20, height: 20, channels: 1 } })
    .toColourspace('grey16')
    .png()
    .toBuffer();
  const { pixels } = await decoderOf().decode(grey);
  for (const value of pixels.subarray(0, 3)) expect(Math.abs(value - 128)).toBeLessThanOrEqual(1);
});

test('files with random damage give pixels or a picture code, never anything else', async () => {
  const folder = path.resolve(import.meta.dirname, '../../../../test/fixtures/pictures');
  const names = [
    'landscape.jpg',
    'palette.png',
    'palette.gif',
    'square.webp',
    'tiff.tif',
    'avif.avif',
    'cmyk-black.tif',
    'rgb-16.png',
  ];
  const files = names.map((name) => readFileSync(path.join(folder, name)));
  const small = parsePreprocessing({ size: 32, crop_size: 32 });
  const decoder = decoderOf(small);
  const damage = fc.array(fc.tuple(fc.double({ min: 0, max: 0.999, noNaN: true }), fc.integer({ min: 0, max: 255 })), {
    minLength: 1,
    maxLength: 6,
  });
  await fc.assert(
    fc.asyncProperty(fc.nat(files.length - 1), damage, fc.boolean(), async (file, spots, isInFront) => {
      const bytes = Buffer.from(files[file]!);
      for (const [place, value] of spots) bytes[Math.floor(place * (isInFront ? 200 : bytes.length))] = value;
      const outcome = await decoder.decode(bytes).then(({ pixels }) => pixels.length, codeOf);
      expect(outcome === 32 * 32 * 3 || String(outcome).startsWith('picture_')).toBe(true);
    }),
    { seed: 3, numRuns: 400 },
  );
});

test('libvips cannot be talked into another loader', async () => {
  decoderOf();
  const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>');
  await expect(sharp(svg).png().toBuffer()).rejects.toThrow(/unsupported/);
});
