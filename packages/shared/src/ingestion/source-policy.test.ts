import { expect, test } from '@jest/globals';
import { assertAllowed } from './source-policy.ts';

function isAllowed(place: string, allowedSources: string[], tenant = 'acme'): boolean {
  const cut = place.indexOf('/');
  try {
    assertAllowed({ bucket: place.slice(0, cut), prefix: place.slice(cut + 1) }, { tenant, allowedSources });
    return true;
  } catch {
    return false;
  }
}

test('by default nothing of the object store may be ingested, and the answer names the setting', () => {
  expect(() => assertAllowed({ bucket: 'b', prefix: '' }, { tenant: 't', allowedSources: [] })).toThrow(/INGEST_SOURCES/);
});

test('a bucket opens all of it, a folder only what lies in it', () => {
  expect(isAllowed('photos/', ['photos'])).toBe(true);
  expect(isAllowed('photos/a/b', ['photos'])).toBe(true);
  expect(isAllowed('photos/a', ['photos/'])).toBe(true);
  expect(isAllowed('photos-2/', ['photos'])).toBe(false);
  expect(isAllowed('photos/acme/', ['photos/acme'])).toBe(true);
  expect(isAllowed('photos/acme/x', ['photos/acme', 'other'])).toBe(true);
  expect(isAllowed('photos/', ['photos/acme'])).toBe(false);
});

test('a prefix is not a folder: what begins like the folder is not in it', () => {
  expect(isAllowed('photos/acme', ['photos/acme'])).toBe(false);
  expect(isAllowed('photos/acme-secret/', ['photos/acme'])).toBe(false);
});

test('each tenant has its own place', () => {
  const allowed = ['catalogue/{tenant}', '{tenant}-uploads'];
  expect(isAllowed('catalogue/acme/shoes', allowed)).toBe(true);
  expect(isAllowed('catalogue/acme/shoes', allowed, 'other')).toBe(false);
  expect(isAllowed('acme-uploads/', allowed)).toBe(true);
  expect(isAllowed('acme-uploads/', allowed, 'other')).toBe(false);
});

test("the stack's own bucket and what is no bucket are refused whatever is allowed", () => {
  expect(isAllowed('sightline/', ['sightline'])).toBe(false);
  expect(() => assertAllowed({ bucket: '/etc', prefix: '' }, { tenant: 't', allowedSources: ['/etc'] })).toThrow();
});

test('segments that a file system would resolve are refused', () => {
  for (const prefix of ['acme/../other/', 'acme/./', '../', 'acme/x/../../other/y'])
    expect(isAllowed(`photos/${prefix}`, ['photos', 'photos/acme'])).toBe(false);
  expect(isAllowed('photos/acme/..a/b.c/.d', ['photos/acme'])).toBe(true);
});
