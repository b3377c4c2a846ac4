import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { scanMarks } from './scan-marks.ts';

const given = new Set([1, 2, 3]);
/** Citations as `<1,2>`, boxes as `{x1 y1 x2 y2}`, cut marks as `~`. */
const show = (text: string) =>
  scanMarks(text, given)
    .map((piece) => {
      if (piece.kind === 'text') return piece.text;
      if (piece.kind === 'cut') return '~';
      return piece.kind === 'citation' ? `<${piece.numbers.join(',')}>` : piece.boxes.map((box) => `{${box.join(' ')}}`).join('');
    })
    .join('');

test.each([
  ['It fits [1].', 'It fits <1>.'],
  ['It fits [1, 2] and [1][3].', 'It fits <1,2> and <1><3>.'],
  ['It fits [1; 2], [ 3 ], [1 and 2].', 'It fits <1,2>, <3>, <1,2>.'],
  ['适合【1】、【2†L3】、［3］。', '适合<1>、<2>、<3>。'],
  ['See [^1], [c2], [#3], [source 1], [Citation: 2], [c1, c3], [来源1].', 'See <1>, <2>, <3>, <1>, <2>, <1,3>, <1>.'],
  ['Double [[1]] and [[1, 2]] and [[1], [3]].', 'Double <1> and <1,2> and <1,3>.'],
  ['Invented [42] and [7, 8] and [1, 42].', 'Invented <42> and <7,8> and <1,42>.'],
  [
    'Since [2020], from [0] to [25, 60], [3.5], [-1], [01], [1a], [x], [].',
    'Since [2020], from [0] to [25, 60], [3.5], [-1], [01], [1a], [x], [].',
  ],
  ['The array x = [1, 2] and y=[3].', 'The array x = [1, 2] and y=[3].'],
  [
    'A [1](https://example.com) link and [a link](x) and ![1](y.png).',
    'A [1](https://example.com) link and [a link](x) and ![1](y.png).',
  ],
  ['Code `a[1]` and\n```\nb[2]\n```\nthen [3].', 'Code `a[1]` and\n```\nb[2]\n```\nthen <3>.'],
  ['Holes [[230,96,270,114]] there.', 'Holes {230 96 270 114} there.'],
  ['Holes [[ 0.1, .25 ,-3 , 4. ]] there.', 'Holes {0.1 0.25 -3 4} there.'],
  [
    'Two [[1,2,3,4],[5, 6, 7, 8]] and [[1,2,3,4], [5,6,7,8], [9,10,11,12]].',
    'Two {1 2 3 4}{5 6 7 8} and {1 2 3 4}{5 6 7 8}{9 10 11 12}.',
  ],
  ['Spaces [[1 2 3 4]] too.', 'Spaces {1 2 3 4} too.'],
  ['In ticks `[[1,2,3,4]]` too.', 'In ticks {1 2 3 4} too.'],
  ['A matrix [[1,0],[0,1]] stays, so does [230, 96, 270, 114].', 'A matrix [[1,0],[0,1]] stays, so does [230, 96, 270, 114].'],
  ['Five [[1,2,3,4,5]] are none.', 'Five <1,2,3,4,5> are none.'],
  ['Cut here [[230, 96', 'Cut here ~'],
  ['Cut here [1', 'Cut here ~'],
  ['Cut here [[1,2,3,4],[5,', 'Cut here ~'],
  ['Cut here [[1,2,3,4]', 'Cut here ~'],
  ['Not cut [25, 60]', 'Not cut [25, 60]'],
  ['Not cut [', 'Not cut ['],
  ['Nested [see [1]] and [[[1]]].', 'Nested [see <1>] and [<1>].'],
])('%j', (text, expected) => {
  expect(show(text)).toBe(expected);
});

test('every piece is of the text, and the text is never lost between marks', () => {
  const piece = fc.constantFrom(
    '[',
    ']',
    '[[',
    ']]',
    '1',
    '2',
    '7',
    '99',
    '100',
    ',',
    ' ',
    '.',
    '-',
    '`',
    '```',
    '(',
    '=',
    'a',
    '【',
    '】',
    'c',
    '^',
    '†',
    '\n',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), (parts) => {
      const text = parts.join('');
      let at = 0;
      for (const found of scanMarks(text, given)) {
        if (found.kind === 'citation') {
          expect(found.numbers.length).toBeGreaterThan(0);
          expect(found.numbers.every((n) => Number.isInteger(n) && n >= 1 && n <= 99)).toBe(true);
        }
        if (found.kind === 'boxes') expect(found.boxes.every((box) => box.length === 4)).toBe(true);
        if (found.kind !== 'text' && found.kind !== 'cut') continue;
        const where = text.indexOf(found.text, at);
        expect(where).toBeGreaterThanOrEqual(at);
        at = where + found.text.length;
      }
    }),
    { numRuns: 3000 },
  );
});

test.each([
  '[',
  '[[',
  '[1',
  '[1,',
  '[[1,2,3,4],',
  '[[1,2,3,4]',
  '`',
  '```',
  '[ ',
  '[[1,2,3,4]]',
  '[1]',
  '【',
  '[c',
  '=[',
  '[1†',
  ']',
  '[-',
  '[1.',
])('a hundred kilobytes of %j are scanned once', (piece) => {
  const text = piece.repeat(100_000 / piece.length);
  expect(scanMarks(text, given).length).toBeGreaterThan(0);
  expect(scanMarks(`${text}x`, given).length).toBeGreaterThan(0);
});
