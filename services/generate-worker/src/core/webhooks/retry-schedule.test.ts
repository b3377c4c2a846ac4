import { expect, test } from '@jest/globals';
import { DELIVERY_DELAYS_MS } from '@sightline/shared/contracts/webhooks';
import { nextAttemptAt } from './retry-schedule.ts';

const AT = Date.parse('2026-03-01T12:00:00Z');
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const least = () => 0;

const after = (tries: number, answer: { status: number; retryAfter: string | undefined } | null = null, random = least) => {
  const due = nextAttemptAt({ delaysMs: DELIVERY_DELAYS_MS, tries, answer, at: AT }, random);
  return due === null ? null : due - AT;
};

test("ten attempts, at the standard's delays, and then no more", () => {
  expect(Array.from({ length: 11 }, (_, n) => after(n + 1))).toEqual([...DELIVERY_DELAYS_MS, null, null]);
});

test('jitter only ever makes it later, by a tenth at most', () => {
  for (const random of [0, 0.25, 0.5, 0.999_999]) {
    for (const [index, delayMs] of DELIVERY_DELAYS_MS.entries()) {
      const ms = after(index + 1, null, () => random) ?? 0;
      expect(ms).toBeGreaterThanOrEqual(delayMs);
      expect(ms).toBeLessThanOrEqual(delayMs * 1.1);
    }
  }
});

test.each([
  ['seconds, later than the schedule', 429, '120', 120_000],
  ['of 503 too', 503, ' 120 ', 120_000],
  ['a date', 429, new Date(AT + 90_000).toUTCString(), 90_000],
  ['earlier than the schedule: the schedule', 429, '1', 5_000],
  ['a date that is past', 503, new Date(AT - 90_000).toUTCString(), 5_000],
  ['more than a day: a day', 429, String(7 * 24 * 3_600), DAY_MS],
  ['a date in years: a day', 429, new Date(AT + 400 * DAY_MS).toUTCString(), DAY_MS],
  ['digits beyond any number: a day', 429, '9'.repeat(400), DAY_MS],
  ['nonsense', 429, 'soon', 5_000],
  ['negative', 429, '-60', 5_000],
  ['none', 429, undefined, 5_000],
  ['of another status it says nothing', 500, '120', 5_000],
  ['of a redirect neither', 302, '120', 5_000],
])('Retry-After: %s', (_, status, retryAfter, expected) => {
  expect(after(1, { status, retryAfter })).toBe(expected);
});

test('Retry-After does not prolong a schedule that has run out', () => {
  expect(after(10, { status: 429, retryAfter: '60' })).toBeNull();
});
