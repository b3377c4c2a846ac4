import { expect, test } from '@jest/globals';
import { speaks } from './query-language.ts';

test.each([
  [['en'], 'red shoes', true],
  [['en'], '红色的鞋', false],
  [['en'], 'AM4 主板', true],
  [['en'], '散热器支持AM4主板吗', false],
  [['en'], 'красные туфли', false],
  [['en'], 'chaussures élégantes', true],
  [['en'], '42', true],
  [['en'], '😀 → ?', true],
  [['en', 'zh'], '红色的鞋', true],
  [['zh'], 'red shoes', false],
  [['ja'], '赤い靴', true],
  [['zh-CN'], '主板', true],
  [[], 'red', false],
  [null, 'красные', true],
] as const)('a pack of %j and the words %s: %s', (languages, words, expected) => {
  expect(speaks(languages, words)).toBe(expected);
});
