import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { analyse, analyseQuery, codesIn, numberedNamesIn } from './analyser.ts';

const anyText = fc.string({ unit: 'binary', maxLength: 200 });
/** Text from the alphabets that matter here, so that runs of each kind meet. */
const mixedText = fc
  .array(fc.constantFrom(...Array.from("aZéß09-_./+ '’＃ＡıİΣς猫主板的ケーア가ก์ñ×μ\u0301\u00ad\u{20000}\ud800")), {
    maxLength: 40,
  })
  .map((chars) => chars.join(''));

test('a plural finds its singular, and capitals and accents do not matter', () => {
  expect(analyse('Shoes')).toEqual(analyse('shoe'));
  expect(analyse('CAFÉ')).toEqual(analyse('cafe'));
  expect(analyse('Straße')).toEqual(analyse('STRASSE'));
  expect(analyse("the cooler's holes")).toEqual(['the', 'cooler', 'hole']);
});

test('compatibility forms are one: full width, ligatures, dashes', () => {
  expect(analyse('ＡＭ４ ﬁne X‑Ray')).toEqual(analyse('AM4 fine x-ray'));
});

test('Han words are found by their two characters and by one', () => {
  const record = analyse('AM4主板的散热器');
  expect(record).toEqual(['am4', '主', '板', '主板', '散', '热', '器', '散热', '热器']);
  expect(analyseQuery('主板')).toEqual(['主板']);
  expect(analyseQuery('板')).toEqual(['板']);
  expect(analyseQuery('散热器')).toEqual(['散热', '热器']);
});

test('a Han character outside the basic plane is one character', () => {
  expect(analyseQuery('𠀀')).toEqual(['𠀀']);
  expect(analyse('𠀀𠀁')).toEqual(['𠀀', '𠀁', '𠀀𠀁']);
});

test('kana, Hangul and Thai are cut into bigrams too', () => {
  expect(analyseQuery('ケース')).toEqual(['ケー', 'ース']);
  expect(analyseQuery('키보드')).toEqual(['키보', '보드']);
  expect(analyseQuery('รถ')).toEqual(['รถ']);
});

test('codes are kept whole, and compounds also in parts', () => {
  expect(analyse('AM4 LGA1700 M3x8')).toEqual(['am4', 'lga1700', 'm3x8']);
  expect(analyse('SKU-1234/AB')).toEqual(['sku-1234/ab', 'sku-1234', 'sku', '1234', 'ab']);
  expect(analyse('ABC-XYZ')[0]).toBe('abc-xyz');
  expect(analyse('AM4/AM5')).toEqual(['am4/am5', 'am4', 'am5']);
});

test('numbers keep their fraction, and a unit may stand apart', () => {
  expect(analyse('12.5mm')).toEqual(['12.5mm', '12.5', 'mm']);
  expect(analyse('12.5 mm')).toEqual(['12.5', 'mm']);
  expect(analyse('30×40cm')).toEqual(analyse('30x40cm'));
});

test('hyphenated words are found whole and apart', () => {
  expect(analyse('T-Shirts')).toEqual(['t-shirt', 't', 'shirt']);
  expect(analyse('red/green')).toEqual(['red', 'green']);
  expect(analyse('first.Then')).toEqual(['first', 'then']);
});

test('stop words leave a query, unless it has no other word', () => {
  expect(analyseQuery('What is the shoe for?')).toEqual(['shoe']);
  expect(analyseQuery('这个主板')).not.toContain('这个');
  expect(analyseQuery('The Who')).toEqual(['the', 'who']);
  expect(analyse('The Who')).toEqual(['the', 'who']);
});

test('what has no word has no keyword', () => {
  for (const text of ['', '   ', '?!', '🙂👍🏽', '的', '"*()^:']) expect(analyse(text)).toEqual([]);
});

test('codes are told from words, measures, years and dates', () => {
  expect(codesIn('Does the Noctua NH-D15 fit AM4 or LGA1700?')).toEqual(['nh-d15', 'am4', 'lga1700']);
  expect(codesIn('SKU-1234/AB, 4006381333931, 978-3-16-148410-0, Ryzen 5600X')).toEqual([
    'sku-1234/ab',
    '4006381333931',
    '978-3-16-148410-0',
    '5600x',
  ]);
  expect(codesIn('AM4/AM5主板')).toEqual(['am4', 'am5']);
  expect(codesIn('12.5mm 30x40cm 5 kg 4K 1080p 2nd 2x t-shirt in 2024, on 2024-01-15, 1234')).toEqual([]);
});

test('a noun and a short number name a thing; measures, years behind a preposition and codes do not', () => {
  expect(numberedNamesIn('What is the first step in problem 480?')).toEqual(['problem 480']);
  expect(numberedNamesIn('Problems 480 and iPhone 15 cases, Café 7')).toEqual(['problem 480', 'iphon 15', 'cafe 7']);
  expect(
    numberedNamesIn('a connector 48 V, plate 120 mm, in 2024, for 48, sold 3,000 times, weighs 5.5, about 20 %, P7041, AM4 12'),
  ).toEqual([]);
});

test('a code is the same word for the analyser', () => {
  fc.assert(
    fc.property(mixedText, (text) => {
      const words = analyse(text);
      const codes = codesIn(text);
      expect(codes.filter((code) => !words.includes(code))).toEqual([]);
    }),
    { seed: 3, numRuns: 2000 },
  );
});

test('codes, numbers and Han tokens are found again when analysed', () => {
  fc.assert(
    fc.property(mixedText, (text) => {
      for (const token of analyse(text)) if (!/^[a-z-]+$/.test(token)) expect(analyse(token)).toContain(token);
    }),
    { seed: 4, numRuns: 2000 },
  );
});

test('whatever a query asks for, a record of the same text has', () => {
  fc.assert(
    fc.property(mixedText, (text) => {
      const words = new Set(analyse(text));
      expect(analyseQuery(text).filter((token) => !words.has(token))).toEqual([]);
    }),
    { seed: 5, numRuns: 2000 },
  );
});

test('any unicode gives bounded tokens without spaces, and never an error', () => {
  fc.assert(
    fc.property(fc.oneof(anyText, mixedText), (text) => {
      for (const token of [...analyse(text), ...codesIn(text)]) {
        expect(token.length).toBeGreaterThan(0);
        expect(token.length).toBeLessThanOrEqual(64);
        expect(token).not.toMatch(/\s/u);
      }
    }),
    { seed: 6, numRuns: 3000 },
  );
});

test('a blob of a million characters is one bounded token', () => {
  expect(analyse('x'.repeat(1_000_000))).toEqual(['x'.repeat(64)]);
  expect(analyse('1-'.repeat(100_000)).length).toBeLessThanOrEqual(200_001);
});
