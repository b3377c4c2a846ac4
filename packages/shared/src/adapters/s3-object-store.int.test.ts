import { ListMultipartUploadsCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { objectStoreContract } from '../../testing/object-store-contract.ts';
import { openS3Server, ownS3Missing, s3Missing, type S3Server } from '../../testing/s3-server.ts';
import { SYSTEM_BUCKET } from '../contracts/ids.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { sleep } from '../runtime/sleep.ts';
import type { S3Place } from './s3-object-store-client.ts';
import { openS3ObjectStore, type S3Deps } from './s3-object-store.ts';

const DEPS: S3Deps = { sleep, random: Math.random, now: Date.now, onSkip: () => undefined };
const TEXT = { contentType: 'text/plain' };

// The name says why, where it is skipped.
const withOwn = ownS3Missing ? test.skip : test;
const named = (name: string): string => (ownS3Missing ? `${name} (${ownS3Missing})` : name);
const suite = s3Missing === null ? describe : describe.skip;

suite(`the S3 object store on a real server${s3Missing === null ? '' : `: ${s3Missing}`}`, () => {
  let server: S3Server;
  let bucket: string;

  beforeAll(async () => {
    server = await openS3Server();
  }, 60_000);

  afterAll(async () => {
    await server.close();
  });

  beforeEach(async () => {
    bucket = await server.newBucket();
  });

  objectStoreContract(async () => ({
    store: await openS3ObjectStore(server.newPlace(), DEPS),
    bucket: await server.newBucket(),
    close: async () => undefined,
  }));

  async function withStore<T>(
    run: (store: ObjectStore, place: S3Place) => Promise<T>,
    changed: Partial<S3Place> = {},
  ): Promise<T> {
    const place = { ...server.newPlace(), ...changed };
    const store = await openS3ObjectStore(place, DEPS);
    try {
      return await run(store, place);
    } finally {
      await store.close();
    }
  }

  async function keysOf(store: ObjectStore, place: { prefix?: string; startAfter?: string } = {}): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of store.list({ bucket, prefix: '', ...place })) keys.push(key);
    return keys;
  }

  test('the system bucket is made at opening, found at the next, and is no source by its own name', async () => {
    await withStore(async (store, place) => {
      await store.put({ bucket: SYSTEM_BUCKET, key: 'queries/a' }, Buffer.from('x'), TEXT);
      expect(await store.head({ bucket: SYSTEM_BUCKET, key: 'queries/a' })).toMatchObject({
        bucket: SYSTEM_BUCKET,
        key: 'queries/a',
      });
      const byName = store.head({ bucket: place.systemBucket, key: 'queries/a' });
      await expect(byName).rejects.toMatchObject({ code: 'source_not_allowed' });
      const again = await openS3ObjectStore(place, DEPS);
      expect((await again.get({ bucket: SYSTEM_BUCKET, key: 'queries/a' }, { maxBytes: 9 })).bytes.toString()).toBe('x');
      await again.close();
    });
  });

  test('an upload of many parts that is aborted leaves none of them', async () => {
    await withStore(async (store, place) => {
      const controller = new AbortController();
      const body = (async function* () {
        for (let count = 0; count < 40; count++) {
          if (count === 36) controller.abort();
          yield Buffer.alloc(1_000_000);
        }
      })();
      const put = store.putStream({ bucket, key: 'large' }, body, { ...TEXT, signal: controller.signal });
      await expect(put).rejects.toMatchObject({ name: 'AbortError' });
      const client = new S3Client(place);
      expect((await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads ?? []).toEqual([]);
      client.destroy();
      expect(await keysOf(store)).toEqual([]);
    });
  });

  test('expire takes many at once, and counts them', async () => {
    await withStore(async (store) => {
      const refs = Array.from({ length: 30 }, (_, index) => ({ bucket: SYSTEM_BUCKET, key: `queries/${index}` }));
      await Promise.all(refs.map((ref) => store.put(ref, Buffer.from('x'), TEXT)));
      expect(await store.expire({ bucket: SYSTEM_BUCKET, prefix: 'queries/', olderThanMs: -60_000 })).toBe(30);
      expect(await store.head(refs[0] ?? { bucket: '', key: '' })).toBeNull();
    });
  });

  test('wrong credentials are object_forbidden at opening, at once', async () => {
    const credentials = { accessKeyId: 'nobody', secretAccessKey: 'nothing' };
    await expect(openS3ObjectStore({ ...server.newPlace(), credentials }, DEPS)).rejects.toMatchObject({
      code: 'object_forbidden',
    });
  });

  test('names that URLs and XML have trouble with', async () => {
    const keys = [
      'a+b',
      'a b',
      'a%20b',
      'a%2Fb',
      'q\'"<&>',
      'k?x#y',
      'a;b=c,d:@',
      '~*!()',
      'back\\slash',
      'tab\tx',
      'ß/ｱ',
      '😀/主板',
    ];
    const long = Array.from({ length: 5 }, () => 'x'.repeat(200)).join('/');
    await withStore(async (store) => {
      for (const key of [...keys, long]) await store.put({ bucket, key }, Buffer.from(key), TEXT);
      expect((await keysOf(store)).toSorted()).toEqual([...keys, long].toSorted());
      for (const key of [...keys, long]) {
        const listed = await store.head({ bucket, key });
        expect((await store.get({ bucket, key }, { maxBytes: 2_000, ifMatch: listed?.eTag })).bytes.toString()).toBe(key);
        await store.delete({ bucket, key });
      }
      expect(await keysOf(store)).toEqual([]);
    });
  });

  test('a listing of many pages in folders is whole, in byte order, and resumes anywhere', async () => {
    const folders = ['a', 'a-b', 'a.b', 'a0', 'b/c', 'b/d', 'b0', 'ä', '😀'];
    const wanted = Array.from({ length: 500 }, (_, index) => `top/${folders[index % folders.length]}/${index}`);
    wanted.push('top/a-', 'top/a0-x', 'top-x', 'top0');
    wanted.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    await withStore(
      async (store) => {
        for (let at = 0; at < wanted.length; at += 32)
          await Promise.all(wanted.slice(at, at + 32).map((key) => store.put({ bucket, key }, Buffer.from('x'), TEXT)));
        expect(await keysOf(store)).toEqual(wanted);
        await fc.assert(
          fc.asyncProperty(
            fc.nat(wanted.length - 1),
            fc.constantFrom('', 'to', 'top/', 'top/a', 'top/b/', 'top/ä/1'),
            async (cut, prefix) => {
              const inPrefix = wanted.slice(cut + 1).filter((key) => key.startsWith(prefix));
              expect(await keysOf(store, { prefix, startAfter: wanted[cut] })).toEqual(inPrefix);
            },
          ),
          { seed: 3, numRuns: 25 },
        );
      },
      { listAhead: { requests: 4, keys: 400, pageKeys: 40 } },
    );
  }, 60_000);

  withOwn(named('a store that is killed is unavailable, and goes on when it is back'), async () => {
    const { kill, start } = server;
    if (!kill || !start) throw new Error('the server is not ours');
    await withStore(
      async (store) => {
        await store.put({ bucket, key: 'a' }, Buffer.from('x'), TEXT);
        await kill();
        await expect(store.head({ bucket, key: 'a' })).rejects.toMatchObject({ code: 'object_store_unavailable' });
        await expect(keysOf(store)).rejects.toMatchObject({ code: 'object_store_unavailable' });
        await start();
        expect(await keysOf(store)).toEqual(['a']);
      },
      { maxAttempts: 2 },
    );
  });

  withOwn(named('a request rides out a restart'), async () => {
    const { kill, start } = server;
    if (!kill || !start) throw new Error('the server is not ours');
    await withStore(
      async (store) => {
        await kill();
        const put = store.put({ bucket, key: 'a' }, Buffer.from('x'), TEXT);
        await start();
        await put;
        expect(await keysOf(store)).toEqual(['a']);
      },
      { maxAttempts: 10 },
    );
  });
});
