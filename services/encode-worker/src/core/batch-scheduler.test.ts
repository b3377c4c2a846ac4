import { expect, test } from '@jest/globals';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { RUNGS } from './batch-ladder.ts';
import { BatchScheduler } from './batch-scheduler.ts';
import { EncoderGoneError, OutOfMemoryError } from './encoder-faults.ts';

type Run = (batch: {
  group: string;
  payloads: number[];
  rung: number;
  lane: string;
}) => Promise<{ values: (number | null)[]; computeMs: number }>;

const settled = () => new Promise((resolve) => setImmediate(resolve));
const codes = (outcomes: { ok: boolean; error?: Error }[]) =>
  outcomes.map((o) => (o.ok ? 'ok' : o.error instanceof SightlineError ? o.error.code : String(o.error)));

function schedulerOf(run: Run, renew = () => {}) {
  const scheduler = new BatchScheduler<number, number>({ run, renew, rungs: () => RUNGS, maxBatchMs: 250, now: () => 0 });
  scheduler.resume();
  return scheduler;
}

const doubling: Run = async ({ payloads }) => ({ values: payloads.map((p) => p * 2), computeMs: 1 });

test('answers come in the order of the inputs, whatever the batches', async () => {
  const inputs = Array.from({ length: 300 }, (_, n) => n);
  const outcomes = await schedulerOf(doubling).submit('a', inputs, 'bulk');
  expect(outcomes).toEqual(inputs.map((n) => ({ ok: true, value: n * 2 })));
});

test('one bad input fails alone, found by halving', async () => {
  let calls = 0;
  const scheduler = schedulerOf(async (batch) => {
    calls++;
    if (batch.payloads.includes(37)) throw new Error('bad input');
    return doubling(batch);
  });
  const outcomes = await scheduler.submit(
    'a',
    Array.from({ length: 64 }, (_, n) => n),
    'bulk',
  );
  expect(codes(outcomes).flatMap((code, n) => (code === 'ok' ? [] : [[n, code]]))).toEqual([[37, 'encoder_failed']]);
  expect(calls).toBeLessThan(40);
});

test('an input without a usable vector fails alone', async () => {
  const outcomes = await schedulerOf(async ({ payloads }) => ({
    values: payloads.map((p) => (p === 2 ? null : p)),
    computeMs: 1,
  })).submit('a', [1, 2, 3], 'bulk');
  expect(codes(outcomes)).toEqual(['ok', 'encoder_failed', 'ok']);
});

test('an interactive input is sent before waiting bulk and waits for no slot of theirs', async () => {
  const sent: string[] = [];
  const open: (() => void)[] = [];
  const scheduler = schedulerOf(async (batch) => {
    sent.push(`${batch.lane} ${batch.payloads.length}`);
    await new Promise<void>((resolve) => open.push(resolve));
    return doubling(batch);
  });
  const bulk = scheduler.submit(
    'a',
    Array.from({ length: 20 }, (_, n) => n),
    'bulk',
  );
  await settled();
  const search = scheduler.submit('words', [1], 'interactive');
  await settled();
  expect(sent.at(-1)).toBe('interactive 1');
  expect(sent.filter((line) => line.startsWith('bulk')).length).toBeLessThanOrEqual(2);
  while (open.length > 0) {
    open.splice(0).forEach((go) => go());
    await settled();
  }
  await Promise.all([bulk, search]);
});

test('shapes are never mixed in a batch', async () => {
  const mixed: string[] = [];
  const scheduler = schedulerOf(async (batch) => {
    if (new Set(batch.payloads.map((p) => p >= 100)).size > 1) mixed.push(batch.group);
    return doubling(batch);
  });
  await Promise.all([
    scheduler.submit('small', [1, 2, 3, 4, 5], 'bulk'),
    scheduler.submit('large', [100, 101, 102], 'bulk'),
    scheduler.submit('small', [6, 7], 'bulk'),
  ]);
  expect(mixed).toEqual([]);
});

/** One input that does not fit any batch; `tries` counts the batches it was in, by their size. */
function killing(bad: number, error: () => Error) {
  const tries: number[] = [];
  const run: Run = async (batch) => {
    if (!batch.payloads.includes(bad)) return doubling(batch);
    tries.push(batch.payloads.length);
    throw error();
  };
  return { run, tries };
}

/** Climbs the ladder first, so that batches are large. */
async function warm(scheduler: BatchScheduler<number, number>): Promise<void> {
  await scheduler.submit(
    'a',
    Array.from({ length: 200 }, (_, n) => n + 1000),
    'bulk',
  );
}

test('an input that ends the process is found by halving, and fails when it has done so twice alone', async () => {
  const { run, tries } = killing(3, () => new EncoderGoneError('gone'));
  const scheduler = schedulerOf(run);
  await warm(scheduler);
  const outcomes = await scheduler.submit(
    'a',
    Array.from({ length: 64 }, (_, n) => n),
    'bulk',
  );
  expect(codes(outcomes).flatMap((code, n) => (code === 'ok' ? [] : [[n, code]]))).toEqual([[3, 'encoder_failed']]);
  expect(tries).toEqual([64, 32, 16, 8, 4, 2, 1, 1]);
});

test('a process that ends once by chance costs no input', async () => {
  let calls = 0;
  const scheduler = schedulerOf(async (batch) => {
    if (++calls % 5 === 0) throw new EncoderGoneError('gone');
    return doubling(batch);
  });
  const inputs = Array.from({ length: 500 }, (_, n) => n);
  expect(new Set(codes(await scheduler.submit('a', inputs, 'bulk')))).toEqual(new Set(['ok']));
});

test('what had not begun when the process went away is sent again as it was, without blame', async () => {
  const sent: number[] = [];
  let left = 5;
  const scheduler = schedulerOf(async (batch) => {
    sent.push(batch.payloads.length);
    if (batch.payloads.length > 1 && left-- > 0) throw new EncoderGoneError('gone', false);
    return doubling(batch);
  });
  const outcomes = await scheduler.submit('a', [1, 2, 3, 4, 5], 'bulk');
  expect(new Set(codes(outcomes))).toEqual(new Set(['ok']));
});

test('for want of memory batches are halved, and nothing fails', async () => {
  const sizes: number[] = [];
  const scheduler = schedulerOf(async (batch) => {
    sizes.push(batch.rung);
    if (batch.rung > 4) throw new OutOfMemoryError('no memory');
    return doubling(batch);
  });
  const outcomes = await scheduler.submit(
    'a',
    Array.from({ length: 300 }, (_, n) => n),
    'bulk',
  );
  expect(new Set(codes(outcomes))).toEqual(new Set(['ok']));
  // 64, 32, 16 and 8 once each, and those that were on their way behind them.
  expect(sizes.filter((size) => size > 4).length).toBeLessThanOrEqual(8);
});

test('without memory for a single input the process is replaced; after that the input may be tried again, it is not at fault', async () => {
  let memory = 0;
  let renewed = 0;
  const run: Run = async (batch) => {
    if (batch.rung > memory) throw new OutOfMemoryError('no memory');
    return doubling(batch);
  };
  const scheduler = schedulerOf(run, () => {
    renewed += 1;
    scheduler.pause();
    void scheduler.drained().then(() => scheduler.resume());
  });
  expect(codes(await scheduler.submit('a', [1], 'bulk'))).toEqual(['encoder_unavailable']);
  expect(renewed).toBe(1);
  memory = 1;
  expect(codes(await scheduler.submit('a', [1, 2], 'bulk'))).toEqual(['ok', 'ok']);
});

test('an input that spoils its whole batch fails alone', async () => {
  const scheduler = schedulerOf(async ({ payloads }) => ({
    values: payloads.map((p) => (payloads.includes(2) ? null : p)),
    computeMs: 1,
  }));
  await warm(scheduler);
  expect(codes(await scheduler.submit('a', [1, 2, 3, 4], 'bulk'))).toEqual(['ok', 'encoder_failed', 'ok', 'ok']);
});

test('an aborted submission rejects, and its inputs are not computed', async () => {
  const seen: number[] = [];
  const scheduler = new BatchScheduler<number, number>({
    run: async (batch) => (seen.push(...batch.payloads), doubling(batch)),
    renew: () => {},
    rungs: () => RUNGS,
    maxBatchMs: 250,
    now: () => 0,
  });
  const abort = new AbortController();
  const work = scheduler.submit('a', [1, 2, 3], 'bulk', abort.signal);
  abort.abort(new Error('enough'));
  await expect(work).rejects.toThrow('enough');
  const other = scheduler.submit('a', [9], 'bulk');
  scheduler.resume();
  await other;
  expect(seen).toEqual([9]);
});

test('while the encoder is given up, waiting and new inputs fail at once; afterwards they work again', async () => {
  const scheduler = new BatchScheduler<number, number>({
    run: doubling,
    renew: () => {},
    rungs: () => RUNGS,
    maxBatchMs: 250,
    now: () => 0,
  });
  const waiting = scheduler.submit('a', [1], 'bulk');
  scheduler.fail(new SightlineError('encoder_unavailable'));
  expect(codes([...(await waiting), ...(await scheduler.submit('a', [2], 'interactive'))])).toEqual([
    'encoder_unavailable',
    'encoder_unavailable',
  ]);
  scheduler.resume();
  expect(await scheduler.submit('a', [3], 'bulk')).toEqual([{ ok: true, value: 6 }]);
});
