import { expect, test } from '@jest/globals';
import { ndcgAt, recallAt, reciprocalRank } from './ranking-metrics.ts';

const set = (...ids: string[]): ReadonlySet<string> => new Set(ids);

test('recall is the share of what is relevant among the first, and can reach 1 where there are fewer places', () => {
  expect(recallAt(['a', 'b', 'c', 'd'], set('b', 'd'), 2)).toBe(0.5);
  expect(recallAt(['a', 'b', 'c', 'd'], set('b', 'd'), 4)).toBe(1);
  expect(recallAt(['a', 'b'], set('a', 'x', 'y'), 1)).toBe(1);
  expect(recallAt(['a', 'a', 'b'], set('a', 'b'), 2)).toBe(0.5);
  expect(recallAt([], set('a'), 10)).toBe(0);
});

test('nDCG is the discounted gain over that of the ideal order', () => {
  // Ranks 2 and 4 of two relevant ones: (1/log2 3 + 1/log2 5) / (1/log2 2 + 1/log2 3) = (0.63093 + 0.43068) / 1.63093.
  expect(ndcgAt(['x', 'a', 'y', 'b'], set('a', 'b'), 10)).toBeCloseTo(0.65092, 4);
  expect(ndcgAt(['a', 'b', 'x'], set('a', 'b'), 10)).toBe(1);
  expect(ndcgAt(['x', 'y', 'a'], set('a'), 2)).toBe(0);
  // The third rank alone: 1 / log2 4.
  expect(ndcgAt(['x', 'y', 'a'], set('a'), 3)).toBeCloseTo(0.5, 12);
  // Twice the same is found once.
  expect(ndcgAt(['a', 'a'], set('a', 'b'), 10)).toBeCloseTo(1 / (1 + 1 / Math.log2(3)), 12);
});

test('the reciprocal rank is that of the first relevant one, 0 without', () => {
  expect(reciprocalRank(['x', 'y', 'a', 'b'], set('b', 'a'))).toBeCloseTo(1 / 3, 12);
  expect(reciprocalRank(['x'], set('a'))).toBe(0);
});

test('a query to which nothing is relevant has no recall and no gain', () => {
  expect(() => recallAt(['a'], set(), 1)).toThrow(RangeError);
  expect(() => ndcgAt(['a'], set(), 1)).toThrow(RangeError);
});
