import { expect, test } from '@jest/globals';
import { CircuitBreaker } from './circuit-breaker.ts';

function breakerOf(random = () => 1) {
  let now = 0;
  return { breaker: new CircuitBreaker(3, { now: () => now, random }), pass: (ms: number) => (now += ms) };
}

test('three failures in a row open it, and a success in between begins the count again', () => {
  const { breaker } = breakerOf();
  expect([breaker.failed(), breaker.failed()]).toEqual([false, false]);
  expect(breaker.succeeded()).toBe(false);
  expect([breaker.failed(), breaker.failed(), breaker.failed(), breaker.failed()]).toEqual([false, false, true, false]);
  expect(breaker.state).toBe('open');
});

test('one probe at a time, ever later up to half a minute', () => {
  const { breaker, pass } = breakerOf();
  for (let n = 0; n < 3; n++) breaker.failed();
  const waits: (number | null)[] = [];
  for (let n = 0; n < 7; n++) {
    waits.push(breaker.probeInMs);
    expect(breaker.beginProbe()).toBe(false);
    pass(breaker.probeInMs!);
    expect(breaker.beginProbe()).toBe(true);
    expect(breaker.beginProbe()).toBe(false);
    expect(breaker.probeInMs).toBe(null);
    breaker.probeFailed();
  }
  expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
});

test('probes are spread over the second half of their time', () => {
  const { breaker } = breakerOf(() => 0);
  for (let n = 0; n < 3; n++) breaker.failed();
  expect(breaker.probeInMs).toBe(500);
});

test('an answered probe closes it; until work is done one failure opens it again, and the next probe comes later', () => {
  const { breaker, pass } = breakerOf();
  for (let n = 0; n < 3; n++) breaker.failed();
  pass(1_000);
  breaker.beginProbe();
  expect(breaker.probeSucceeded()).toBe(true);
  expect(breaker.state).toBe('closed');
  expect(breaker.failed()).toBe(true);
  expect(breaker.probeInMs).toBe(2_000);
  pass(2_000);
  breaker.beginProbe();
  breaker.probeSucceeded();
  expect(breaker.succeeded()).toBe(false);
  expect([breaker.failed(), breaker.failed(), breaker.failed()]).toEqual([false, false, true]);
  expect(breaker.probeInMs).toBe(1_000);
});

test('what is answered while it is open closes it, and a probe that fails later changes nothing', () => {
  const { breaker, pass } = breakerOf();
  for (let n = 0; n < 3; n++) breaker.failed();
  pass(1_000);
  breaker.beginProbe();
  expect(breaker.succeeded()).toBe(true);
  breaker.probeFailed();
  expect(breaker.state).toBe('closed');
});
