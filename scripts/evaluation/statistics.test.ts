import { expect, test } from '@jest/globals';
import { exactAgreement, quadraticKappa } from './agreement.ts';
import { iou, pairBoxes } from './box-overlap.ts';
import { intervalOf, pairedDifference, quantile, wilsonInterval } from './statistics.ts';

test("a quantile lies between its neighbours' values", () => {
  expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
  expect(quantile([10, 20, 30], 0.95)).toBeCloseTo(29, 12);
  expect(quantile([7], 0.95)).toBe(7);
  expect(quantile([], 0.5)).toBeNaN();
});

test("Wilson's interval is the published one, and not empty at its ends", () => {
  // 8 of 10: centre (0.8 + 1.9207/10) / (1 + 3.8415/10), half as long as in Newcombe 1998's method 3.
  const { low, high } = wilsonInterval(8, 10);
  expect(low).toBeCloseTo(0.4902, 4);
  expect(high).toBeCloseTo(0.9433, 4);
  expect(wilsonInterval(0, 10)).toMatchObject({ low: 0 });
  expect(wilsonInterval(0, 10).high).toBeCloseTo(0.2775, 4);
  expect(wilsonInterval(0, 0)).toEqual({ low: 0, high: 1 });
});

test('an interval by drawing holds the mean, narrows with more values, and is the same for the same seed', () => {
  const values = Array.from({ length: 400 }, (_, i) => (i % 20) / 10);
  const many = intervalOf(values, 'mean', 1);
  const few = intervalOf(values.slice(0, 40), 'mean', 1);
  expect(many.low).toBeLessThan(0.95);
  expect(many.high).toBeGreaterThan(0.95);
  expect(many.high - many.low).toBeLessThan((few.high - few.low) / 2);
  // 1.96 * deviation / sqrt(n): 0.5766 / 20.
  expect(many.high - many.low).toBeCloseTo(2 * 1.96 * (0.5766 / 20), 1);
  expect(intervalOf(values, 'mean', 1)).toEqual(many);
  expect(intervalOf([0, 1, 1, 1, 1, 1, 1, 1, 1, 0], 'mean', 1)).toEqual(wilsonInterval(8, 10));
});

test('a difference in pairs sees what the two alone do not tell', () => {
  // Hard and easy questions far apart; the second run is better by 0.1 at each.
  const pairs = Array.from({ length: 40 }, (_, i) => [i % 10, (i % 10) + 0.1] as const);
  const told = pairedDifference(pairs, 'mean', 3);
  expect(told.difference).toBeCloseTo(0.1, 9);
  expect(told.significant).toBe(true);
  const none = pairedDifference(
    pairs.map(([a], i) => [a, a + (i % 2 === 0 ? 1 : -1)] as const),
    'mean',
    3,
  );
  expect(none.significant).toBe(false);
  expect(none.low).toBeLessThan(0);
});

test('weighted kappa is the one of the formula, worked by hand', () => {
  // Grades 1 to 3. Pairs (1,1) (2,2) (3,3) (1,3): observed weight 1/4 = 0.25. Shares: a = 2/4 1/4 1/4, b = 1/4 1/4 2/4.
  // Expected: sum of w a b with w = (i-j)^2/4: 1/4(a1 b2 + a2 b1 + a2 b3 + a3 b2) + (a1 b3 + a3 b1) = 0.25 * (0.125 + 0.0625 + 0.125 + 0.0625) + 0.3125.
  const pairs = [
    [1, 1],
    [2, 2],
    [3, 3],
    [1, 3],
  ] as const;
  expect(quadraticKappa(pairs, 3)).toBeCloseTo(1 - 0.25 / 0.40625, 12);
  expect(exactAgreement(pairs)).toBe(0.75);
  expect(quadraticKappa([[2, 2]], 5)).toBeNull();
  expect([quadraticKappa([], 5), exactAgreement([])]).toEqual([null, null]);
});

test('boxes overlap by their intersection over their union, and pair off the closest first', () => {
  expect(iou([0, 0, 10, 10], [5, 0, 15, 10])).toBeCloseTo(50 / 150, 12);
  expect(iou([0, 0, 10, 10], [10, 0, 20, 10])).toBe(0);
  expect(iou([0, 0, 0, 0], [0, 0, 0, 0])).toBe(0);
  // One given box for two that it touches: the closer one has it.
  expect(
    pairBoxes(
      [
        [0, 0, 10, 10],
        [2, 0, 12, 10],
      ],
      [[2, 0, 12, 10]],
    ),
  ).toEqual([0, 1]);
  expect(pairBoxes([[0, 0, 10, 10]], [])).toEqual([0]);
});
