import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { InFlightLimit } from './in-flight-limit.ts';

function limitOf(most = 32) {
  let now = 1_000;
  const limit = new InFlightLimit(most, () => now);
  /** As many answers as may be out at once, each while the limit is used. */
  const round = () => {
    const out = Array.from({ length: limit.value }, () => limit.begin());
    for (const began of out) limit.answered(began, limit.value);
  };
  return { limit, round, pass: (ms: number) => (now += ms) };
}

test('it doubles a round until the bound', () => {
  const { limit, round } = limitOf(20);
  const seen = Array.from({ length: 4 }, () => (round(), limit.value));
  expect(seen).toEqual([8, 16, 20, 20]);
});

test('an overload halves it once for all that were out together; then it grows by one a round', () => {
  const { limit, round } = limitOf();
  for (let n = 0; n < 3; n++) round();
  expect(limit.value).toBe(32);
  const out = Array.from({ length: 10 }, () => limit.begin());
  for (const began of out) limit.overloaded(began, null);
  expect(limit.value).toBe(16);
  for (const began of out) limit.answered(began, 16);
  expect(limit.value).toBe(16);
  round();
  round();
  expect(limit.value).toBeGreaterThanOrEqual(17);
  expect(limit.value).toBeLessThanOrEqual(18);
});

test('a limit that is not used does not grow', () => {
  const { limit } = limitOf();
  for (let n = 0; n < 100; n++) limit.answered(limit.begin(), 1);
  expect(limit.value).toBe(4);
});

test('questions that wait in the server stop the growth; at the second look the limit shrinks, down to one', () => {
  const { limit, round } = limitOf();
  round();
  limit.observed({ waiting: 3, running: 7 });
  round();
  expect(limit.value).toBe(8);
  limit.observed({ waiting: 3, running: 7 });
  expect(limit.value).toBe(7);
  for (let n = 0; n < 50; n++) limit.observed({ waiting: 3, running: 7 });
  expect(limit.value).toBe(1);
  limit.observed({ waiting: 0, running: 1 });
  round();
  expect(limit.value).toBe(2);
});

test('a server that works on many may have an eighth of it waiting, and no more than the rest is taken away', () => {
  const { limit, round } = limitOf();
  for (let n = 0; n < 3; n++) round();
  for (let n = 0; n < 3; n++) limit.observed({ waiting: 2, running: 16 });
  expect(limit.value).toBe(32);
  for (let n = 0; n < 3; n++) limit.observed({ waiting: 3, running: 16 });
  expect(limit.value).toBe(30);
});

test('what the server says to wait is waited, up to half a minute', () => {
  const { limit, pass } = limitOf();
  limit.overloaded(limit.begin(), 2_000);
  expect(limit.heldMs).toBe(2_000);
  pass(1_500);
  limit.overloaded(limit.begin(), 100);
  expect(limit.heldMs).toBe(500);
  limit.overloaded(limit.begin(), 86_400_000);
  expect(limit.heldMs).toBe(30_000);
});

test('whatever happens, it stays between one and its bound', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('answered' as const), inFlight: fc.nat(40) }),
    fc.record({ kind: fc.constant('overloaded' as const), inFlight: fc.nat(40) }),
    fc.record({ kind: fc.constant('observed' as const), inFlight: fc.nat(3) }),
    fc.record({ kind: fc.constant('reset' as const), inFlight: fc.nat(1) }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.array(step, { maxLength: 200 }), (most, steps) => {
      const { limit } = limitOf(most);
      for (const { kind, inFlight } of steps) {
        if (kind === 'answered') limit.answered(limit.begin(), inFlight);
        else if (kind === 'overloaded') limit.overloaded(limit.begin(), null);
        else if (kind === 'observed') limit.observed({ waiting: inFlight, running: inFlight });
        else limit.reset();
        expect(limit.value).toBeGreaterThanOrEqual(1);
        expect(limit.value).toBeLessThanOrEqual(most);
      }
    }),
  );
});
