import { expect, test } from '@jest/globals';
import { missingFacts } from './agree-facts.ts';
import { factsOf } from './claim-facts.ts';

test.each<[string, string[], string[]]>([
  ['Fan of 140 mm for LGA1700 / LGA1851, SKU SL-5655-000.', ['140 length'], ['lga1700', 'lga1851', 'sl5655000']],
  ['78 x 54mm, 3.5 mm-wide', ['78 length', '54 length', '3.5 length'], []],
  ['78x78mm or 54-90 mm', ['78 length', '78 length', '54 length', '90 length'], []],
  ['1,200 g, 43,75 €, EUR 5, $3.20', ['1200|1.2 mass', '43.75 eur', '5 eur', '3.2 usd'], []],
  ['1.234,5 kg and 1,234.5 kg', ['1234.5 mass', '1234.5 mass'], []],
  ['fan_mm: 140\nprice: 43.75', ['140 length', '43.75'], []],
  ['12 V, 2 A, 3 a day, 5 in the box, 5 in, 60 %', ['12 voltage', '2 current', '3', '5', '5 length', '60 share'], []],
  ['140毫米风扇，重2公斤，价格43.75元，百分之60', ['140 length', '2 mass', '43.75 cny', '60 share'], []],
  ['It costs 5 [1][2].\n1. In 2020', ['5', '2020'], []],
  ['socket LGA 1700, AM 4, 12 MM, EUR 12', ['12 length', '12 eur'], ['lga1700', 'am4']],
  ['two pins and 三个孔', ['2', '3'], []],
  ['a 2nd place, DDR5, 30°', ['2', '30 angle'], ['ddr5']],
])('%j', (text, quantities, codes) => {
  const facts = factsOf(text);
  expect(facts.quantities.map(({ values, unit }) => [values.join('|'), unit?.kind].filter(Boolean).join(' '))).toEqual(
    quantities,
  );
  expect([...facts.codes].sort()).toEqual([...codes].sort());
});

test.each<[string, string, string[]]>([
  ['140 mm', 'a 140 mm fan', []],
  ['14 cm', 'a 140 mm fan', []],
  ['5.51 inches', 'a 140 mm fan', []],
  ['5.5 inches', 'a 140 mm fan', []],
  ['5.6 inches', 'a 140 mm fan', ['5.6']],
  ['140 cm', 'a 140 mm fan', ['140']],
  ['140 cm', 'fan_mm: 140', ['140']],
  ['140', 'a 140 mm fan', []],
  ['120 mm', 'a 140 mm fan', ['120']],
  ['43,75 EUR', 'price: 43.75', []],
  ['about 44', 'price: 43.75', []],
  ['44', 'price: 43.75', ['44']],
  ['about 7', 'price: 6.75', []],
  ['0.118 in thick', '3 mm thick', []],
  ['3.071 in', '78 mm', []],
  ['12.7 cm', 'price: 12.7', ['12.7']],
  ['12.7 cm', 'all sizes in mm and cm: 12.7', []],
  ['12.7 EUR', 'price: 12.7', []],
  ['48 hours', 'ships in two days', []],
  ['AM4 and AM5', 'for AM4', ['am5']],
  ['LGA 1700', 'for LGA1700', []],
  ['SL5655000', 'SKU SL-5655-000', []],
  ['beam4', 'AM4', ['beam4']],
  ['three of them', 'pack_size: 5', ['three']],
  ['three of them', 'five pieces', ['three']],
  ['five of them', 'pack_size: 5', []],
  ['two of them', 'a 140 mm fan', []],
])('of %j is missing in %j', (claim, source, missing) => {
  expect(missingFacts(factsOf(claim), factsOf(source))).toEqual(missing);
});

test('a hundred kilobytes of digits, commas or capitals are read at once', () => {
  for (const piece of ['1', '1,', '1,000', 'AB 1 ', '-', '1x', '百分之', 'a1-', '1 m', "1'", '三个']) {
    expect(factsOf(piece.repeat(100_000 / piece.length)).codes.size).toBeGreaterThanOrEqual(0);
  }
});
