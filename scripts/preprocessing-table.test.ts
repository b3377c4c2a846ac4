import path from 'node:path';
import { expect, test } from '@jest/globals';
import { comparePreprocessing, comparedVectors } from './preprocessing-table.ts';

/** The two whose decoders differ from Pillow's before any resizing, and the dithered one, where every kernel's detail counts. */
const ROUGHER = /^(avif\.avif|bilevel\.png)$/;

const compared = comparePreprocessing();

test('every picture comes out as it does from transformers, to a fraction of a grey level', async () => {
  const { comparisons } = await compared;
  expect(comparisons.length).toBeGreaterThan(90);
  const far = comparisons.filter(
    ({ picture, meanDifference, largestDifference }) =>
      meanDifference > (ROUGHER.test(picture) ? 4 : 0.6) || largestDifference > (ROUGHER.test(picture) ? 90 : 20),
  );
  expect(far.map(({ picture, processor, meanDifference }) => `${picture} ${processor} ${meanDifference}`)).toEqual([]);
});

test('what is left of the difference hardly moves a vector', async () => {
  const { comparisons } = await compared;
  const cosines = await comparedVectors(path.resolve(import.meta.dirname, '../models/starter'), comparisons);
  const found = cosines.flatMap((cosine, n) => (cosine === null ? [] : [{ cosine, picture: comparisons[n]?.picture ?? '' }]));
  expect(found.length).toBeGreaterThan(80);
  const far = found.filter(({ cosine, picture }) => cosine <= (ROUGHER.test(picture) ? 0.997 : 0.9985));
  expect(far).toEqual([]);
});

test('the pictures cover what the reference is asked about', async () => {
  const { comparisons } = await compared;
  const modes = new Set(comparisons.map(({ mode }) => mode));
  for (const mode of ['RGB', 'RGBA', 'L', 'LA', 'P', 'CMYK', '1', 'I;16']) expect(modes).toContain(mode);
  for (let orientation = 1; orientation <= 8; orientation++)
    expect(comparisons.some(({ picture }) => picture === `exif-${orientation}.jpg`)).toBe(true);
});
