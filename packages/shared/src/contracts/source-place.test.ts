import { expect, test } from '@jest/globals';
import { contains, overlaps, sourceKey, sourcePlace } from './source-place.ts';

test('a manifest in the store lies in its folder, and what it names lies there too', () => {
  const place = (uri: string) => sourcePlace({ type: 'manifest', uri });
  expect(place('s3://shop/a/b/m.jsonl')).toEqual({ bucket: 'shop', prefix: 'a/b/', manifestKey: 'a/b/m.jsonl' });
  expect(place('s3://shop/m.jsonl')).toEqual({ bucket: 'shop', prefix: '', manifestKey: 'm.jsonl' });
  // Keys are as they are: nothing is decoded or cleaned.
  expect(place('s3://shop/a%20b/../m.jsonl')).toMatchObject({ prefix: 'a%20b/../', manifestKey: 'a%20b/../m.jsonl' });
  for (const uri of ['s3://shop', 's3://shop/', 's3://', 's3:///m.jsonl', 's3://shop/folder/']) expect(place(uri)).toBeNull();
});

test('a manifest on disk is as before: its folder is the bucket', () => {
  expect(sourcePlace({ type: 'manifest', uri: 'file:///a%20b/./m.jsonl' })).toEqual({
    bucket: '/a b',
    prefix: '',
    manifestKey: 'm.jsonl',
  });
  expect(sourcePlace({ type: 'manifest', uri: 'm.jsonl' })).toBeNull();
});

test('places overlap when one lies in the other, in one bucket', () => {
  const at = (bucket: string, prefix: string) => ({ bucket, prefix });
  expect(overlaps(at('b', ''), at('b', 'x/'))).toBe(true);
  expect(overlaps(at('b', 'x/y'), at('b', 'x/'))).toBe(true);
  expect(overlaps(at('b', 'x/'), at('b', 'xy/'))).toBe(false);
  // As prefixes go: `x` holds `x/` and `xy/`.
  expect(overlaps(at('b', 'x'), at('b', 'xy/'))).toBe(true);
  expect(overlaps(at('b', ''), at('c', ''))).toBe(false);
  expect(contains(at('b', 'x/'), { bucket: 'b', key: 'x/1.png' })).toBe(true);
  expect(contains(at('b', 'x/'), { bucket: 'b', key: 'xy/1.png' })).toBe(false);
});

test('one source has one key, whatever its type says', () => {
  expect(sourceKey({ type: 'manifest', uri: 's3://b/m.jsonl' })).not.toBe(sourceKey({ type: 'prefix', bucket: 'b', prefix: '' }));
  expect(sourceKey({ type: 'directory', path: '/a/' })).toBe(sourceKey({ type: 'directory', path: '/a/.' }));
});
