import { expect, test } from '@jest/globals';
import { ReceiverSlots } from './receiver-slots.ts';

const one = (deliveryId: string) => ({ tenant: 't', deliveryId });

test('a receiver gets so many at once, another is not held up, and who waits is called in order', () => {
  const slots = new ReceiverSlots(2);
  expect(['a', 'b', 'c', 'd'].map((id) => slots.take('slow', one(id)))).toEqual([true, true, false, false]);
  expect(slots.take('other', one('x'))).toBe(true);
  expect([slots.inLine, slots.isCalled('c'), slots.isCalled('a')]).toEqual([2, true, false]);
  expect(slots.release('slow', true)).toEqual([one('c')]);
  expect(slots.release('slow', true)).toEqual([one('d')]);
  expect(slots.inLine).toBe(0);
});

test('one that fails gets one at a time until it succeeds', () => {
  const slots = new ReceiverSlots(3);
  expect(slots.take('r', one('a'))).toBe(true);
  expect(slots.release('r', false)).toEqual([]);
  expect(['b', 'c', 'd', 'e'].map((id) => slots.take('r', one(id)))).toEqual([true, false, false, false]);
  expect(slots.release('r', false)).toEqual([one('c')]);
  expect(slots.take('r', one('c'))).toBe(true);
  // Nothing learnt: it stays as it was.
  expect(slots.release('r', null)).toEqual([one('d')]);
  expect(slots.take('r', one('d'))).toBe(true);
  expect(slots.release('r', true)).toEqual([one('e')]);
  expect(['f', 'g', 'h', 'i'].map((id) => slots.take('r', one(id)))).toEqual([true, true, true, false]);
});

test('who stands in line and is nobody’s to call is left to the sweep; standing twice is standing once', () => {
  const slots = new ReceiverSlots(1);
  for (const id of ['a', 'b', 'c', 'c']) slots.take('r', one(id));
  expect(slots.inLine).toBe(2);
  // `b` is called and never comes back, as when its job is lost.
  expect(slots.release('r', true)).toEqual([one('b')]);
  expect(slots.isCalled('c')).toBe(false);
  expect(slots.take('r', one('c'))).toBe(true);
  expect(slots.inLine).toBe(0);
});
