import { expect, test } from '@jest/globals';
import type { SearchResult } from '@sightline/shared/contracts/http';
import { articleScores, fusedRanking, legRanking, rankingScores, withAlpha, withRrfK } from './ranked-search.ts';

type Leg = [rank: number | null, score: number | null];

function result(
  id: string,
  {
    image,
    words,
    text,
    keywords = [null, null],
    alignment = null,
    code = false,
    named = false,
  }: {
    image: Leg;
    words?: Leg;
    text: Leg;
    keywords?: Leg;
    alignment?: number | null;
    code?: boolean;
    named?: boolean;
  },
): SearchResult {
  const leg = ([rank, score]: Leg) => ({ rank, score });
  return {
    citation_id: 'c1',
    relevance_score: 0.5,
    asset_id: `asset-${id}`,
    item_id: id,
    object: null,
    title: id,
    text: '',
    attributes: {},
    explain: {
      image: leg(image),
      ...(words && { words: leg(words) }),
      text: leg(text),
      keywords: leg(keywords),
      alignment,
      code,
      named,
    },
  };
}

const results = [
  result('a', { image: [1, 0.4], text: [3, 0.2], alignment: 0.5 }),
  result('b', { image: [null, -0.2], text: [1, 0.8], keywords: [1, 7], alignment: 0.1 }),
  result('c', { image: [2, 0.3], text: [2, 0.5], alignment: 0.3 }),
];

test("each leg's own order is told from the explanation", () => {
  expect(fusedRanking(results)).toEqual(['a', 'b', 'c']);
  expect(legRanking(results, 'image')).toEqual(['a', 'c']);
  expect(legRanking(results, 'text')).toEqual(['b', 'c', 'a']);
  expect(legRanking(results, 'keywords')).toEqual(['b']);
  expect(legRanking(results, 'words')).toEqual([]);
  expect(rankingScores(['b', 'c', 'a'], new Set(['c']))).toMatchObject({ recall_1: 0, recall_5: 1, mrr: 0.5 });
});

test('another k of the rank fusion is worked out from the ranks; an exact code stays first, and a numbered name next', () => {
  // k = 60: a 1/61 + 1/63 = 0.03227, b 2/61 = 0.03279, c 2/62 = 0.03226.
  expect(withRrfK(results, 60)).toEqual(['b', 'a', 'c']);
  // k = 0: a 1 + 1/3, b 1 + 1, c 1/2 + 1/2.
  expect(withRrfK(results, 0)).toEqual(['b', 'a', 'c']);
  const coded = [...results, result('z', { image: [null, 0], text: [null, 0], code: true })];
  expect(withRrfK(coded, 60)[0]).toBe('z');
  const named = [...coded, result('n', { image: [null, 0], text: [null, 0], named: true })];
  expect(withRrfK(named, 60).slice(0, 2)).toEqual(['z', 'n']);
  const both = [...named, result('zz', { image: [null, 0], text: [null, 0], code: true, named: true })];
  expect(withRrfK(both, 60).slice(0, 3)).toEqual(['zz', 'z', 'n']);
  // Equal scores go by id.
  const equal = [result('y', { image: [1, 0], text: [2, 0] }), result('x', { image: [2, 0], text: [1, 0] })];
  expect(withRrfK(equal, 60)).toEqual(['x', 'y']);
});

test('another alpha is worked out from the cosines', () => {
  const both = [
    result('seen', { image: [1, 0.9], words: [1, 0.3], text: [2, 0.1] }),
    result('told', { image: [2, 0.1], words: [2, 0.1], text: [1, 0.9] }),
  ];
  expect(withAlpha(both, 1)).toEqual(['seen', 'told']);
  expect(withAlpha(both, 0)).toEqual(['told', 'seen']);
});

test("the article's measures are means of the first five", () => {
  const told = articleScores(results);
  expect(told.visual_relevance).toBeCloseTo((2.5 * 0.4 + 0 + 2.5 * 0.3) / 3, 12);
  expect(told.text_relevance).toBeCloseTo(0.5, 12);
  expect(told.alignment).toBeCloseTo(0.9, 12);
  const six = [...results, ...results].map((one) => ({ ...one }));
  expect(articleScores(six).alignment).toBeCloseTo(0.9 + 0.6, 12);
  expect(articleScores([])).toEqual({});
});
