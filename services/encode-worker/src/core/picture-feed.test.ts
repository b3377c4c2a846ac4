import { expect, test } from '@jest/globals';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { HashEncoder, hashVector } from '../testing/hash-encoder.ts';
import { PictureBatcher } from './picture-batcher.ts';
import { PictureFeed } from './picture-feed.ts';

const LIMITS = { maxPictureBytes: 100, bytesInFlight: 250, decodeConcurrency: 2, decodedAhead: 4 };

/** Objects in memory, counting what is under way. */
function rig(objects: Record<string, string>, limits = LIMITS) {
  const encoder = new HashEncoder();
  const seen = { fetching: 0, mostFetched: 0, fetches: 0, decoding: 0, mostDecoded: 0 };
  const decode = encoder.decode.bind(encoder);
  encoder.decode = async (bytes) => {
    seen.mostDecoded = Math.max(seen.mostDecoded, ++seen.decoding);
    await new Promise((resolve) => setTimeout(resolve, 1));
    seen.decoding -= 1;
    return decode(bytes);
  };
  const store = {
    get: async ({ bucket, key }: { bucket: string; key: string }) => {
      seen.fetches += 1;
      seen.mostFetched = Math.max(seen.mostFetched, ++seen.fetching);
      await new Promise((resolve) => setTimeout(resolve, 1));
      seen.fetching -= 1;
      const content = objects[key];
      if (content === undefined) throw new SightlineError('object_not_found');
      const bytes = Buffer.from(content);
      return { info: { bucket, key, eTag: `e-${key}`, sizeBytes: bytes.length, modifiedAt: new Date(0) }, bytes };
    },
  };
  const indexed = new Map<string, { vector: Float32Array; widthPx: number; heightPx: number }>();
  const index = {
    findImageVectors: async (_: string, shas: string[]) => new Map([...indexed].filter(([sha]) => shas.includes(sha))),
  };
  const batcher = new PictureBatcher(encoder, { lane: 'bulk', maxBatch: 8 });
  const feed = new PictureFeed({ store, index, encoder, batcher, observe: () => {} }, limits);
  const take = (key: string, sizeBytes = objects[key]?.length ?? 0, signal?: AbortSignal) =>
    feed.take('t', { bucket: 'b', key, sizeBytes }, { signal });
  return { encoder, feed, seen, indexed, take };
}

test('a picture comes out with its hash, eTag and vector', async () => {
  const { take } = rig({ a: 'hello' });
  const fed = await take('a');
  expect(fed).toMatchObject({
    eTag: 'e-a',
    sha256: '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824',
    sizeBytes: 5,
    isKnown: false,
  });
  expect(fed.vector).toEqual(hashVector(Buffer.from('hello')));
});

test('bytes and decoders in flight keep within their budgets', async () => {
  const objects = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`k${i}`, `${i}`.padEnd(100, '.')]));
  const { take, seen } = rig(objects);
  await Promise.all(Object.keys(objects).map((key) => take(key)));
  expect(seen.mostFetched).toBe(2);
  expect(seen.mostDecoded).toBeLessThanOrEqual(2);
});

test('the same bytes under several keys are encoded once, also while the first is under way', async () => {
  const { take, encoder } = rig({ a: 'same', b: 'same', c: 'other' });
  const fed = await Promise.all([take('a'), take('b'), take('c')]);
  expect(fed.map(({ isKnown }) => isKnown).filter(Boolean)).toHaveLength(1);
  expect(encoder.decodes).toBe(2);
  expect((await take('a')).isKnown || (await take('b')).isKnown).toBe(true);
  expect(encoder.decodes).toBe(2);
});

test('what the index has is not encoded', async () => {
  const { take, encoder, indexed } = rig({ a: 'hello' });
  const vector = hashVector(Buffer.from('from the index'));
  indexed.set('2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824', { vector, widthPx: 7, heightPx: 8 });
  expect(await take('a')).toMatchObject({ isKnown: true, vector, widthPx: 7, heightPx: 8 });
  expect(encoder.decodes).toBe(0);
});

test('a failure is not remembered and gives its budget back', async () => {
  const { take, encoder } = rig(
    { a: 'hello', bad: 'BAD' },
    { ...LIMITS, bytesInFlight: 5, decodedAhead: 1, decodeConcurrency: 1 },
  );
  encoder.failNext.push(new SightlineError('encoder_unavailable'));
  await expect(take('a')).rejects.toMatchObject({ code: 'encoder_unavailable' });
  await expect(take('bad')).rejects.toMatchObject({ code: 'picture_corrupt' });
  await expect(take('absent', 99)).rejects.toMatchObject({ code: 'object_not_found' });
  expect(await take('a')).toMatchObject({ isKnown: false });
});

test('while the encoder is busy the next batch grows', async () => {
  const encoder = new HashEncoder();
  const batcher = new PictureBatcher(encoder, { lane: 'bulk', maxBatch: 8 });
  const picture = { pixels: Uint8Array.of(1), crops: 1, widthPx: 1, heightPx: 1, format: 'png' };
  await Promise.all(Array.from({ length: 20 }, () => batcher.encode(picture)));
  expect(encoder.batches).toEqual([1, 1, 8, 8, 2]);
});

test('one picture that the encoder refuses does not take its batch along', async () => {
  const encoder = new HashEncoder();
  encoder.encodePictures = async (pictures) =>
    pictures.map(({ pixels }) =>
      pixels[0] === 9 ? { ok: false, error: new SightlineError('encoder_failed') } : { ok: true, value: hashVector(pixels) },
    );
  const batcher = new PictureBatcher(encoder, { lane: 'bulk', maxBatch: 8 });
  const results = await Promise.allSettled(
    [1, 9, 2, 9, 3].map((first) =>
      batcher.encode({ pixels: Uint8Array.of(first), crops: 1, widthPx: 1, heightPx: 1, format: 'png' }),
    ),
  );
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled']);
});

test('who is told to stop does not wait for the encoder, and what is under way serves the others', async () => {
  const { take, encoder } = rig({ a: 'hello' });
  const controller = new AbortController();
  let release = (): void => {};
  const encode = encoder.encodePictures.bind(encoder);
  encoder.encodePictures = async (pictures) => {
    await new Promise<void>((resolve) => (release = resolve));
    return encode(pictures);
  };
  const stopped = take('a', 5, controller.signal);
  const other = take('a');
  while (encoder.decodes === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  controller.abort(new Error('stop'));
  await expect(stopped).rejects.toThrow('stop');
  release();
  expect((await other).vector).toEqual(hashVector(Buffer.from('hello')));
});

test('a guarded picture is decoded while nothing else is, and is not held up by what waits for the decoders', async () => {
  const objects = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`k${i}`, `${i}`.padEnd(100, '.')]));
  const { feed, seen } = rig(objects);
  const ref = (key: string) => ({ bucket: 'b', key, sizeBytes: 100 });
  const alone: number[] = [];
  const guard = async <T>(decode: () => Promise<T>): Promise<T> => {
    for (let i = 0; i < 3; i++) {
      alone.push(seen.decoding);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return decode();
  };
  const keys = Object.keys(objects);
  // Every third, among others of the same bytes' budget that are under way.
  const fed = await Promise.all(keys.map((key, i) => feed.take('t', ref(key), i % 3 === 0 ? { guard } : {})));
  expect(fed.map(({ eTag }) => eTag)).toEqual(keys.map((key) => `e-${key}`));
  expect(alone).toEqual(Array.from({ length: 14 * 3 }, () => 0));
  expect(seen.mostDecoded).toBe(2);
  expect(fed[0]?.vector).toEqual(hashVector(Buffer.from('0'.padEnd(100, '.'))));
});

test('what a guard refuses is not decoded', async () => {
  const { feed, encoder } = rig({ a: 'hello' });
  const guard = async (): Promise<never> => {
    throw new SightlineError('picture_kills_decoder');
  };
  await expect(feed.take('t', { bucket: 'b', key: 'a', sizeBytes: 5 }, { guard })).rejects.toMatchObject({
    code: 'picture_kills_decoder',
  });
  expect(encoder.decodes).toBe(0);
});
