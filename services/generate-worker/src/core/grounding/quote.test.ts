import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { findQuote } from './quote.ts';

const cooler =
  'Kestrel R26 CPU cooler\nTower cooler with a 140 mm fan. Mounting frame as in the drawing. CPU散热器，140毫米风扇，安装孔距见图。\nprice: 43.75';

test.each<[string[], string, string | null]>([
  [['The fan measures 140 mm [1].'], cooler, 'Tower cooler with a 140 mm fan.'],
  [['It costs 43.75 [1].', 'Its price is low [1].'], cooler, 'price: 43.75'],
  [['风扇为140毫米[1]。'], cooler, 'CPU散热器，140毫米风扇，安装孔距见图。'],
  [['The R26 is a tower cooler [1].'], cooler, 'Kestrel R26 CPU cooler\nTower cooler with a 140 mm fan.'],
  [['Quantum entanglement [1].'], cooler, null],
  [['The fan [1].'], '', null],
  [[], cooler, null],
])('of what %j says the span is found', (said, source, quote) => {
  expect(findQuote(said, source)).toBe(quote);
});

test('a long sentence is quoted in part, between words', () => {
  const source = `${'lorem ipsum dolor '.repeat(40)}the bushing is 64 mm wide ${'sit amet '.repeat(60)}`;
  const quote = findQuote(['The bushing is 64 mm wide.'], source)!;
  expect(quote.length).toBeLessThanOrEqual(300);
  expect(quote).toContain('bushing is 64 mm wide');
  expect(` ${source} `).toContain(` ${quote} `);
});

test('a quote is always a span of the source, at most 300 characters, and well formed', () => {
  const word = fc.constantFrom(
    'fan ',
    '140 ',
    'mm',
    '. ',
    '。',
    '板',
    '孔距',
    '😀',
    '\n',
    'R26',
    'cooler',
    ' ',
    'x'.repeat(50),
    '板'.repeat(90),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 60 }), (words) => {
      const source = words.join('');
      const quote = findQuote(['The fan of cooler R26 is 140 mm, 孔距板 😀'], source);
      if (quote === null) return;
      expect(source).toContain(quote);
      expect(quote.length).toBeLessThanOrEqual(300);
      expect(quote.isWellFormed()).toBe(true);
    }),
    { numRuns: 500 },
  );
});
