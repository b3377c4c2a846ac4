import { expect, test } from '@jest/globals';
import { gainsOf } from './gains.ts';
import { runOf } from './testing/run-builder.ts';

test('the gain over a system is of the questions that both answered, and told with its interval', () => {
  const each = (value: (i: number) => number) => Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`q${i}`, value(i)]));
  const { series } = runOf({
    'table.whole.picture.accuracy': { ...each((i) => (i < 24 ? 1 : 0)), 'q1 zh': 0 },
    'table.text_only.picture.accuracy': each((i) => (i < 6 ? 1 : 0)),
    'table.text_only.text.accuracy': { other: 1 },
  });
  const gains = gainsOf(series, ['text_only', 'whole'], 1);
  expect(Object.keys(gains)).toEqual(['table.text_only.picture.gain']);
  expect(gains['table.text_only.picture.gain']?.value).toBeCloseTo(0.6, 12);
  expect(gains['table.text_only.picture.gain']).toMatchObject({ n: 30 });
  expect(gains['table.text_only.picture.gain']?.low).toBeGreaterThan(0.35);
  expect(gains['table.text_only.picture.gain']?.high).toBeLessThan(0.85);
});
