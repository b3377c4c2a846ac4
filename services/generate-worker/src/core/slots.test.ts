import { expect, test } from '@jest/globals';
import { Slots } from './slots.ts';

const never = new AbortController().signal;

test('slots go in the order they were asked for, never more than there are', async () => {
  let available = 2;
  const slots = new Slots(() => available);
  const order: number[] = [];
  const gives: (() => void)[] = [];
  const all = Array.from({ length: 5 }, async (_, n) => {
    const give = await slots.take(never);
    order.push(n);
    gives.push(give);
    expect(slots.taken).toBeLessThanOrEqual(available);
  });
  await Promise.all(all.slice(0, 2));
  expect(slots.taken).toBe(2);
  gives[0]!();
  gives[0]!();
  await all[2];
  expect(slots.taken).toBe(2);
  available = 4;
  slots.pump();
  await Promise.all(all);
  expect(order).toEqual([0, 1, 2, 3, 4]);
});

test('who gives up leaves the line, with its own reason; who is refused hears why', async () => {
  let available = 0;
  const slots = new Slots(() => available);
  const asker = new AbortController();
  const gaveUp = slots.take(asker.signal);
  const refused = slots.take(never);
  asker.abort(new Error('no longer wanted'));
  await expect(gaveUp).rejects.toThrow('no longer wanted');
  slots.refuseWaiting(new Error('away'));
  await expect(refused).rejects.toThrow('away');
  await expect(slots.take(asker.signal)).rejects.toThrow('no longer wanted');
  available = 1;
  const give = await slots.take(never);
  expect(slots.taken).toBe(1);
  give();
  expect(slots.taken).toBe(0);
});
