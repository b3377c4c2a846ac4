import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isRepeating } from './repetition.ts';

test('the same sentence, word or sign over and over is a repetition, also in the middle of a unit', () => {
  expect(isRepeating(`Well. ${'The cooler fits AM4. '.repeat(12)}`)).toBe(true);
  expect(isRepeating(`Well. ${'The cooler fits AM4. '.repeat(12)}The coo`)).toBe(true);
  expect(isRepeating('!'.repeat(200))).toBe(true);
  expect(isRepeating('它适合主板。'.repeat(40))).toBe(true);
  expect(isRepeating('[[12,40,80,90]]'.repeat(20))).toBe(true);
});

test('a rule, a list, a table of numbers and a sentence that comes back four times are not', () => {
  expect(isRepeating(`Parts\n${'-'.repeat(120)}`)).toBe(false);
  expect(isRepeating(Array.from({ length: 60 }, (_, n) => `${n + 1}. Tighten screw ${n + 1}.`).join('\n'))).toBe(false);
  expect(isRepeating(Array.from({ length: 300 }, (_, n) => String(n)).join(' '))).toBe(false);
  expect(isRepeating('The holes of the drawing are 54 by 90 mm apart, as those of AM4 are. '.repeat(4))).toBe(false);
  expect(isRepeating('')).toBe(false);
});

test('any unit of up to 240 characters is found once it came often enough, and an end of its own is none', () => {
  fc.assert(
    fc.property(
      fc.string({ minLength: 1, maxLength: 240, unit: 'grapheme-ascii' }),
      fc.string({ maxLength: 50 }),
      (unit, before) => {
        const text = before + unit.repeat(Math.max(5, Math.ceil(200 / unit.length)));
        expect(isRepeating(text)).toBe(true);
        expect(isRepeating(`${text}\u0000`)).toBe(false);
      },
    ),
  );
});
