import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { openQdrantRoom, type QdrantRoom } from '../../testing/qdrant-room.ts';
import { qdrantMissing } from '../../testing/qdrant-server.ts';
import { describeVectorIndex } from '../../testing/vector-index-contract.ts';
import {
  assetIdOf,
  CONTRACT_SPEC,
  imageVector,
  itemRecord,
  picture,
  pictureRecord,
  TENANT,
} from '../../testing/vector-index-points.ts';
import { expectRaceWon } from '../../testing/vector-index-race-contract.ts';
import { race, raceSteps } from '../../testing/vector-index-race.ts';
import { sampleIds } from './qdrant-sample.ts';

const suite = qdrantMissing ? describe.skip : describe;

suite(qdrantMissing ? `qdrant (${qdrantMissing})` : 'qdrant', () => {
  let room: QdrantRoom;
  beforeAll(async () => {
    room = await openQdrantRoom();
  }, 120_000);
  afterEach(() => room.clear());
  afterAll(() => room.close());

  // In a room of its own: the contract opens an index before each of its tests.
  describe('contract', () => {
    describeVectorIndex('qdrant', async () => ({
      index: await room.open(room.newAlias(), { spec: CONTRACT_SPEC }),
      close: () => room.clear(),
    }));
  });

  test('racing writers of several processes end as the versions say, while the graph is being built under them', async () => {
    const alias = room.newAlias();
    const indexes = [await room.open(alias, { spec: CONTRACT_SPEC }), await room.open(alias), await room.open(alias)];
    await room.admin.call((client) =>
      client.updateCollection(alias, { optimizers_config: { indexing_threshold: 1, vacuum_min_vector_number: 100 } }),
    );
    const [index] = indexes;
    if (!index) throw new Error('none');
    // Enough points for the optimiser to have something to move while the race goes on.
    const keys = Array.from({ length: 500 }, (_, i) => `key-${i}`);
    const other = { tenant: 'other' };
    const filling = index.writePictures(keys.map((key, i) => picture(key, { ...other, vector: imageVector(1, i) })));
    const steps = raceSteps(31);
    await Promise.all(indexes.map((one, no) => race(one, steps, { no, of: indexes.length })));
    await filling;
    await expectRaceWon(index, steps);
    expect(await index.count('other')).toEqual({ live: 500, deleted: 0 });
  }, 120_000);

  test('a batch larger than Qdrant takes at once is written in several requests', async () => {
    const index = await room.open(room.newAlias(), { spec: CONTRACT_SPEC });
    const keys = Array.from({ length: 35 }, (_, i) => `key-${i}`);
    // 35 MB in one batch; the limit is 32 MiB.
    const text = 'a'.repeat(1_000_000);
    await index.writeRecords(keys.map((key) => pictureRecord(key, [itemRecord(key, text)], { keywords: ['a'] })));
    expect(await index.count(TENANT)).toEqual({ live: 35, deleted: 0 });
  }, 120_000);

  test('a leg may ask for thousands, ties at the limit are cut by id, and a sample of many is spread', async () => {
    const alias = room.newAlias();
    const index = await room.open(alias, { spec: CONTRACT_SPEC, batchPoints: 256 });
    const keys = Array.from({ length: 2_500 }, (_, i) => `key-${i}`);
    await index.writePictures(keys.map((key, i) => picture(key, { vector: imageVector(1, i % 2) })));
    const leg = (limit: number) => ({ space: 'image' as const, vector: imageVector(1), limit });
    const [all = [], three = [], odd = []] = await index.search(TENANT, undefined, [leg(5_000), leg(3), leg(1_253)]);
    expect(all).toHaveLength(2_500);
    const even = keys.filter((_, i) => i % 2 === 0).map((key) => assetIdOf(key)).toSorted(); // prettier-ignore
    expect(three.map((hit) => hit.assetId)).toEqual(even.slice(0, 3));
    expect(odd.slice(0, 1_250).map((hit) => hit.assetId)).toEqual(even);
    expect(odd.slice(1_250).map((hit) => hit.assetId)).toEqual(
      keys.filter((_, i) => i % 2 === 1).map((key) => assetIdOf(key)).toSorted().slice(0, 3), // prettier-ignore
    );
    const filter = { must: [{ key: 'tenant', match: { value: TENANT } }] };
    const ids = await sampleIds({ connection: room.admin, collection: alias }, filter, 300, { allIds: 1_000 });
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.length).toBeGreaterThan(280);
    expect(ids.length).toBeLessThanOrEqual(300);
    expect(new Set(ids.map((id) => id[0])).size).toBe(16);
    expect(await index.deleteTenant(TENANT)).toBe(2_500);
    expect(await index.count(TENANT)).toEqual({ live: 0, deleted: 0 });
  });
});
