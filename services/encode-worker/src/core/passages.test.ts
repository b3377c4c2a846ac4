import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { splitPassages } from './passages.ts';

const words = (text: string) => text.split(/\s+/).filter(Boolean).length;
const characters = (text: string) => [...text.replace(/\s/g, '')].length;

test('a short text is one passage, a blank one is none', () => {
  expect(splitPassages('One. Two.', { room: 10, count: words })).toEqual(['One. Two.']);
  expect(splitPassages(' \n ', { room: 10, count: words })).toEqual([]);
});

test('passages end at sentences where they can', () => {
  const text = 'The mug is blue. It holds 350 ml. Wash it by hand. It is made of clay.';
  expect(splitPassages(text, { room: 8, count: words })).toEqual([
    'The mug is blue. It holds 350 ml.',
    'Wash it by hand.',
    'It is made of clay.',
  ]);
});

test('Chinese sentences are ends, too', () => {
  expect(splitPassages('这是一个杯子。它是蓝色的。', { room: 8, count: characters })).toEqual(['这是一个杯子。', '它是蓝色的。']);
});

test('every passage fits and no word is lost, whatever the text', () => {
  const text = fc
    .array(fc.oneof(fc.string({ maxLength: 30 }), fc.constantFrom('. ', '。', '\n\n', 'Supercalifragilistic', '主板', '😀')), {
      maxLength: 60,
    })
    .map((parts) => parts.join(' '));
  fc.assert(
    fc.property(text, fc.integer({ min: 2, max: 12 }), fc.constantFrom(words, characters), (original, room, count) => {
      const passages = splitPassages(original, { room, count });
      for (const passage of passages) expect(count(passage) <= room || [...passage].length === 1).toBe(true);
      expect(passages.join('').replace(/\s/g, '')).toBe(original.replace(/\s/g, ''));
    }),
    { seed: 11, numRuns: 300 },
  );
});
