import { expect, test } from '@jest/globals';
import { BatchLadder, RUNGS } from './batch-ladder.ts';

function ladderOf(maxBatchMs = 250) {
  let now = 0;
  const ladder = new BatchLadder(RUNGS, maxBatchMs, () => now);
  return { ladder, pass: (ms: number) => (now += ms) };
}

test('nothing measured: one at a time', () => {
  expect(ladderOf().ladder.choose(100)).toEqual({ take: 1, rung: 1 });
});

test('the ladder is climbed to the largest rung that stays within the limit', () => {
  const { ladder } = ladderOf();
  for (let n = 0; n < 10; n++) {
    const { rung } = ladder.choose(1000);
    ladder.record(rung, rung * 30);
  }
  expect(ladder.choose(1000)).toEqual({ take: 8, rung: 8 });
});

test('a rung that came out slower than expected is left, and tried again later', () => {
  const { ladder, pass } = ladderOf();
  ladder.record(4, 100);
  ladder.record(8, 600);
  expect(ladder.largest).toBe(4);
  pass(31_000);
  expect(ladder.largest).toBe(8);
});

test('blank rows are computed only where they are nearly free', () => {
  const { ladder } = ladderOf(1000);
  for (const rung of RUNGS) ladder.record(rung, rung * 10);
  expect(ladder.choose(5)).toEqual({ take: 4, rung: 4 });
  const flat = ladderOf(1000).ladder;
  for (const rung of RUNGS) flat.record(rung, 10);
  expect(flat.choose(5)).toEqual({ take: 5, rung: 8 });
});

function measured() {
  const { ladder, pass } = ladderOf(10_000);
  for (const rung of RUNGS) ladder.record(rung, rung);
  return { ladder, pass };
}

test('a batch that failed for want of memory lowers the ladder, and it is climbed again a rung at a time', () => {
  const { ladder, pass } = measured();
  ladder.lower(16, { guess: false });
  expect(ladder.largest).toBe(8);
  pass(59_000);
  expect(ladder.largest).toBe(8);
  pass(2_000);
  expect(ladder.largest).toBe(16);
  pass(5_000);
  expect(ladder.largest).toBe(16);
  pass(6_000);
  expect(ladder.largest).toBe(32);
  pass(11_000);
  expect(ladder.largest).toBe(64);
});

test('halving goes on below a rung that failed, and larger batches that were on their way change nothing', () => {
  const { ladder } = measured();
  for (const rung of [32, 16, 64, 32]) ladder.lower(rung, { guess: false });
  expect(ladder.largest).toBe(8);
});

test('a rung that fails again soon after it was tried again is left alone for longer each time', () => {
  const { ladder, pass } = measured();
  ladder.lower(64, { guess: false });
  for (const leftAloneMs of [60_000, 120_000, 240_000]) {
    expect(ladder.largest).toBe(32);
    pass(leftAloneMs - 1_000);
    expect(ladder.largest).toBe(32);
    pass(2_000);
    expect(ladder.largest).toBe(64);
    ladder.lower(64, { guess: false });
  }
});

test('when an input was at fault the ladder stands as before, unless memory was short as well', () => {
  const { ladder } = measured();
  ladder.lower(32, { guess: true });
  ladder.forgive();
  expect(ladder.largest).toBe(64);
  ladder.lower(32, { guess: false });
  ladder.forgive();
  expect(ladder.largest).toBe(16);
});

test('a graph of a fixed batch size has one rung', () => {
  const ladder = new BatchLadder([4], 250, () => 0);
  expect(ladder.choose(1)).toEqual({ take: 1, rung: 4 });
  expect(ladder.choose(9)).toEqual({ take: 4, rung: 4 });
});
