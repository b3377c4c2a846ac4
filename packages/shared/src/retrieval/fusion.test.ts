import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { alignment } from './alignment.ts';
import { alphaFusion, type Cosines } from './alpha-fusion.ts';
import { reciprocalRankFusion } from './reciprocal-rank-fusion.ts';
import { standardise } from './standardise.ts';

const SEED = 20_261_123;
const check = <T extends [unknown, ...unknown[]]>(property: fc.IProperty<T>) => fc.assert(property, { seed: SEED, numRuns: 300 });

const cosine = fc.double({ min: -1, max: 1, noNaN: true });
const ranking = fc.uniqueArray(fc.constantFrom(...'abcdefghijklmnop'), { maxLength: 16 });
const weight = fc.double({ min: 0.01, max: 10, noNaN: true });
const orderOf = (scores: number[]) =>
  scores
    .map((score, i) => [score, i] as const)
    .sort((a, b) => b[0] - a[0] || a[1] - b[1])
    .map(([, i]) => i);

test('reciprocal rank fusion is the sum of weight / (60 + rank), rank from 1', () => {
  const scores = reciprocalRankFusion([
    { weight: 1, ranking: ['a', 'b'] },
    { weight: 0.5, ranking: ['b', 'c'] },
  ]);
  expect(scores).toEqual(
    new Map([
      ['a', 1 / 61],
      ['b', 1 / 62 + 0.5 / 61],
      ['c', 0.5 / 62],
    ]),
  );
});

test('fusing one leg keeps its order, whatever its weight', () => {
  check(
    fc.property(ranking, weight, (ids, w) => {
      const scores = reciprocalRankFusion([{ weight: w, ranking: ids }]);
      expect([...scores].sort((a, b) => b[1] - a[1]).map(([id]) => id)).toEqual(ids);
    }),
  );
});

test('a better rank in one leg never lowers the fused score, and the legs may come in any order', () => {
  check(
    fc.property(ranking, ranking, weight, weight, fc.nat(15), (first, second, w1, w2, at) => {
      const legs = [
        { weight: w1, ranking: first },
        { weight: w2, ranking: second },
      ];
      const before = reciprocalRankFusion(legs);
      const swapped = reciprocalRankFusion([...legs].reverse());
      for (const [id, score] of before) expect(swapped.get(id)).toBeCloseTo(score, 12);
      if (at === 0 || at >= first.length) return;
      const moved = [...first];
      const [id] = moved.splice(at, 1);
      if (id === undefined) return;
      moved.splice(at - 1, 0, id);
      const after = reciprocalRankFusion([{ weight: w1, ranking: moved }, legs[1] ?? { weight: w2, ranking: [] }]);
      expect(after.get(id) ?? 0).toBeGreaterThan(before.get(id) ?? 0);
    }),
  );
});

test('a weight of zero takes a leg out of the order', () => {
  check(
    fc.property(ranking, ranking, (kept, silenced) => {
      const scores = reciprocalRankFusion([
        { weight: 1, ranking: kept },
        { weight: 0, ranking: silenced },
      ]);
      for (const [id, score] of scores) if (!kept.includes(id)) expect(score).toBe(0);
    }),
  );
});

test('standardised values have mean 0 and deviation 1, and keep their order', () => {
  check(
    fc.property(fc.array(cosine, { minLength: 2, maxLength: 50 }), (values) => {
      const z = standardise(values);
      const mean = z.reduce((sum, value) => sum + value, 0) / z.length;
      expect(mean).toBeCloseTo(0, 5);
      const variance = z.reduce((sum, value) => sum + value ** 2, 0) / z.length;
      // All equal: nothing to tell apart, so all are 0.
      expect(Math.min(Math.abs(variance - 1), variance)).toBeCloseTo(0, 5);
      for (let i = 1; i < z.length; i++)
        expect(
          Math.sign((z[i] ?? 0) - (z[i - 1] ?? 0)) * Math.sign((values[i] ?? 0) - (values[i - 1] ?? 0)),
        ).toBeGreaterThanOrEqual(0);
    }),
  );
});

test('equal values say nothing: every z-score is 0', () => {
  expect(standardise([0.3, 0.3, 0.3])).toEqual([0, 0, 0]);
  expect(standardise([0.3])).toEqual([0]);
  expect(standardise([null, null])).toEqual([0, 0]);
  expect(standardise([])).toEqual([]);
});

test('a missing value stands with the least one present, never as a zero cosine', () => {
  const [low, high, missing] = standardise([0.2, 0.6, null]);
  expect(missing).toBe(low);
  expect(high).toBeGreaterThan(low ?? 0);
});

test('a shift or a stretch of one space changes no order: the modality gap is taken out', () => {
  const candidate = fc.record({ picture: cosine, words: cosine, text: cosine });
  check(
    fc.property(
      fc.array(candidate, { minLength: 3, maxLength: 20 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (candidates, alpha) => {
        const gapped = candidates.map(({ picture, words, text }) => ({ picture, words: words * 0.1 - 0.2, text }));
        const scores = alphaFusion(candidates, alpha, { words: true, text: true });
        alphaFusion(gapped, alpha, { words: true, text: true }).forEach((score, i) => {
          // A spread below rounding is no information in either.
          if (Math.max(...candidates.map((c) => c.words)) - Math.min(...candidates.map((c) => c.words)) > 1e-5)
            expect(score).toBeCloseTo(scores[i] ?? 0, 5);
        });
      },
    ),
  );
});

const three: Cosines[] = [
  { picture: 0.9, words: 0.1, text: 0.2 },
  { picture: 0.4, words: 0.3, text: 0.3 },
  { picture: 0.1, words: 0.2, text: 0.9 },
];

test('alpha 1 orders by what is seen, alpha 0 by what is read, 0.7 by both', () => {
  const order = (alpha: number) => orderOf(alphaFusion(three, alpha, { words: false, text: true }));
  expect(order(1)).toEqual([0, 1, 2]);
  expect(order(0)).toEqual([2, 1, 0]);
  const [seen, both, read] = [1, 0.7, 0].map((alpha) => alphaFusion(three, alpha, { words: true, text: true }));
  expect(both).not.toEqual(seen);
  expect(both).not.toEqual(read);
});

test('the words term and the text part fall away without words', () => {
  const z = standardise(three.map((candidate) => candidate.picture));
  expect(alphaFusion(three, 0.2, { words: false, text: false })).toEqual(z);
});

test('the formula, written out', () => {
  const scores = alphaFusion(three, 0.7, { words: true, text: true });
  const [p, w, t] = (['picture', 'words', 'text'] as const).map((name) => standardise(three.map((candidate) => candidate[name])));
  scores.forEach((score, i) => expect(score).toBeCloseTo((0.7 * ((p?.[i] ?? 0) + (w?.[i] ?? 0))) / 2 + 0.3 * (t?.[i] ?? 0), 12));
});

test('at alpha 1 a point without a picture never stands above one that has one', () => {
  const candidate = fc.record({ picture: fc.option(cosine), words: fc.constant(null), text: fc.option(cosine) });
  check(
    fc.property(fc.array(candidate, { minLength: 1, maxLength: 20 }), (candidates) => {
      const scores = alphaFusion(candidates, 1, { words: false, text: true });
      candidates.forEach((blind, i) => {
        if (blind.picture !== null) return;
        candidates.forEach((seeing, j) => {
          if (seeing.picture !== null) expect(scores[i]).toBeLessThanOrEqual((scores[j] ?? 0) + 1e-12);
        });
      });
    }),
  );
});

test('alignment adds up to one, rises with the cosine, and does not overflow at a high logit scale', () => {
  check(
    fc.property(
      fc.array(cosine, { minLength: 1, maxLength: 40 }),
      fc.double({ min: 1, max: 10_000, noNaN: true }),
      (cosines, logitScale) => {
        const shares = alignment(cosines, logitScale).map((share) => share ?? NaN);
        expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9);
        cosines.forEach((a, i) =>
          cosines.forEach((b, j) => {
            if (a > b) expect(shares[i]).toBeGreaterThanOrEqual(shares[j] ?? 0);
          }),
        );
      },
    ),
  );
  expect(alignment([0.5, null, 0.5], 100)).toEqual([0.5, null, 0.5]);
  expect(alignment([null], 100)).toEqual([null]);
});
