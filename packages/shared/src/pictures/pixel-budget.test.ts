import { expect, test } from '@jest/globals';
import { PixelBudget } from './pixel-budget.ts';

test('pictures beyond the budget wait their turn, in order', async () => {
  const budget = new PixelBudget(100);
  const order: string[] = [];
  const first = await budget.take(60);
  const large = budget.take(90).then((release) => (order.push('large'), release));
  const small = budget.take(10).then((release) => (order.push('small'), release));
  await new Promise(setImmediate);
  expect(order).toEqual([]);
  first();
  (await large)();
  (await small)();
  expect(order).toEqual(['large', 'small']);
});
