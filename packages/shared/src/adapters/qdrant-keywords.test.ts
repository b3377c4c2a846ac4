import { expect, test } from '@jest/globals';
import { documentVector, keywordDimension, queryVector } from './qdrant-keywords.ts';

test('a keyword has the same dimension for ever', () => {
  // Stored vectors were made with these: another number here is another format of the collection.
  expect(['lamp', '主板', 'sku-1234/ab'].map(keywordDimension)).toEqual([3381560818, 210530728, 3569274985]);
});

test('words rarely share a dimension', () => {
  const words = Array.from({ length: 50_000 }, (_, i) => `word${i}`);
  // Expected: n^2 / 2 / 2^32 = 0.3 pairs.
  expect(new Set(words.map(keywordDimension)).size).toBeGreaterThan(words.length - 5);
});

test('repetition counts for less and less, and a longer text for less', () => {
  const weight = (keywords: string[], word = 'a') =>
    documentVector(keywords)?.values[documentVector(keywords)?.indices.indexOf(keywordDimension(word)) ?? -1] ?? 0;
  const others = Array.from({ length: 30 }, (_, i) => `other${i}`);
  const [once, twice, thrice] = [1, 2, 3].map((count) =>
    weight([...Array.from({ length: count }, () => 'a'), ...others.slice(count)]),
  );
  expect((twice ?? 0) / (once ?? 0)).toBeGreaterThan(1.2);
  expect((thrice ?? 0) / (twice ?? 0)).toBeLessThan((twice ?? 0) / (once ?? 0));
  expect(thrice).toBeLessThan(2.2);
  expect(weight(['a', ...others])).toBeLessThan(weight(['a', 'b']));
  // A text of average length is weighed by tf * 2.2 / (tf + 1.2) alone.
  expect(weight(['a', ...Array.from({ length: 49 }, (_, i) => `w${i}`)])).toBeCloseTo(1, 6);
});

test('a query asks for each of its words once, and for nothing when it has none', () => {
  expect(queryVector(['a', 'b', 'a'])?.values).toEqual([1, 1]);
  expect(queryVector([])).toBeNull();
  expect(queryVector([''])).toBeNull();
  expect(documentVector([])).toBeNull();
});
