import { expect, test } from '@jest/globals';
import type { Filter } from '../contracts/filter.ts';
import type { PointRecord } from '../contracts/records.ts';
import type { AssetPoint } from '../ports/vector-index.ts';
import { joinCandidates, type LegAnswer } from './candidates.ts';
import { countCodes } from './codes.ts';
import { codesIn } from './analyser.ts';
import { cosine } from './cosine.ts';
import { matchesFilter } from './filter-match.ts';

const record = (itemId: string, more: Partial<PointRecord> = {}): PointRecord => ({
  itemId,
  title: '',
  text: '',
  attributes: {},
  pictures: [],
  pushed: false,
  ...more,
});

function point(assetId: string, more: Partial<AssetPoint> = {}): AssetPoint {
  const records = more.records ?? [];
  return {
    assetId,
    tenant: 't',
    kind: 'picture',
    object: { bucket: 'b', key: assetId, eTag: null },
    sha256: null,
    sizeBytes: null,
    widthPx: null,
    heightPx: null,
    records,
    passageNo: 0,
    deleted: false,
    deletedBecause: null,
    imageVersion: 1,
    recordVersion: 1,
    hasImage: true,
    hasText: records.length > 0,
    indexedAt: 0,
    ...more,
  };
}

const join = (legs: Partial<LegAnswer>[], points: AssetPoint[], options: Partial<Parameters<typeof joinCandidates>[2]> = {}) =>
  joinCandidates(
    legs.map((leg) => ({ name: 'words', vector: null, hits: [], k: 10, ...leg })),
    new Map(points.map((one) => [one.assetId, one])),
    { groupBy: 'item', filter: undefined, ...options },
  );

test('an item takes its best asset of each leg, and its rank counts items, not assets', () => {
  const found = join(
    [
      {
        name: 'words',
        hits: [
          { assetId: 'a1', score: 0.9 },
          { assetId: 'a2', score: 0.8 },
          { assetId: 'b1', score: 0.7 },
        ],
      },
      {
        name: 'text',
        hits: [
          { assetId: 'b1', score: 0.6 },
          { assetId: 'a2', score: 0.5 },
          { assetId: 'a1', score: 0.5 },
        ],
      },
    ],
    [point('a1', { records: [record('A')] }), point('a2', { records: [record('A')] }), point('b1', { records: [record('B')] })],
  );
  expect(
    found.map(({ itemId, signals, asset }) => ({ itemId, words: signals.words, text: signals.text, shown: asset.assetId })),
  ).toEqual([
    { itemId: 'A', words: { rank: 1, score: 0.9 }, text: { rank: 2, score: 0.5 }, shown: 'a1' },
    { itemId: 'B', words: { rank: 2, score: 0.7 }, text: { rank: 1, score: 0.6 }, shown: 'b1' },
  ]);
});

test('only the first k items of a leg are listed by it', () => {
  const found = join(
    [{ hits: ['a', 'b', 'c'].map((assetId) => ({ assetId, score: 0.5 })), k: 2 }],
    ['a', 'b', 'c'].map((id) => point(id, { records: [record(id)] })),
  );
  expect(found.map((candidate) => candidate.signals.words.rank)).toEqual([1, 2, null]);
});

test('a cosine that a leg did not report is computed from the stored vector; without one it is null, not zero', () => {
  const vector = Float32Array.from([1, 0]);
  const found = join(
    [
      { name: 'words', vector, hits: [] },
      {
        name: 'text',
        vector,
        hits: [
          { assetId: 'a', score: 1 },
          { assetId: 'b', score: 0.5 },
        ],
      },
    ],
    [
      point('a', { vectors: { image: Float32Array.from([0.6, 0.8]) } }),
      point('b', { kind: 'passage', object: null, records: [record('B')] }),
    ],
  );
  expect(found[0]?.signals.words).toEqual({ rank: null, score: expect.closeTo(0.6, 6) });
  expect(found[1]?.signals.words).toEqual({ rank: null, score: null });
});

test('a picture of two items stands for each that satisfies the filter', () => {
  const shared = point('p', {
    records: [record('A', { attributes: { kind: 'shoe' } }), record('B', { attributes: { kind: 'lamp' } })],
  });
  const items = (filter: Parameters<typeof matchesFilter>[1]) =>
    join([{ hits: [{ assetId: 'p', score: 1 }] }], [shared], { filter }).map((candidate) => candidate.itemId);
  expect(items(undefined)).toEqual(['A', 'B']);
  expect(items({ kind: 'lamp' })).toEqual(['B']);
});

test('a text that was found in a passage is told with a picture of its item', () => {
  const [found] = join(
    [
      {
        name: 'text',
        hits: [
          { assetId: 'passage', score: 0.9 },
          { assetId: 'picture', score: 0.2 },
        ],
      },
    ],
    [
      point('picture', { records: [record('A', { text: 'first' })] }),
      point('passage', { kind: 'passage', object: null, records: [record('A', { text: 'third' })] }),
    ],
  );
  expect(found).toMatchObject({ itemId: 'A', asset: { assetId: 'picture' }, record: { text: 'third' } });
});

test('tombstones and hits that are gone are skipped', () => {
  const found = join(
    [
      {
        hits: [
          { assetId: 'dead', score: 1 },
          { assetId: 'missing', score: 0.9 },
          { assetId: 'live', score: 0.8 },
        ],
      },
    ],
    [point('dead', { deleted: true }), point('live')],
  );
  expect(found.map((candidate) => [candidate.asset.assetId, candidate.signals.words.rank])).toEqual([['live', 1]]);
});

test('filters compare values with their types, lists as any of, ranges on numbers', () => {
  const one = record('X', { attributes: { price: 10, tags: ['a', 'b'], ok: true, size: '10' } });
  const matching: Filter[] = [
    { price: 10 },
    { price: { gte: 10, lt: 11 } },
    { tags: 'b' },
    { tags: ['z', 'a'] },
    { ok: true },
    { item_id: 'X' },
    { size: '10', price: { gt: 9.5 } },
    {},
  ];
  const failing: Filter[] = [
    { price: '10' },
    { price: { gt: 10 } },
    { tags: 'c' },
    { ok: false },
    { size: { gte: 1 } },
    { none: 1 },
    { price: 10, ok: false },
  ];
  for (const filter of matching) expect({ filter, matches: matchesFilter(one, filter) }).toEqual({ filter, matches: true });
  for (const filter of failing) expect({ filter, matches: matchesFilter(one, filter) }).toEqual({ filter, matches: false });
});

test("codes of a query are counted where they stand in a record's id, words or attributes", () => {
  const one = record('SKU-0042', { title: 'Board', text: 'fits AM4', attributes: { sockets: ['LGA1700'] } });
  expect(countCodes(one, codesIn('board for am4'))).toBe(1);
  expect(countCodes(one, codesIn('AM4 or LGA1700, sku-0042'))).toBe(3);
  expect(countCodes(one, codesIn('AM5'))).toBe(0);
  expect(countCodes(one, [])).toBe(0);
});

test('vectors of two spaces are not compared', () => {
  expect(() => cosine([1, 0], [1, 0, 0])).toThrow(RangeError);
});
