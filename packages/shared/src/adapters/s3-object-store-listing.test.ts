import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { flatKeys, folderKeys, givenKeys, stubPage } from '../../testing/stub-s3-keys.ts';
import { openStubS3, type StubS3, type StubS3Options } from '../../testing/stub-s3-listing.ts';
import type { ObjectInfo } from '../ports/object-store.ts';
import { compareKeys } from './s3-object-store-key.ts';
import { listInOrder } from './s3-object-store-listing.ts';
import type { FetchPage } from './s3-object-store-page.ts';
import { openS3ObjectStore } from './s3-object-store.ts';

const DEPS = { sleep: async () => undefined, random: () => 0.5, now: Date.now, onSkip: () => undefined };

async function withStub<T>(
  options: StubS3Options,
  run: (list: (place?: { prefix?: string; startAfter?: string }) => AsyncIterable<ObjectInfo>, stub: StubS3) => Promise<T>,
): Promise<T> {
  const stub = await openStubS3(options);
  const store = await openS3ObjectStore(
    { ...stub.place, listAhead: { requests: 4, keys: 4_000, pageKeys: options.maxPageKeys ?? 1_000 } },
    DEPS,
  );
  try {
    return await run((place = {}) => store.list({ bucket: stub.bucket, prefix: '', ...place }), stub);
  } finally {
    await store.close();
    await stub.close();
  }
}

async function keysOf(listing: AsyncIterable<ObjectInfo>): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of listing) keys.push(key);
  return keys;
}

function infoOf(key: string): ObjectInfo {
  return { bucket: 'stub', key, eTag: key, sizeBytes: 1, modifiedAt: new Date(0) };
}

const byBytes = (keys: Iterable<string>): string[] => [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

test('keys are compared by their bytes, also beyond the first plane', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
      expect(Math.sign(compareKeys(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
    {
      seed: 7,
      numRuns: 2_000,
      examples: [
        ['😀', '\uFF21'],
        ['a/', 'a0'],
        ['a', 'a/'],
      ],
    },
  );
});

// Names that sort around the slash, between `a/` and `a0`, at the level itself and below one another.
const segment = fc.constantFrom(
  'a',
  'a-',
  'a.',
  'a0',
  'a b',
  'b',
  'B',
  '',
  'ä',
  '主',
  '😀',
  '\uFF21',
  '+',
  '%2F',
  '\u{10FFFF}',
  '\r',
  '<&>',
);
const anyKey = fc
  .tuple(fc.array(segment, { minLength: 0, maxLength: 3 }), fc.constantFrom('x', 'y', '0', '.', '/x'))
  .map(([segments, end]) => [...segments, end].join('/'));

test('any keys, prefix, start and page size: what is told is what a sorted list tells', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(anyKey, { maxLength: 120 }),
      fc.record({
        maxPageKeys: fc.integer({ min: 1, max: 40 }),
        skipsStartedPrefix: fc.boolean(),
        includesStartAfter: fc.boolean(),
      }),
      fc.nat(),
      fc.nat(),
      async (keys, options, pick, cut) => {
        const sorted = byBytes(keys);
        const picked = sorted[pick % Math.max(1, sorted.length)] ?? 'a';
        const prefix = picked.slice(0, cut % (picked.length + 1)).toWellFormed();
        await withStub({ ...options, keys: givenKeys(keys) }, async (list) => {
          expect(await keysOf(list())).toEqual(sorted);
          expect(await keysOf(list({ prefix }))).toEqual(sorted.filter((key) => key.startsWith(prefix)));
          for (const startAfter of [picked, `${picked}/`, picked.slice(0, -1).toWellFormed()]) {
            const after = Buffer.from(startAfter);
            const wanted = sorted.filter((key) => key.startsWith(prefix) && Buffer.compare(Buffer.from(key), after) > 0);
            expect(await keysOf(list({ prefix, startAfter }))).toEqual(wanted);
          }
        });
      },
    ),
    { seed: 11, numRuns: 30 },
  );
});

test('folders of many keys are split into shards, and told in the same order', async () => {
  const name = fc.constantFrom('a', 'a-', 'a.', 'a0', 'b', 'ä', '😀');
  const folder = fc.record({
    path: fc.array(name, { maxLength: 2 }),
    size: fc.oneof(fc.integer({ min: 6, max: 20 }), fc.integer({ min: 0, max: 60 })),
  });
  const seen = { levels: 0, groups: 0, most: 0 };
  await fc.assert(
    fc.asyncProperty(
      fc.array(folder, { minLength: 1, maxLength: 40, size: 'max' }),
      fc.record({
        pageKeys: fc.oneof(fc.integer({ min: 2, max: 10 }), fc.integer({ min: 20, max: 60 })),
        skipsStartedPrefix: fc.boolean(),
      }),
      fc.nat(),
      fc.nat(),
      async (folders, { pageKeys, skipsStartedPrefix }, pick, cut) => {
        const all = givenKeys(
          // A key of a folder's own name, with its slash, is the first in it.
          folders.flatMap(({ path, size }) =>
            Array.from({ length: size }, (_, index) => [...path, index === 0 && path.length > 0 ? '' : `${index * 7}`].join('/')),
          ),
        );
        const sorted = [...new Set(Array.from({ length: all.count }, (_, index) => all.keyAt(index)))];
        const keys = { count: sorted.length, keyAt: (index: number) => sorted[index] ?? '' };
        let underWay = 0;
        // The same pages as over HTTP, hundreds of times as fast; each comes at a time of its own.
        const fetchPage: FetchPage = async ({ prefix, startAfter, token, isDelimited }) => {
          seen.most = Math.max(seen.most, (underWay += 1));
          seen.levels += Number(isDelimited);
          seen.groups += Number(startAfter?.endsWith('.\u{10FFFF}') ?? false);
          const startAt = token === undefined ? undefined : Number(token);
          const page = stubPage(keys, { prefix, startAfter, startAt, isDelimited, maxKeys: pageKeys, skipsStartedPrefix });
          for (let turn = prefix.length % 4; turn >= 0; turn--) await Promise.resolve();
          underWay -= 1;
          return {
            entries: page.told.map((one) => (typeof one === 'string' ? one : infoOf(keys.keyAt(one)))),
            token: page.next?.toString() ?? null,
          };
        };
        const list = (place: { prefix: string; startAfter?: string }) =>
          keysOf(listInOrder(fetchPage, { ...place, ahead: { requests: 4, keys: 10 * pageKeys, pageKeys } }));
        const startAfter = sorted[pick % Math.max(1, sorted.length)] ?? 'a';
        const prefix = startAfter.slice(0, cut % (startAfter.length + 1)).toWellFormed();
        expect(await list({ prefix: '' })).toEqual(sorted);
        expect(await list({ prefix, startAfter })).toEqual(
          sorted.slice(sorted.indexOf(startAfter) + 1).filter((key) => key.startsWith(prefix)),
        );
      },
    ),
    { seed: 12, numRuns: 300 },
  );
  expect(seen.most).toBe(4);
  expect(seen.levels).toBeGreaterThan(300);
  expect(seen.groups).toBeGreaterThan(30);
});

test('many folders are read several at once, with hardly more requests than pages', async () => {
  await withStub({ keys: folderKeys(20_000, 100), faults: { latencyMs: 5 } }, async (list, stub) => {
    const keys = await keysOf(list({ prefix: 'catalogue/' }));
    expect(keys).toHaveLength(20_000);
    expect(keys).toEqual(byBytes(keys));
    expect(stub.maxListsAtOnce()).toBe(4);
    expect(stub.counts.list + stub.counts.level).toBeLessThan(20 * 2);
  });
});

test('folders of a key or two are not worth a request each', async () => {
  await withStub({ keys: folderKeys(5_000, 2_500) }, async (list, stub) => {
    expect(await keysOf(list())).toHaveLength(5_000);
    expect(stub.counts.list + stub.counts.level).toBeLessThan(5 + 3);
  });
});

test('more than a thousand folders of one level', async () => {
  await withStub({ keys: folderKeys(18_000, 1_200) }, async (list, stub) => {
    expect(await keysOf(list())).toHaveLength(18_000);
    expect(stub.counts.level).toBeGreaterThan(1);
    expect(stub.counts.list + stub.counts.level).toBeLessThan(18 * 2 + 5);
  });
});

test('a flat prefix costs its pages and no more', async () => {
  await withStub({ keys: flatKeys(5_500) }, async (list, stub) => {
    expect(await keysOf(list({ prefix: 'pictures/' }))).toHaveLength(5_500);
    expect(stub.counts).toMatchObject({ list: 6, level: 0 });
  });
});

test('a look at the first key costs one request', async () => {
  await withStub({ keys: folderKeys(1_000_000, 1_000) }, async (list, stub) => {
    for await (const { key } of list()) {
      expect(key).toBe('catalogue/0000000/000000000.jpg');
      break;
    }
    expect(stub.counts).toMatchObject({ list: 1, level: 0 });
  });
});

test('a reader that stands still is not read ahead of without end', async () => {
  await withStub({ keys: folderKeys(1_000_000, 1_000) }, async (list, stub) => {
    let taken = 0;
    for await (const { key } of list()) {
      expect(key).toBeTruthy();
      taken += 1;
      if (taken !== 2_000) continue;
      // Long enough for a hundred pages, if they were asked for.
      await new Promise((resolve) => setTimeout(resolve, 500));
      break;
    }
    // 4,000 keys may be held; every request brings a thousand, or the names of a level.
    expect(stub.counts.list + stub.counts.level).toBeLessThan(14);
  });
});

test('a store that lists in another order is found out', async () => {
  const keys = { count: 3, keyAt: (index: number) => ['b', 'a', 'c'][index] ?? '' };
  await withStub({ keys }, async (list) => {
    await expect(keysOf(list())).rejects.toMatchObject({ code: 'object_listing_unordered' });
  });
});

test('503 to four requests in ten: the listing is whole', async () => {
  await withStub({ keys: folderKeys(8_000, 8), faults: { unavailableShare: 0.4 }, seed: 5 }, async (list, stub) => {
    // Five attempts each would fail one request in a hundred.
    const keys: string[] = [];
    for (let isDone = false; !isDone;) {
      try {
        for await (const { key } of list({ startAfter: keys.at(-1) ?? '' })) keys.push(key);
        isDone = true;
      } catch (error) {
        expect(error).toMatchObject({ code: 'object_store_unavailable' });
      }
    }
    expect(keys).toHaveLength(8_000);
    expect(stub.counts.list).toBeGreaterThan(8);
  });
});

test('403 ends a listing at once', async () => {
  await withStub({ keys: flatKeys(10) }, async (list, stub) => {
    stub.faults.forbidAll = true;
    await expect(keysOf(list())).rejects.toMatchObject({ code: 'object_forbidden' });
    expect(stub.counts.list).toBe(1);
  });
});

test('an abort ends a listing that waits for a page', async () => {
  await withStub({ keys: folderKeys(100_000, 10), faults: { latencyMs: 200 } }, async (_, stub) => {
    const store = await openS3ObjectStore(stub.place, DEPS);
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    const startedAt = performance.now();
    const listing = keysOf(store.list({ bucket: stub.bucket, prefix: '', signal: controller.signal }));
    await expect(listing).rejects.toMatchObject({ name: 'AbortError' });
    expect(performance.now() - startedAt).toBeLessThan(190);
    await store.close();
  });
});
