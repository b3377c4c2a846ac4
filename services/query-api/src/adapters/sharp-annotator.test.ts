import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from '@jest/globals';
import sharp from 'sharp';
import { DEFAULT_DECODE_LIMITS } from '@sightline/shared/adapters/sharp-picture-guard';
import { annotatedPicture, canvasOf, contrast, type BoxToDraw, type Colour, type Drawing } from '../core/annotated-picture.ts';
import type { Rect } from '../core/rects.ts';
import { LabelFont } from './label-font.ts';
import { SharpAnnotator } from './sharp-annotator.ts';

const annotator = new SharpAnnotator();
const draw: SharpAnnotator['draw'] = (bytes, boxes, maxPx) => annotator.draw(bytes, boxes, maxPx);
const font = new LabelFont();
const PROCESS = fileURLToPath(new URL('../testing/draw-label-process.ts', import.meta.url));

beforeAll(() => font.load(['…0123456789']));

interface Pixels {
  width: number;
  height: number;
  at: (x: number, y: number) => Colour;
}

async function pixelsOf(png: Uint8Array): Promise<Pixels> {
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  expect(info.channels).toBe(3);
  const at = (x: number, y: number): Colour => {
    const i = (y * info.width + x) * 3;
    return [data[i] ?? -1, data[i + 1] ?? -1, data[i + 2] ?? -1];
  };
  return { width: info.width, height: info.height, at };
}

function plain(width: number, height: number, background: string): Promise<Buffer> {
  return sharp({ create: { width, height, channels: 3, background } })
    .png()
    .toBuffer();
}

async function layOut(size: { widthPx: number; heightPx: number }, boxes: BoxToDraw[]): Promise<Drawing> {
  await font.load(boxes.map(({ label }) => label));
  return annotatedPicture(canvasOf(size, 2048), boxes, (text, fontPx) => font.measure(text, fontPx));
}

/** The two colours of a plate as they are in the picture, the contrast between them, and how many pixels have the second. */
function plateOf(picture: Pixels, [left, top, right, bottom]: Rect) {
  const counts = new Map<string, number>();
  for (let y = top + 1; y < bottom - 1; y++)
    for (let x = left + 1; x < right - 1; x++) {
      const key = picture.at(x, y).join();
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  const [ground = '', ink = ''] = [...counts].sort((a, b) => b[1] - a[1]).map(([key]) => key);
  const [one, other] = [ground, ink].map((key) => key.split(',').map(Number) as unknown as Colour) as [Colour, Colour];
  return { contrast: contrast(one, other), inkPixels: counts.get(ink) ?? 0 };
}

const busy = () =>
  sharp({
    create: { width: 600, height: 400, channels: 3, background: '#888', noise: { type: 'gaussian', mean: 128, sigma: 90 } },
  })
    .png()
    .toBuffer();

test.each([
  ['a light picture', () => plain(600, 400, '#ffffff'), { widthPx: 600, heightPx: 400 }],
  ['a dark picture', () => plain(600, 400, '#000000'), { widthPx: 600, heightPx: 400 }],
  ['a grey picture', () => plain(600, 400, '#777777'), { widthPx: 600, heightPx: 400 }],
  ['a busy picture', busy, { widthPx: 600, heightPx: 400 }],
  ['a picture of 48 pixels', () => plain(48, 48, '#c0a080'), { widthPx: 48, heightPx: 48 }],
  ['a picture of the frame’s own colour', () => plain(600, 400, '#0072b2'), { widthPx: 600, heightPx: 400 }],
])('frames and letters stand out on %s', async (_, picture, size) => {
  const boxes = Array.from({ length: 7 }, (_, i): BoxToDraw => ({
    upright: [0.06 + 0.45 * (i % 2), 0.1 + 0.24 * (i >> 1), 0.2 + 0.45 * (i % 2), 0.2 + 0.24 * (i >> 1)],
    label: i % 2 ? '主板 8' : 'fan 80 mm',
  }));
  const { marks } = await layOut(size, boxes);
  const bytes = await picture();
  const drawn = await pixelsOf(await draw(bytes, boxes, 2048));
  const { at: before } = await pixelsOf(
    await sharp(bytes).resize(drawn.width, drawn.height, { fit: 'fill', kernel: 'cubic' }).toColourspace('srgb').png().toBuffer(),
  );
  for (const { plate, inner, outer } of marks) {
    const found = plateOf(drawn, plate?.rect ?? [0, 0, 0, 0]);
    expect(found.contrast).toBeGreaterThanOrEqual(4.5);
    // Letters of 15 px have some dozen pixels each that are ink through and through.
    expect(found.inkPixels).toBeGreaterThan(60);
    const y = inner[3] - 2;
    const side = Array.from({ length: inner[0] - outer[0] }, (_, i) => drawn.at(outer[0] + i, y));
    expect(Math.max(...side.map((colour) => contrast(colour, before(inner[0], y))))).toBeGreaterThanOrEqual(3);
  }
});

/** A stored point as viewers show it, for each EXIF orientation, from the standard's table of where row 0 and column 0 are. */
const TURNS: Record<number, (x: number, y: number, w: number, h: number) => [number, number]> = {
  1: (x, y) => [x, y],
  2: (x, y, w) => [w - x, y],
  3: (x, y, w, h) => [w - x, h - y],
  4: (x, y, _, h) => [x, h - y],
  5: (x, y) => [y, x],
  6: (x, y, _, h) => [h - y, x],
  7: (x, y, w, h) => [h - y, w - x],
  8: (x, y, w) => [y, w - x],
};

test.each(Object.keys(TURNS).map(Number))(
  'of orientation %i, the frame surrounds exactly what was marked in the stored picture',
  async (orientation) => {
    const [w, h] = [640, 420];
    const [left, top, right, bottom] = [83, 131, 262, 207];
    const stored = Buffer.alloc(w * h * 3, 120);
    for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) stored.set([255, 0, 0], (y * w + x) * 3);
    const bytes = await sharp(stored, { raw: { width: w, height: h, channels: 3 } })
      .withMetadata({ orientation })
      .webp({ lossless: true })
      .toBuffer();
    const turn = TURNS[orientation]!;
    const [one, other] = [turn(left, top, w, h), turn(right, bottom, w, h)];
    const [uprightW, uprightH] = orientation > 4 ? [h, w] : [w, h];
    const box = [
      Math.min(one[0], other[0]),
      Math.min(one[1], other[1]),
      Math.max(one[0], other[0]),
      Math.max(one[1], other[1]),
    ] as const;
    const upright = [box[0] / uprightW, box[1] / uprightH, box[2] / uprightW, box[3] / uprightH] as const;

    const drawn = await pixelsOf(await draw(bytes, [{ upright, label: 'x' }], 2048));
    expect([drawn.width, drawn.height]).toEqual([uprightW, uprightH]);
    const wrong: unknown[] = [];
    const expectAt = (x: number, y: number, colour: Colour) => {
      if (drawn.at(x, y).join() !== colour.join()) wrong.push([x, y, drawn.at(x, y)]);
    };
    // The light ring, two pixels of colour, the dark ring; beyond it the picture.
    const rings: Colour[] = [
      [255, 255, 255],
      [0, 114, 178],
      [0, 114, 178],
      [0, 0, 0],
      [120, 120, 120],
    ];
    for (let y = box[1]; y < box[3]; y++) {
      for (let x = box[0]; x < box[2]; x++) expectAt(x, y, [255, 0, 0]);
      for (const [i, ring] of rings.entries()) {
        expectAt(box[0] - 1 - i, y, ring);
        expectAt(box[2] + i, y, ring);
      }
    }
    for (let x = box[0]; x < box[2]; x++) for (const [i, ring] of rings.entries()) expectAt(x, box[3] + i, ring);
    expect(wrong).toEqual([]);
  },
);

test('where no font is installed the same letters are drawn, and different ones for different characters', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-no-fonts-'));
  try {
    const config = join(folder, 'fonts.conf');
    await writeFile(config, `<?xml version="1.0"?><fontconfig><cachedir>${folder}</cachedir></fontconfig>`);
    const labels = ['主板', '螺丝', '\ue000\ue000', '80 mm', '4.7 kΩ ⌀3'];
    const env = { PATH: process.env['PATH'], FONTCONFIG_FILE: config, FONTCONFIG_PATH: folder };
    const { stdout } = await promisify(execFile)(process.execPath, [PROCESS, ...labels], { env });
    const without = stdout.trim().split('\n');
    expect(new Set(without).size).toBe(labels.length);
    const grey = await plain(600, 400, '#808080');
    for (const [index, label] of labels.entries()) {
      const drawn = await draw(grey, [{ upright: [0.25, 0.25, 0.5, 0.5], label }], 2048);
      expect(createHash('sha256').update(drawn).digest('hex')).toBe(without[index]);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('a label is drawn as it is written: markup has no meaning', async () => {
  const label = '<b>&"x';
  await font.load([label, '龘Ω≤→ß']);
  const letters = [...label].map((letter) => font.outline(letter, 100).length);
  expect(font.outline(label, 100)).toHaveLength(letters.reduce((sum, count) => sum + count, 0));
  const boxes: BoxToDraw[] = [{ upright: [0.3, 0.3, 0.6, 0.6], label }];
  const { marks } = await layOut({ widthPx: 600, heightPx: 400 }, boxes);
  expect(marks[0]?.plate?.text).toBe(label);
  const { at } = await pixelsOf(await draw(await plain(600, 400, '#808080'), boxes, 2048));
  const [left, top, right, bottom] = marks[0]?.plate?.rect ?? [0, 0, 0, 0];
  // Every letter has ink between where it begins and where it ends.
  const text = marks[0]?.plate?.textX ?? 0;
  for (const index of letters.keys()) {
    const [from, to] = [index, index + 1].map((n) => Math.round(text + font.measure(label.slice(0, n), 15)));
    const columns = Array.from({ length: (to ?? 0) - (from ?? 0) }, (_, i) => (from ?? 0) + i).filter(
      (x) => x > left && x < right,
    );
    const rows = Array.from({ length: bottom - top - 2 }, (_, i) => top + 1 + i);
    expect(columns.some((x) => rows.some((y) => contrast(at(x, y), [0, 114, 178]) > 2))).toBe(true);
  }
});

test('characters of each font are had, what combines is one letter, and what no font has is a crossed box', async () => {
  await font.load(['龘Ω≤→ß', 'e\u0301\u0302\u0323\ufe0f', '\ue000', '⌀Ø']);
  const crossed = font.outline('\ue000', 20).map((contour) => contour.length);
  for (const letter of '龘Ω≤→ß⌀') expect(font.outline(letter, 20).map((contour) => contour.length)).not.toEqual(crossed);
  expect(font.outline('⌀', 20)).toEqual(font.outline('Ø', 20));
  // The second and third are not in the font of the letter: they lie over it all the same.
  for (const mark of ['\u0301', '\u0302', '\u0323', '\ufe0f'])
    expect(font.measure(`e${mark}`, 20)).toBeCloseTo(font.measure('e', 20));
  expect(font.measure('主板', 20)).toBeCloseTo(40);
});

test.each([
  [
    'grey of 16 bits',
    () =>
      sharp(Buffer.alloc(200 * 100, 99), { raw: { width: 200, height: 100, channels: 1 } })
        .toColourspace('grey16')
        .png()
        .toBuffer(),
  ],
  [
    'transparent',
    () =>
      sharp({ create: { width: 200, height: 100, channels: 4, background: '#0000' } })
        .png()
        .toBuffer(),
  ],
  [
    'CMYK',
    () =>
      sharp({ create: { width: 200, height: 100, channels: 3, background: '#336699' } })
        .toColourspace('cmyk')
        .jpeg()
        .toBuffer(),
  ],
  [
    'of a palette',
    () =>
      sharp({ create: { width: 200, height: 100, channels: 3, background: '#336699' } })
        .png({ palette: true })
        .toBuffer(),
  ],
])('a picture that is %s is drawn on too', async (_, picture) => {
  const { width, height, at } = await pixelsOf(await draw(await picture(), [{ upright: [0.5, 0.5, 0.9, 0.9], label: '' }], 2048));
  expect([width, height]).toEqual([600, 300]);
  expect(at(299, 200)).toEqual([255, 255, 255]);
});

test('the bound holds, and a picture without boxes is only turned upright', async () => {
  const big = await plain(3000, 1500, '#446688');
  expect(await sharp(await draw(big, [], 2048)).metadata()).toMatchObject({ format: 'png', width: 2048, height: 1024 });
  expect(await sharp(await draw(big, [{ upright: [0, 0, 1, 1], label: 'all' }], 64)).metadata()).toMatchObject({
    width: 64,
    height: 32,
  });
  const { at } = await pixelsOf(await draw(big, [], 2048));
  expect(at(1000, 500)).toEqual([0x44, 0x66, 0x88]);
});

test('what is no picture of a format that is read here, or has too many pixels, is refused with a code', async () => {
  const refused = (bytes: Uint8Array) =>
    draw(bytes, [], 2048).then(
      () => 'drawn',
      (error: unknown) => (error as { code: string }).code,
    );
  expect(await refused(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'))).toBe('picture_is_vector');
  expect(await refused(Buffer.from('no picture'))).toBe('picture_is_text');
  const png = await plain(300, 300, '#446688');
  expect(await refused(png.subarray(0, png.length / 2))).toBe('picture_truncated');
  const strict = new SharpAnnotator({ ...DEFAULT_DECODE_LIMITS, maxPicturePixels: 80_000 });
  await expect(strict.draw(png, [], 2048)).rejects.toMatchObject({ code: 'picture_too_many_pixels' });
});
