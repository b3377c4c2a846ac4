import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { Budget } from './budget.ts';

test('never more is out than there is, and everyone has a turn', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 20 }),
      fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 30 }),
      async (total, wishes) => {
        const budget = new Budget(total);
        let out = 0;
        await Promise.all(
          wishes.map(async (wish) => {
            const giveBack = await budget.take(wish);
            out += Math.min(wish, total);
            expect(out).toBeLessThanOrEqual(total);
            await Promise.resolve();
            out -= Math.min(wish, total);
            giveBack();
            giveBack();
          }),
        );
        expect(out).toBe(0);
        (await budget.take(total))();
      },
    ),
    { seed: 1 },
  );
});

test('who gives up waiting blocks nobody', async () => {
  const budget = new Budget(2);
  const giveBack = await budget.take(1);
  const controller = new AbortController();
  const waiting = budget.take(2, controller.signal);
  const behind = budget.take(1);
  controller.abort(new Error('enough'));
  await expect(waiting).rejects.toThrow('enough');
  (await behind)();
  giveBack();
  (await budget.take(2))();
  await expect(budget.take(1, controller.signal)).rejects.toThrow('enough');
});
