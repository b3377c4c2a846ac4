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

test('a batch that failed as a whole lowers the ladder for a minute', () => {
  const { ladder, pass } = ladderOf(10_000);
  for (const rung of RUNGS) ladder.record(rung, rung);
  ladder.lower(16);
  expect(ladder.largest).toBe(8);
  pass(61_000);
  expect(ladder.largest).toBe(64);
});

test('a graph of a fixed batch size has one rung', () => {
  const ladder = new BatchLadder([4], 250, () => 0);
  expect(ladder.choose(1)).toEqual({ take: 1, rung: 4 });
  expect(ladder.choose(9)).toEqual({ take: 4, rung: 4 });
});
