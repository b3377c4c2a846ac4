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

test('a tenant with many receivers that hang leaves slots to others, and its receivers take turns', () => {
  const slots = new ReceiverSlots(2, 3);
  const hanging = Array.from({ length: 5 }, (_, i) => slots.take(`host-${i}`, one(`d${i}`)));
  expect(hanging).toEqual([true, true, true, false, false]);
  expect(slots.take('host-0', one('more'))).toBe(false);
  expect(slots.take('elsewhere', { tenant: 'other', deliveryId: 'o' })).toBe(true);
  // Who has a slot of the tenant calls what waits for another of its receivers.
  expect([slots.isCalled('d3'), slots.isCalled('d4'), slots.isCalled('more')]).toEqual([true, true, true]);
  expect(slots.release('host-0', false)).toEqual([one('d3')]);
  expect(slots.take('host-3', one('d3'))).toBe(true);
  expect(slots.release('host-1', false)).toEqual([one('d4')]);
  expect(slots.take('host-4', one('d4'))).toBe(true);
  expect(slots.release('host-2', false)).toEqual([one('more')]);
  expect(slots.take('host-0', one('more'))).toBe(true);
  expect(slots.inLine).toBe(0);
});

test('when one is well again it gets several of its line at once, as far as its tenant has room', () => {
  const slots = new ReceiverSlots(4, 3);
  slots.take('r', one('a'));
  slots.release('r', false);
  for (const id of ['a', 'b', 'c', 'd', 'e']) slots.take('r', one(id));
  expect(slots.release('r', true)).toEqual([one('b'), one('c'), one('d')]);
  expect([slots.inLine, slots.isCalled('e')]).toEqual([1, false]);
});
