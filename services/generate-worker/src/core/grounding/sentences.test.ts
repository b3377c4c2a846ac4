import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { splitSentences } from './sentences.ts';

const texts = (text: string) => splitSentences(text).map((sentence) => sentence.text);

test.each<[string, string[]]>([
  ['The hole is 3.5 mm wide. It fits AM4.', ['The hole is 3.5 mm wide.', 'It fits AM4.']],
  ['Sizes, e.g. 78 mm, vary. See fig. 3 for more!', ['Sizes, e.g. 78 mm, vary.', 'See fig. 3 for more!']],
  ['It has screws, nuts, etc. The price is 4 EUR.', ['It has screws, nuts, etc.', 'The price is 4 EUR.']],
  ['It has screws, nuts, etc. in a bag.', ['It has screws, nuts, etc. in a bag.']],
  ['孔距为78毫米。适合AM4吗？适合[1]。', ['孔距为78毫米。', '适合AM4吗？', '适合[1]。']],
  ['It fits. [1] The other does not. [2]', ['It fits. [1]', 'The other does not. [2]']],
  ['It fits.[1][2] The other does not.', ['It fits.[1][2]', 'The other does not.']],
  ['It fits. [1] says that it does.', ['It fits.', '[1] says that it does.']],
  ['Steps:\n1. Read 78 mm. [1]\n2) Compare.\n- Done', ['Steps:', 'Read 78 mm. [1]', 'Compare.', 'Done']],
  ['1.5 mm is too thin.', ['1.5 mm is too thin.']],
  ['He said "no." Then he left.', ['He said "no."', 'Then he left.']],
  ['See No. 3 and no. 4. Say no. Go.', ['See No. 3 and no. 4.', 'Say no.', 'Go.']],
  ['-5 V is given. - 5 too.', ['-5 V is given.', '- 5 too.']],
  ['Designed by J. R. Smith in 1990.', ['Designed by J. R. Smith in 1990.']],
  ['Wait... what? Yes?!', ['Wait...', 'what?', 'Yes?!']],
  ['It fits 是的. 好', ['It fits 是的.', '好']],
  ['', []],
  [' \n\n . ', ['.']],
])('%j is split as a reader would', (text, expected) => {
  expect(texts(text)).toEqual(expected);
});

test('every sentence stands in the text, in order, and nothing but space, list marks and line ends is left out', () => {
  const piece = fc.constantFrom('a', 'B', '1', '.', '。', '!', ' ', '\n', '[1]', '"', ')', 'e.g.', '板', '- ', '2. ', '…');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const text = pieces.join('');
      let at = 0;
      for (const sentence of splitSentences(text)) {
        expect(sentence.start).toBeGreaterThanOrEqual(at);
        expect(text.slice(sentence.start, sentence.end)).toBe(sentence.text);
        expect(text.slice(at, sentence.start)).toMatch(/^[\s\d.()、*•–-]*$/);
        at = sentence.end;
      }
      expect(text.slice(at)).toMatch(/^[\s\d.()、*•–-]*$/);
    }),
    { numRuns: 2000 },
  );
});

test('a hundred kilobytes of full stops, brackets or blanks are split in no time', () => {
  for (const piece of ['.', '. ', '[1]', '.[1] ', ' ', 'a.', '1.\n', '"', '."']) {
    for (const end of ['', 'x']) {
      expect(splitSentences(piece.repeat(100_000 / piece.length) + end).length).toBeGreaterThanOrEqual(end.length);
    }
  }
});
