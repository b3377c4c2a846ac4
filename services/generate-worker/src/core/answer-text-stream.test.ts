import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { AnswerTextStream } from './answer-text-stream.ts';

function fed(text: string, cuts: number[]): string {
  const stream = new AnswerTextStream();
  let out = '';
  let from = 0;
  for (const to of [...cuts.map((cut) => cut % (text.length + 1)).sort((a, b) => a - b), text.length]) {
    out += stream.add(text.slice(from, to));
    from = to;
  }
  return out;
}

test('of JSON the text of its answer is streamed, however it is cut', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.array(fc.nat(500), { maxLength: 12 }), (answer, cuts) => {
      const json = JSON.stringify({ answer, boxes: [{ label: '"answer": "no"' }] });
      expect(fed(json, cuts)).toBe(answer);
    }),
  );
});

test('escapes are read: quotes, new lines, code points in halves', () => {
  expect(fed('{ "answer" : "a \\"b\\"\\n\\u4e3b\\ud83d\\ude00" }', [3, 17, 24, 31, 40])).toBe('a "b"\n主😀');
});

test('text that is no JSON passes as it is', () => {
  expect(fed('The holes [1] are {78} mm apart.', [4, 9])).toBe('The holes [1] are {78} mm apart.');
});

test('JSON without an answer streams nothing', () => {
  expect(fed('{"text": "x"}', [5])).toBe('');
});
