import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { cosine, fuseScales, normalise, pool, repeatForScales } from './pooling.ts';

const unit = (dimensions: number) =>
  fc
    .array(fc.float({ min: -1, max: 1, noNaN: true }), { minLength: dimensions, maxLength: dimensions })
    .filter((values) => Math.hypot(...values) > 0.1)
    .map((values) => normalise(Float32Array.from(values)));

test('cls, mean and last pooling look at real tokens only', () => {
  const states = Float32Array.of(1, 2, 3, 4, 99, 99);
  expect([...pool(states, 2, 2, 'cls')]).toEqual([1, 2]);
  expect([...pool(states, 2, 2, 'mean')]).toEqual([2, 3]);
  expect([...pool(states, 2, 2, 'last')]).toEqual([3, 4]);
});

test('a vector of zeros or with a NaN has no direction', () => {
  expect(() => normalise(new Float32Array(4))).toThrow(RangeError);
  expect(() => normalise(Float32Array.of(1, NaN))).toThrow(RangeError);
});

test('fused vectors have unit length, and words beside concatenated scales score the mean of the scales', () => {
  fc.assert(
    fc.property(fc.array(unit(6), { minLength: 2, maxLength: 4 }), unit(6), (scales, words) => {
      const perScale = scales.map((vector) => [vector]);
      const concat = fuseScales(perScale, 'concat');
      const repeated = repeatForScales(words, scales.length);
      expect(Math.hypot(...concat)).toBeCloseTo(1, 4);
      expect(Math.hypot(...repeated)).toBeCloseTo(1, 4);
      const mean = scales.reduce((sum, vector) => sum + cosine(words, vector), 0) / scales.length;
      expect(cosine(concat, repeated)).toBeCloseTo(mean, 4);
    }),
    { seed: 5 },
  );
});

test('mean fusion weighs scales, not tiles', () => {
  const [x, y] = [Float32Array.of(1, 0), Float32Array.of(0, 1)];
  const [a, b] = fuseScales([[x], [y, y, y, y]], 'mean');
  expect(a).toBeCloseTo(b!, 6);
});
