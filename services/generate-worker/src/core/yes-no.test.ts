import { expect, test } from '@jest/globals';
import { yesAgainstNo } from './yes-no.ts';

const at = (chances: Record<string, number>) =>
  Object.entries(chances).map(([token, chance]) => ({ token, logprob: Math.log(chance) }));

test('all ways to write yes count together against all ways to write no', () => {
  expect(
    yesAgainstNo([at({ Yes: 0.3, ' yes': 0.2, YES: 0.1, '▁Yes': 0.1, Ġyes: 0.05, 是: 0.05, No: 0.1, ' no': 0.1, The: 0.05 })]),
  ).toBeCloseTo(0.8, 5);
  expect(yesAgainstNo([at({ 不: 0.6, 对: 0.2 })])).toBeCloseTo(0.25, 5);
  expect(yesAgainstNo([at({ '"No': 0.5, 'Yes.': 0.5 })])).toBeCloseTo(0.5, 5);
});

test('words that only begin so do not count', () => {
  expect(yesAgainstNo([at({ Yesterday: 0.5, None: 0.2, Not: 0.1, '': 0.1 })])).toBe(null);
  expect(yesAgainstNo([])).toBe(null);
});

test('the place where the two are likeliest decides', () => {
  expect(yesAgainstNo([at({ '**': 0.99, Yes: 0.001 }), at({ No: 0.9, Yes: 0.1 }), at({ '.': 0.9, yes: 0.01 })])).toBeCloseTo(
    0.1,
    5,
  );
});

test('a token that cannot be is nothing', () => {
  expect(yesAgainstNo([[{ token: 'Yes', logprob: -Infinity }]])).toBe(null);
});
