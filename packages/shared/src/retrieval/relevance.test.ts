import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fitLogistic, predict, sigmoid, type Example } from './logistic-regression.ts';
import {
  backgroundOf,
  calibration,
  featuresOf,
  fitRelevance,
  relevance,
  separatingThreshold,
  UNCALIBRATED,
  type JudgedQuery,
} from './relevance.ts';

const SEED = 20_261_123;

/** A small seeded generator: the tests must not depend on the day's luck. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

test('a fit recovers the probabilities that made the labels', () => {
  const random = seeded(7);
  const examples: Example[] = Array.from({ length: 4_000 }, () => {
    const x = random() * 4 - 2;
    return { features: [x, random()], label: random() < sigmoid(2 * x - 0.5) };
  });
  const model = fitLogistic(examples, { penalty: 0.01 });
  for (const x of [-1, 0, 1]) expect(predict(model, [x, 0.5])).toBeCloseTo(sigmoid(2 * x - 0.5), 1);
});

test('a fit never makes more similar less probable, and stays finite on whatever it is given', () => {
  const example = fc.record({
    features: fc.tuple(fc.option(fc.double({ min: -1, max: 1, noNaN: true })), fc.double({ min: -5, max: 9, noNaN: true })),
    label: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(example, { minLength: 1, maxLength: 60 }), (examples) => {
      const model = fitLogistic(examples, { penalty: 1, sweeps: 200 });
      expect(model.weights.every((weight) => weight >= 0 && Number.isFinite(weight))).toBe(true);
      expect(Number.isFinite(model.bias)).toBe(true);
      const p = predict(model, [0, 0]);
      expect(predict(model, [0.5, 0])).toBeGreaterThanOrEqual(p);
      expect(predict(model, [0, 3])).toBeGreaterThanOrEqual(p);
    }),
    { seed: SEED, numRuns: 100 },
  );
});

test('separable examples do not run away: the penalty holds the weights', () => {
  const model = fitLogistic(
    [-2, -1, 1, 2].map((x) => ({ features: [x], label: x > 0 })),
    { penalty: 1 },
  );
  expect(model.weights[0]).toBeGreaterThan(0.5);
  expect(model.weights[0]).toBeLessThan(5);
});

test('the threshold lies where fewest are wrong, in the middle of the gap', () => {
  expect(separatingThreshold([0.8, 0.9], [0.1, 0.2])).toBeCloseTo(0.5, 9);
  // One present below the absent ones: one error either way is the least.
  expect(separatingThreshold([0.05, 0.8, 0.9], [0.1, 0.2])).toBeCloseTo(0.5, 9);
});

test('a background is the mean and deviation of what is similar by chance', () => {
  const sample = [Float32Array.from([1, 0]), Float32Array.from([0, 1])];
  expect(backgroundOf([1, 0], sample)).toEqual({ mean: 0.5, deviation: 0.5 });
  expect(backgroundOf([1, 0], [Float32Array.from([1, 0])])?.deviation).toBeGreaterThan(0);
  expect(backgroundOf(null, sample)).toBeNull();
  expect(backgroundOf([1, 0], [])).toBeNull();
});

test('each kind of query is judged by the evidence it has', () => {
  const evidence = { picture: 0.5, words: 0.3, text: 0.4, coverage: 1 };
  const background = { mean: 0.1, deviation: 0.1 };
  const backgrounds = { picture: background, words: background, text: null };
  const close = (values: (number | null)[]) => values.map((value) => (value === null ? null : expect.closeTo(value, 9)));
  expect(featuresOf('picture', evidence, backgrounds)).toEqual(close([0.5, 4]));
  expect(featuresOf('words', evidence, backgrounds)).toEqual(close([0.3, 2, 0.4, null, 1, 2]));
  expect(featuresOf('both', evidence, backgrounds)).toHaveLength(8);
  expect(featuresOf('keywords', evidence, backgrounds)).toEqual([1]);
});

test('every kind fits, judges held-out queries, and its model is one that calibration.json may hold', () => {
  const random = seeded(3);
  const judged: JudgedQuery[] = Array.from({ length: 200 }, (_, i) => {
    const present = i % 2 === 0;
    const top = present ? 5 + random() : 2 + random();
    return {
      kind: 'picture',
      present,
      split: i % 4 < 2 ? 'calibration' : 'test',
      candidates: [
        { features: [top / 10, top], relevant: present },
        { features: [0.1, 1], relevant: false },
      ],
    };
  });
  const fitted = fitRelevance('picture', judged, { penalty: 1 });
  expect(fitted?.heldOut).toEqual({ present: 50, absent: 50, false_positive_rate: 0, false_negative_rate: 0 });
  if (!fitted) throw new Error('not fitted');
  const kinds = { ...UNCALIBRATED, picture: fitted.model };
  const evidence = { picture: 0.55, words: null, text: null, coverage: null };
  expect(
    relevance(kinds, 'picture', evidence, { picture: { mean: 0, deviation: 0.1 }, words: null, text: null }),
  ).toBeGreaterThan(0.8);
  calibration.parse({
    version: 1,
    fingerprints: { image: 'i', text: 't' },
    assets: 10,
    fitted_at: '2026-11-23T00:00:00.000Z',
    labels: 'x',
    kinds,
    held_out: { picture: fitted.heldOut },
  });
});

test('without absent queries there is nothing to tell apart, and no fit', () => {
  expect(
    fitRelevance(
      'words',
      [{ kind: 'words', present: true, split: 'calibration', candidates: [{ features: [1, 1, 1, 1, 1, 1], relevant: true }] }],
      { penalty: 1 },
    ),
  ).toBeNull();
});
