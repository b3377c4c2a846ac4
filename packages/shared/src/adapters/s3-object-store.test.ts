import { expect, test } from '@jest/globals';
import { flatKeys, givenKeys } from '../../testing/stub-s3-keys.ts';
import { openStubS3, type StubS3, type StubS3Options } from '../../testing/stub-s3-listing.ts';
import { SYSTEM_BUCKET } from '../contracts/ids.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { S3Place } from './s3-object-store-client.ts';
import { openS3ObjectStore, type S3Deps } from './s3-object-store.ts';

const BODY = Buffer.alloc(20_000, 'abcdefghij');
const FIRST = 'pictures/000000000.jpg';

async function withStub(
  { place, deps, ...options }: Partial<StubS3Options> & { place?: Partial<S3Place>; deps?: Partial<S3Deps> },
  run: (store: ObjectStore, stub: StubS3, ref: { bucket: string; key: string }) => Promise<void>,
): Promise<void> {
  const stub = await openStubS3({ keys: flatKeys(300), bodyOf: () => BODY, ...options });
  const store = await openS3ObjectStore(
    { ...stub.place, ...place },
    { sleep: async () => undefined, random: () => 0.5, now: Date.now, onSkip: () => undefined, ...deps },
  );
  try {
    await run(store, stub, { bucket: stub.bucket, key: FIRST });
  } finally {
    await store.close();
    await stub.close();
  }
}

test('503 is asked again, with growing delays, and no more often than maxAttempts', async () => {
  const delays: number[] = [];
  const deps = { random: () => 1, sleep: async (ms: number) => void delays.push(ms) };
  await withStub({ deps }, async (store, stub, ref) => {
    stub.faults.unavailableShare = 1;
    await expect(store.head(ref)).rejects.toMatchObject({ code: 'object_store_unavailable' });
    expect(stub.counts.head).toBe(5);
    expect(delays).toHaveLength(4);
    // A head has no words, so the SDK cannot tell throttling from another 503.
    expect(delays).toEqual([100, 200, 400, 800]);
    delays.length = 0;
    await expect(store.get(ref, { maxBytes: 1e6 })).rejects.toMatchObject({ code: 'object_store_unavailable' });
    expect(delays).toEqual([500, 1_000, 2_000, 4_000]);
  });
});

test('of many gets under 503 to three in ten, none fails: there is no budget that runs dry', async () => {
  await withStub({ faults: { unavailableShare: 0.3 }, seed: 3, place: { maxAttempts: 12 } }, async (store, stub, { bucket }) => {
    const keys = Array.from({ length: 300 }, (_, index) => stub.place && flatKeys(300).keyAt(index));
    for (const key of keys) expect((await store.get({ bucket, key }, { maxBytes: 1e6 })).bytes).toHaveLength(20_000);
    expect(stub.counts.get).toBeGreaterThan(380);
  });
});

test('what cannot pass is asked once: 403, 404, 412', async () => {
  await withStub({}, async (store, stub, ref) => {
    await expect(store.get(ref, { maxBytes: 1e6, ifMatch: 'other' })).rejects.toMatchObject({ code: 'object_changed' });
    await expect(store.get({ ...ref, key: 'absent' }, { maxBytes: 1e6 })).rejects.toMatchObject({ code: 'object_not_found' });
    await expect(store.get({ ...ref, bucket: 'absent' }, { maxBytes: 1e6 })).rejects.toMatchObject({ code: 'source_not_found' });
    stub.faults.forbidAll = true;
    await expect(store.get(ref, { maxBytes: 1e6 })).rejects.toMatchObject({ code: 'object_forbidden' });
    await expect(store.put({ ...ref, bucket: SYSTEM_BUCKET }, BODY, { contentType: 'x/y' })).rejects.toMatchObject({
      code: 'object_forbidden',
    });
    expect(stub.counts).toMatchObject({ get: 4, put: 1 });
    await expect(store.head(ref)).rejects.toMatchObject({ code: 'object_forbidden' });
    expect(stub.counts.head).toBe(1);
  });
});

test('a truncated body is asked for again, and never a short picture', async () => {
  await withStub({ faults: { truncatedShare: 0.5 }, seed: 4 }, async (store, stub, ref) => {
    for (let count = 0; count < 30; count++) {
      const bytes = await store.get(ref, { maxBytes: 1e6 }).then(
        (got) => got.bytes,
        (error: unknown) => {
          expect(error).toMatchObject({ code: 'object_store_unavailable' });
          return BODY;
        },
      );
      expect(bytes.equals(BODY)).toBe(true);
    }
    expect(stub.counts.get).toBeGreaterThan(45);
    stub.faults.truncatedShare = 1;
    stub.counts.get = 0;
    await expect(store.get(ref, { maxBytes: 1e6 })).rejects.toMatchObject({ code: 'object_store_unavailable' });
    expect(stub.counts.get).toBe(5);
  });
});

test('a stalled body is given up and asked for again', async () => {
  await withStub({ faults: { stalledShare: 0.4 }, seed: 6, place: { stallTimeoutMs: 50 } }, async (store, stub, ref) => {
    for (let count = 0; count < 8; count++) expect((await store.get(ref, { maxBytes: 1e6 })).bytes.equals(BODY)).toBe(true);
    expect(stub.counts.get).toBeGreaterThan(8);
  });
});

test('a stream goes on where it broke off', async () => {
  await withStub({ faults: { truncatedShare: 0.7 }, seed: 9, place: { maxAttempts: 30 } }, async (store, stub, ref) => {
    const { body } = await store.stream(ref, { start: 10 });
    const parts: Uint8Array[] = [];
    for await (const part of body) parts.push(part);
    expect(Buffer.concat(parts).equals(BODY.subarray(10))).toBe(true);
    expect(stub.counts.get).toBeGreaterThan(1);
  });
});

test('a stream that nobody reads asks for no body', async () => {
  await withStub({}, async (store, stub, ref) => {
    expect((await store.stream(ref, {})).info.sizeBytes).toBe(20_000);
    expect(stub.counts).toMatchObject({ head: 1, get: 0 });
  });
});

test('an object that changed after it was listed is object_changed, and then fetched as it is', async () => {
  await withStub({ faults: { changedShare: 1 } }, async (store, stub, ref) => {
    for await (const info of store.list({ bucket: ref.bucket, prefix: '' })) {
      await expect(store.get(info, { maxBytes: 1e6, ifMatch: info.eTag })).rejects.toMatchObject({ code: 'object_changed' });
      const now = await store.head(info);
      expect((await store.get(info, { maxBytes: 1e6, ifMatch: now?.eTag })).info).toEqual(now);
      break;
    }
    expect(stub.counts.get).toBe(2);
  });
});

test('an abort ends a get in the middle of its body, and a wait between attempts', async () => {
  await withStub({ faults: { stalledShare: 1 } }, async (store, stub, ref) => {
    const inBody = new AbortController();
    setTimeout(() => inBody.abort(), 50);
    await expect(store.get(ref, { maxBytes: 1e6, signal: inBody.signal })).rejects.toMatchObject({ name: 'AbortError' });
    expect(stub.counts.get).toBe(1);
  });
  const sleep = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 500));
  await withStub({ deps: { sleep } }, async (store, stub, ref) => {
    stub.faults.unavailableShare = 1;
    const inWait = new AbortController();
    setTimeout(() => inWait.abort(), 50);
    await expect(store.get(ref, { maxBytes: 1e6, signal: inWait.signal })).rejects.toMatchObject({ name: 'AbortError' });
    expect(stub.counts.get).toBe(1);
  });
});

test('an object over the cap is refused by its length, before its bytes are read', async () => {
  await withStub({ faults: { stalledShare: 1 } }, async (store, _, ref) => {
    await expect(store.get(ref, { maxBytes: 19_999 })).rejects.toMatchObject({ code: 'picture_too_many_bytes' });
  });
});

test('a request that gets no answer in time is unavailable', async () => {
  await withStub({ place: { requestTimeoutMs: 50, maxAttempts: 2 } }, async (store, stub, ref) => {
    stub.faults.latencyMs = 5_000;
    await expect(store.head(ref)).rejects.toMatchObject({ code: 'object_store_unavailable' });
    expect(stub.counts.head).toBe(2);
  });
});

test('keys with empty segments and a leading slash are names like any other', async () => {
  const keys = ['/lead', 'a//b', 'a/', '//', ' ', 'cr\rx', 'ctl\u0001x'];
  await withStub({ keys: givenKeys(keys) }, async (store, stub) => {
    const listed: string[] = [];
    for await (const info of store.list({ bucket: stub.bucket, prefix: '' })) {
      listed.push(info.key);
      expect((await store.get(info, { maxBytes: 1e6, ifMatch: info.eTag })).info).toEqual(info);
    }
    expect(listed.toSorted()).toEqual(keys.toSorted());
  });
});

test('what consoles write to show a folder is left out of a listing, with its reason', async () => {
  const skipped: unknown[] = [];
  const deps: Partial<S3Deps> = { onSkip: ({ key }, reason) => skipped.push([key, reason]) };
  const keys = givenKeys(['a/', 'a/b']);
  await withStub({ keys, deps, bodyOf: (index) => Buffer.alloc(index) }, async (store, stub) => {
    const listed: string[] = [];
    for await (const { key } of store.list({ bucket: stub.bucket, prefix: '' })) listed.push(key);
    expect(listed).toEqual(['a/b']);
    expect(skipped).toEqual([['a/', 'folder_marker']]);
  });
});
