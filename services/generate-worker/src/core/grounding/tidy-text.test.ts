import { expect, test } from '@jest/globals';
import { SEAM, tidySeams } from './tidy-text.ts';

test.each([
  ['The holes S are apart S.', 'The holes are apart.'],
  ['The holes (S) are apart (S, S).', 'The holes are apart.'],
  ['The holes S, S and S are apart.', 'The holes are apart.'],
  ['LGA1700: S\nAM4: S', 'LGA1700\nAM4'],
  ['S The holes S', 'The holes'],
  ['红色衬套S和蓝色衬套S。', '红色衬套和蓝色衬套。'],
  ['红色衬套（S），蓝色 S 衬套', '红色衬套，蓝色 衬套'],
  ['aSb', 'a b'],
  ['one\nS\ntwo\n\nthree', 'one\ntwo\n\nthree'],
  ['- S\n- a S\n  indented S b', '- a\n  indented b'],
  ['  code  is   kept .\nS x', 'code  is   kept .\nx'],
  ['It is "S" here, **S** too', 'It is here, too'],
  ['Nothing cut ( ) here .', 'Nothing cut ( ) here .'],
  ['S', ''],
])('%j', (text, expected) => {
  expect(tidySeams(text.replaceAll('S', SEAM))).toBe(expected);
});

test('a hundred kilobytes of seams and brackets are put right at once', () => {
  for (const piece of ['S', '(S', '(S, ', 'S and ', '(', 'S)', 'aS\n', ' S ']) {
    const text = piece.replaceAll('S', SEAM).repeat(100_000 / piece.length);
    expect(tidySeams(text)).not.toContain(SEAM);
  }
});
