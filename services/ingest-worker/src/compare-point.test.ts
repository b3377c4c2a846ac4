import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { passageAssetId, pictureAssetId } from '@sightline/shared/contracts/ids';
import type { AssetPoint } from '@sightline/shared/ports/vector-index';
import { openSqliteExpectedSet } from './adapters/sqlite-expected-set.ts';
import { comparePoint } from './core/compare-point.ts';
import type { ExpectedSet } from './core/expected-set.ts';

const SPEC = { image: { fingerprint: 'i', dimensions: 4 }, text: { fingerprint: 't', dimensions: 4 } };
const ID = pictureAssetId('t', '/b', 'a.png');
const UNIT = Float32Array.of(0.5, 0.5, 0.5, 0.5);

const POINT: AssetPoint = {
  assetId: ID,
  tenant: 't',
  kind: 'picture',
  object: { bucket: '/b', key: 'a.png', eTag: 'e1' },
  sha256: 'abc',
  sizeBytes: 3,
  widthPx: 1,
  heightPx: 1,
  records: [],
  passageNo: 0,
  deleted: false,
  deletedBecause: null,
  imageVersion: 1,
  recordVersion: 0,
  hasImage: true,
  hasText: false,
  indexedAt: 1,
  vectors: { image: UNIT },
};

let set: ExpectedSet;

beforeEach(() => {
  set = openSqliteExpectedSet();
  set.addPicture({ assetId: ID, bucket: '/b', key: 'a.png', eTag: 'e1' });
});

afterEach(() => set.close());

function compare(changes: Partial<AssetPoint>): string[] {
  const { findings, agreed } = comparePoint(set, { ...POINT, ...changes }, { spec: SPEC, isListed: () => true });
  return findings.length > 0 ? findings.map(({ kind, detail }) => `${kind}: ${detail}`) : [agreed ?? 'nothing'];
}

test('a point as it should be is agreed on', () => {
  expect(compare({})).toEqual(['indexed']);
});

test.each([
  [{ vectors: {} }, 'malformed: the image vector is missing'],
  [{ vectors: { image: Float32Array.of(1, 0, 0) } }, 'malformed: the image vector has 3 dimensions'],
  [{ vectors: { image: Float32Array.of(0.5, 0, 0, 0) } }, 'malformed: the image vector has length 0.5'],
  [{ vectors: { image: Float32Array.of(NaN, 0, 0, 0) } }, 'malformed: the image vector has length NaN'],
  [{ hasImage: false, vectors: {} }, 'malformed: no image vector'],
  [{ sha256: null }, 'malformed: no content hash'],
  [{ object: null }, 'malformed: a picture without an object'],
  [{ assetId: passageAssetId('t', 'x', 0) }, 'duplicate: the object has a point under another id'],
  [{ object: { bucket: '/b', key: 'a.png', eTag: 'e0' } }, 'stale: the object has changed'],
  [{ deleted: true, deletedBecause: 'gone' as const }, 'missing: a tombstone (gone) stands where the source has a picture'],
  [{ hasText: true, vectors: { image: UNIT, text: UNIT } }, 'malformed: a text vector without text'],
  [{ kind: 'passage' as const, object: null }, 'malformed: a passage without a record'],
])('%j is %s', (changes, expected) => {
  expect(compare(changes)).toContain(expected);
});

test('an absence is agreed on when the ledger has the failure of these bytes, not of older ones', () => {
  set.addFailure({ bucket: '/b', key: 'a.png', eTag: 'e0', code: 'picture_corrupt' });
  expect(compare({ deleted: true, deletedBecause: 'failed' })[0]).toMatch(/^missing/);
  set.addFailure({ bucket: '/b', key: 'a.png', eTag: 'e1', code: 'picture_corrupt' });
  expect(compare({ deleted: true, deletedBecause: 'failed' })).toEqual(['failed']);
});

test('a removal is agreed on while the bytes are those that were removed', () => {
  expect(compare({ deleted: true, deletedBecause: 'removed' })).toEqual(['removed']);
  expect(compare({ deleted: true, deletedBecause: 'removed', object: { bucket: '/b', key: 'a.png', eTag: 'e0' } })[0]).toMatch(
    /^missing/,
  );
});

test('the order of attributes and the white space between passages make no difference', () => {
  const item = { itemId: 'A', title: 'T', text: 'One.  Two.', attributes: { a: 1, b: 'x' }, pictures: [] };
  set.addItem(item, [{ assetId: ID, bucket: '/b', key: 'a.png', eTag: null }], 0);
  const record = { itemId: 'A', title: 'T', text: 'One. Two.', attributes: { b: 'x', a: 1 }, pictures: [], pushed: false };
  const vectors = { image: UNIT, text: UNIT };
  expect(compare({ records: [record], hasText: true, vectors })).toEqual(['indexed']);
  expect(compare({ records: [{ ...record, attributes: { a: 2, b: 'x' } }], hasText: true, vectors })[0]).toMatch(/^malformed/);
});
