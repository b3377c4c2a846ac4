import { expect, test } from '@jest/globals';
import { questionRequest } from '@sightline/shared/contracts/question-http';
import { filterOfAll, requestOf, SYSTEMS } from './systems.ts';
import { newQuestion } from './testing/set-builder.ts';

const item = (id: string, attributes: Record<string, unknown>) => ({ item_id: id, title: id, attributes, images: [] });
const items = (...all: ReturnType<typeof item>[]) => new Map(all.map((one) => [one.item_id, one]));

test('what each system is asked is a question that the interface takes, in the words of its language', () => {
  const question = newQuestion({ question_zh: '有多少针？', filter: { sku: 'a' } });
  const asked = Object.fromEntries(
    SYSTEMS.map((system) => [
      system.name,
      questionRequest.parse(
        requestOf(system, question, { language: 'zh', everything: { kind: ['x'] }, seed: 1, adapter: 'cat/1' }),
      ),
    ]),
  );
  expect(
    Object.values(asked).every(
      ({ question: words, temperature, adapter }) => words === '有多少针？' && temperature === 0 && adapter === 'cat/1',
    ),
  ).toBe(true);
  expect(asked['text_only']).toMatchObject({ mode: 'text', max_images: 0, filter: { sku: 'a' } });
  expect(asked['clip_text']).toMatchObject({ mode: 'visually_similar', max_images: 0, filter: { kind: ['x'], sku: 'a' } });
  expect(asked['whole']).toMatchObject({ mode: 'hybrid', filter: { sku: 'a' } });
  expect(asked['whole']?.max_images).toBeUndefined();
  expect(asked['withheld']).toMatchObject({ mode: 'hybrid', max_images: 0 });
  expect(asked['given']).toMatchObject({ k: 1, filter: { sku: 'a', item_id: 'item-1' } });
});

test('a filter that all pass has every value of an attribute that each item has, else every id', () => {
  expect(filterOfAll(items(item('a', { price: 1, kind: 'x' }), item('b', { price: 2, kind: 'y' })))).toEqual({
    kind: ['x', 'y'],
  });
  expect(filterOfAll(items(item('a', { kind: 'x' }), item('b', {})))).toEqual({ item_id: ['a', 'b'] });
  expect(filterOfAll(new Map())).toBeNull();
});
