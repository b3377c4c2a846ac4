import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../testing/free-port.ts';
import { openLostReplyProxy } from '../../testing/lost-reply-proxy.ts';
import { openQdrantRoom, type QdrantRoom } from '../../testing/qdrant-room.ts';
import { ownQdrantMissing, qdrantMissing } from '../../testing/qdrant-server.ts';
import {
  assetIdOf,
  batchKeys,
  CONTRACT_SPEC,
  imageVector,
  itemRecord,
  picture,
  pictureRecord,
  TENANT,
  textVector,
} from '../../testing/vector-index-points.ts';
import { SightlineError } from '../runtime/errors.ts';
import { openQdrantVectorIndex } from './qdrant-vector-index.ts';

const suite = qdrantMissing ? describe.skip : describe;

suite(qdrantMissing ? `qdrant faults (${qdrantMissing})` : 'qdrant faults', () => {
  let room: QdrantRoom;
  beforeAll(async () => {
    room = await openQdrantRoom();
  }, 120_000);
  afterEach(() => room.clear());
  afterAll(() => room.close());

  test('a write whose answer is lost is made once, and the caller hears that it is done', async () => {
    const alias = room.newAlias();
    await room.open(alias, { spec: CONTRACT_SPEC });
    const proxy = await openLostReplyProxy(room.server.url);
    room.onClear(() => proxy.close());
    const index = await room.open(alias, { url: proxy.url, timeoutMs: 1_000 });
    let toLose = 2;
    proxy.lose((request) => request.includes('/points/batch') && toLose-- > 0);
    await index.writePictures([picture('a', { imageVersion: 3, sizeBytes: 3 })]);
    expect(proxy.lost()).toBe(2);
    expect((await index.get(TENANT, [assetIdOf('a')])).get(assetIdOf('a'))).toMatchObject({ imageVersion: 3, sizeBytes: 3 });
    expect(await index.count(TENANT)).toEqual({ live: 1, deleted: 0 });
  });

  test('a write that is done while its caller hears of a time-out can be made again, and others are not undone by it', async () => {
    const alias = room.newAlias();
    const direct = await room.open(alias, { spec: CONTRACT_SPEC });
    const proxy = await openLostReplyProxy(room.server.url);
    room.onClear(() => proxy.close());
    const index = await room.open(alias, { url: proxy.url, timeoutMs: 1_000 });
    const write = () => index.writePictures([picture('a', { imageVersion: 3, sizeBytes: 3 })]);
    proxy.lose((request) => request.includes('/points/batch'));
    await expect(write()).rejects.toMatchObject({ code: 'index_unavailable', retryable: true });
    expect(await direct.count(TENANT)).toEqual({ live: 1, deleted: 0 });
    await direct.writeRecords([pictureRecord('a', [itemRecord('a', 'shoe')])]);
    await direct.writePictures([picture('a', { imageVersion: 4, sizeBytes: 4 })]);
    proxy.lose(() => false);
    await write();
    expect((await direct.get(TENANT, [assetIdOf('a')], { withVectors: true })).get(assetIdOf('a'))).toMatchObject({
      imageVersion: 4,
      sizeBytes: 4,
      hasText: true,
      records: [itemRecord('a', 'shoe')],
      vectors: { text: textVector(3, 2, 1) },
    });
  });

  test('where nobody answers the index is unavailable, after a few tries with growing pauses', async () => {
    const pausesMs: number[] = [];
    const deps = { sleep: async (ms: number) => void pausesMs.push(ms), random: () => 0.5 };
    const url = `http://127.0.0.1:${await freePort()}`;
    await expect(openQdrantVectorIndex({ url, spec: CONTRACT_SPEC }, deps)).rejects.toMatchObject({
      code: 'index_unavailable',
      retryable: true,
    });
    expect(pausesMs).toEqual([150, 300, 600, 1_200]);
  });

  test('a collection that was dropped under an open index is unavailable', async () => {
    const alias = room.newAlias();
    const index = await room.open(alias, { spec: CONTRACT_SPEC });
    await room.admin.call((client) => client.deleteCollection(`${alias}-1`));
    await expect(index.count(TENANT)).rejects.toMatchObject({ code: 'index_unavailable' });
    await expect(index.writePictures([picture('a')])).rejects.toMatchObject({ code: 'index_unavailable' });
  });

  const withOwn = ownQdrantMissing ? test.skip : test;
  withOwn.each(['stop', 'kill'] as const)(
    `a server that is made to %s while writers run loses nothing that it acknowledged${ownQdrantMissing ? ` (${ownQdrantMissing})` : ''}`,
    async (fault) => {
      const { start, [fault]: end } = room.server;
      if (!start || !end) throw new Error('the server is not ours');
      const alias = room.newAlias();
      const index = await room.open(alias, { spec: CONTRACT_SPEC, timeoutMs: 2_000 });
      const insist = async (write: () => Promise<void>) => {
        for (;;) {
          try {
            return await write();
          } catch (error) {
            if (!(error instanceof SightlineError) || error.code !== 'index_unavailable') throw error;
          }
        }
      };
      const acknowledged: string[] = [];
      const progress = { isWriting: true };
      const writers = [0, 1, 2].map(async (no) => {
        for (let batchNo = no; progress.isWriting; batchNo += 3) {
          const keys = batchKeys(batchNo);
          await insist(() => index.writePictures(keys.map((key) => picture(key))));
          await insist(() => index.writeRecords(keys.map((key) => pictureRecord(key, [itemRecord(key, 'some words')]))));
          acknowledged.push(...keys);
        }
      });
      for (let times = 0; times < 2; times++) {
        await sleep(700);
        await end();
        await sleep(300);
        await start();
      }
      await sleep(500);
      progress.isWriting = false;
      await Promise.all(writers);

      const expected = acknowledged.map((key) => assetIdOf(key)).toSorted();
      expect(expected.length).toBeGreaterThan(100);
      const seen: string[] = [];
      for (let after: string | undefined; ; after = seen.at(-1)) {
        const page = await index.scan(TENANT, { limit: 500, withVectors: true, ...(after && { after }) });
        if (page.length === 0) break;
        for (const point of page) {
          expect(point).toMatchObject({ hasImage: true, hasText: true, deleted: false });
          expect(point.vectors).toEqual({ image: imageVector(1, 2, 3), text: textVector(3, 2, 1) });
          seen.push(point.assetId);
        }
      }
      expect(seen).toEqual(expected);
      const leg = { space: 'keywords' as const, keywords: ['word'], limit: expected.length + 10 };
      const [byWord] = await index.search(TENANT, undefined, [leg]);
      expect(byWord?.map((hit) => hit.assetId)).toEqual(expected);
    },
    120_000,
  );
});
