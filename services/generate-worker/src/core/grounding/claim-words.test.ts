import { expect, test } from '@jest/globals';
import { coverage, negationDiffers, statesNothing } from './claim-words.ts';

test.each<[string, string, number]>([
  ['The skull poster costs 21.8.', 'Skull poster\nprice: 21.8', 1],
  ['The black skull poster.', 'Skull poster\ncolour: white', 2 / 3],
  ['It comes with 140 mm.', 'anything', 1],
  ['这是一张啤酒海报，售价24.85。', '啤酒海报\nprice: 24.85', 1],
  ['Fans are quiet.', 'a fan', 1 / 2],
])('of the content words of %j %j holds a share', (sentence, source, share) => {
  expect(coverage(sentence, source)).toBeCloseTo(share);
});

test.each<[string, string, string, boolean]>([
  ['It is in stock.', 'Poster', 'in_stock: false', true],
  ['It is not in stock.', 'Poster', 'in_stock: false', false],
  ['It is out of stock.', 'Poster', 'in_stock: true', true],
  ['It is in stock.', 'not for children', 'in_stock: true', false],
  ['Both are in stock.', 'Poster', 'in_stock: true\nin_stock: false', true],
  ['It does not fit.', 'It fits.', '', true],
  ['It does not fit.', 'It never fits.', '', false],
  ['它不防水。', '它防水。', '', true],
])('whether %j and %j with %j deny different things', (sentence, place, source, differs) => {
  expect(negationDiffers(sentence, place, source)).toBe(differs);
});

test.each([
  ["I don't know.", true],
  ['The sources do not mention a price.', true],
  ['我不知道。', true],
  ['资料未提及价格。', true],
  ['---', true],
  ['[1]', true],
  ['The fan is 140 mm.', false],
  ['It is not known for noise.', false],
])('%j states nothing: %s', (sentence, nothing) => {
  expect(statesNothing(sentence)).toBe(nothing);
});
