import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { StopText } from './stop-text.ts';

test('however a text is cut into pieces, what comes out is what stands before the first stop string', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 30 });
  fc.assert(
    fc.property(
      fc.array(letters, { maxLength: 8 }),
      fc.uniqueArray(fc.constantFrom('ab', 'bca', 'ccc', 'a'), { maxLength: 3 }),
      (pieces, stops) => {
        const cutter = new StopText(stops);
        const out = pieces.map((piece) => cutter.push(piece)).join('') + cutter.flush();
        const whole = pieces.join('');
        const at = Math.min(whole.length, ...stops.map((stop) => whole.indexOf(stop)).filter((index) => index >= 0));
        expect(out).toBe(whole.slice(0, at));
        expect(cutter.isStopped).toBe(stops.some((stop) => whole.includes(stop)));
      },
    ),
  );
});

test('only what may begin a stop string is held back', () => {
  const cutter = new StopText(['<|im_end|>']);
  expect(cutter.push('It fits <|im')).toBe('It fits ');
  expect(cutter.push('portant|> [1]')).toBe('<|important|> [1]');
  expect(cutter.push('.<|im_end|>x')).toBe('.');
  expect(cutter.push('more') + cutter.flush()).toBe('');
});
