import { expect, test } from '@jest/globals';
import { filter } from '@sightline/shared/contracts/filter';
import { parseFilter } from './filter-text.js';

test('a typed filter is the filter of the interface', () => {
  const typed = 'kind=product colour=red,blue price>=10 price<20.5 in_stock=true sku="0042" name="two words"';
  const parsed = parseFilter(typed);
  expect(parsed).toEqual({
    kind: 'product',
    colour: ['red', 'blue'],
    price: { gte: 10, lt: 20.5 },
    in_stock: true,
    sku: '0042',
    name: 'two words',
  });
  expect(filter.safeParse(parsed).success).toBe(true);
  expect(parseFilter('  ')).toEqual({});
});

test('what is not understood is named', () => {
  expect(() => parseFilter('price>=cheap')).toThrow('price>=cheap');
  expect(() => parseFilter('kind=a loose')).toThrow('loose');
});
