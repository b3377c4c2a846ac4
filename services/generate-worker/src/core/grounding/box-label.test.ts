import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { cleanLabel, labelBefore } from './box-label.ts';

test.each([
  ['The holes are marked "78 mm" ', '78 mm'],
  ['孔距标为“78毫米” ', '78毫米'],
  ['see **L3** (', 'L3'],
  ['LGA1700 / LGA1851: ', 'LGA1700 / LGA1851'],
  ['- red bushing: ', 'red bushing'],
  ['1. First, the left hole: ', 'the left hole'],
  ['The drawing shows two mounting holes ', 'two mounting holes'],
  ['The red bushing is at ', 'red bushing'],
  ['It fits AM4 [1]. The odd vertebra L3 [2] ', 'odd vertebra L3'],
  ['Vertebra L3, ', ''],
  ['一共有两个孔，红色衬套在', '红色衬套'],
  ['图中标出的第三腰椎', '第三腰椎'],
  ['孔距78毫米：', '孔距78毫米'],
  ['3.5 mm slot ', '3.5 mm slot'],
  ['one two three four five six seven eight ', 'three four five six seven eight'],
  ['', ''],
  ['is at the ', ''],
])('before the mark of %j stands %j', (text, label) => {
  expect(labelBefore(text)).toBe(label);
});

test('a label has no control or direction characters, no marks, one line and at most 80 characters', () => {
  expect(cleanLabel('a\u0000b\u202ec\u200bd\ne [1] f')).toBe('a b c d e f');
  expect(cleanLabel('板'.repeat(200))).toHaveLength(80);
  expect([...cleanLabel('😀'.repeat(200))]).toHaveLength(80);
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
      for (const label of [labelBefore(text), cleanLabel(text)]) {
        expect(Array.from(label).length).toBeLessThanOrEqual(80);
        expect(label).not.toMatch(/[\p{Cc}\p{Cf}\n]/u);
        expect(label.isWellFormed()).toBe(true);
      }
    }),
  );
});
