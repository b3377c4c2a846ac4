import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { openQdrantRoom, type QdrantRoom } from '../../testing/qdrant-room.ts';
import { qdrantMissing } from '../../testing/qdrant-server.ts';
import {
  assetIdOf,
  CONTRACT_SPEC,
  imageVector,
  itemRecord,
  picture,
  pictureRecord,
  TENANT,
} from '../../testing/vector-index-points.ts';
import { COLLECTION_DEFAULTS, collectionRequest } from './qdrant-collection-settings.ts';
import { collectionBehind, pointAlias } from './qdrant-vector-index-format.ts';

const suite = qdrantMissing ? describe.skip : describe;

suite(qdrantMissing ? `qdrant collections (${qdrantMissing})` : 'qdrant collections', () => {
  let room: QdrantRoom;
  beforeAll(async () => {
    room = await openQdrantRoom();
  }, 120_000);
  afterEach(() => room.clear());
  afterAll(() => room.close());

  const configOf = async (collection: string) => (await room.admin.call((client) => client.getCollection(collection))).config;
  const formatOf = async (collection: string) => (await configOf(collection)).metadata?.['sightline'];

  test('eight workers that start at once make one collection, and each writes to it', async () => {
    const alias = room.newAlias();
    const indexes = await Promise.all(Array.from({ length: 8 }, () => room.open(alias, { spec: CONTRACT_SPEC })));
    await Promise.all(indexes.map((index, i) => index.writePictures([picture(`of-${i}`)])));
    expect(await indexes[0]?.count(TENANT)).toEqual({ live: 8, deleted: 0 });
    expect(await collectionBehind(room.admin, alias)).toBe(`${alias}-1`);
    const { payload_schema } = await room.admin.call((client) => client.getCollection(alias));
    expect(Object.keys(payload_schema).toSorted()).toEqual([
      'deleted',
      'facets',
      'hasKeywords',
      'hasText',
      'image.live',
      'sha256',
      'tenant',
    ]);
    expect(payload_schema['tenant']?.params).toMatchObject({ is_tenant: true });
    expect((await room.open(alias)).spec).toEqual(CONTRACT_SPEC);
  });

  test('of two encoders that start at once, one gets the index', async () => {
    const alias = room.newAlias();
    const specs = ['one', 'two', 'one', 'two'].map((fingerprint) => ({
      image: { fingerprint, dimensions: 8 },
      text: CONTRACT_SPEC.text,
    }));
    const outcomes = await Promise.allSettled(specs.map((spec) => room.open(alias, { spec })));
    expect(outcomes.map((outcome) => outcome.status).toSorted()).toEqual(['fulfilled', 'fulfilled', 'rejected', 'rejected']);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'index_encoder_mismatch' });
  });

  test('an index of another encoder is refused with what to do', async () => {
    const alias = room.newAlias();
    await room.open(alias, { spec: CONTRACT_SPEC });
    for (const space of ['image', 'text'] as const) {
      for (const other of [{ fingerprint: 'sha256:other' }, { dimensions: 9 }]) {
        const spec = { ...CONTRACT_SPEC, [space]: { ...CONTRACT_SPEC[space], ...other } };
        await expect(room.open(alias, { spec })).rejects.toMatchObject({
          code: 'index_encoder_mismatch',
          detail: expect.stringMatching(/ENCODER_PACK.*QDRANT_ALIAS/),
        });
      }
    }
  });

  test('without an encoder named, an index that is not there is unavailable and none is made', async () => {
    const alias = room.newAlias();
    await expect(room.open(alias)).rejects.toMatchObject({ code: 'index_unavailable', retryable: true });
    const { exists } = await room.admin.call((client) => client.collectionExists(`${alias}-1`));
    expect(exists).toBe(false);
  });

  test('what a worker left half made is finished by the next', async () => {
    const alias = room.newAlias();
    const request = collectionRequest(CONTRACT_SPEC, COLLECTION_DEFAULTS);
    const metadata = { sightline: { format: 0, ...CONTRACT_SPEC } };
    await room.admin.call((client) => client.api().createCollection({ collection_name: `${alias}-1`, ...request, metadata }));
    await expect(room.open(alias)).rejects.toMatchObject({ code: 'index_unavailable' });
    const index = await room.open(alias, { spec: CONTRACT_SPEC });
    await index.writePictures([picture('a')]);
    expect(await formatOf(`${alias}-1`)).toEqual({ format: 2, ...CONTRACT_SPEC });
    expect(await index.count(TENANT)).toEqual({ live: 1, deleted: 0 });
  });

  test('a collection of an older format is brought up to date with what it holds', async () => {
    const alias = room.newAlias();
    const first = await room.open(alias, { spec: CONTRACT_SPEC });
    await first.writePictures([picture('a'), picture('b')]);
    await first.writeRecords([pictureRecord('a', [itemRecord('a', 'shoe', { colour: 'red' })])]);
    // Format 0 had no indexes on the payload.
    for (const field of ['tenant', 'sha256', 'facets', 'deleted', 'image.live', 'hasText', 'hasKeywords'])
      await room.admin.call((client) => client.deletePayloadIndex(alias, field));
    const metadata = { sightline: { format: 0, ...CONTRACT_SPEC } };
    await room.admin.call((client) => client.api().updateCollection({ collection_name: alias, metadata }));

    const [index] = await Promise.all([room.open(alias), room.open(alias), room.open(alias, { spec: CONTRACT_SPEC })]);
    const { payload_schema, config } = await room.admin.call((client) => client.getCollection(alias));
    expect(payload_schema).toMatchObject({
      tenant: { data_type: 'keyword', points: 2 },
      sha256: { data_type: 'keyword', points: 2 },
      facets: { data_type: 'integer', points: 1 },
      deleted: { data_type: 'bool', points: 2 },
    });
    expect(config.metadata).toEqual({ sightline: { format: 2, ...CONTRACT_SPEC } });
    expect(await index.search(TENANT, { colour: 'red' }, [{ space: 'image', vector: imageVector(1), limit: 5 }])).toMatchObject([
      [{ assetId: assetIdOf('a') }],
    ]);
  });

  test("a newer format's collection and another program's are refused untouched", async () => {
    const alias = room.newAlias();
    await room.open(alias, { spec: CONTRACT_SPEC });
    const metadata = { sightline: { format: 99, ...CONTRACT_SPEC } };
    await room.admin.call((client) => client.api().updateCollection({ collection_name: alias, metadata }));
    for (const options of [{}, { spec: CONTRACT_SPEC }]) {
      await expect(room.open(alias, options)).rejects.toMatchObject({
        code: 'store_format_unsupported',
        detail: expect.stringMatching(/format 99.*newer Sightline/),
      });
    }
    expect(await formatOf(alias)).toMatchObject({ format: 99 });

    const foreign = room.newAlias();
    await room.admin.call((client) => client.createCollection(`${foreign}-1`, { vectors: { size: 4, distance: 'Dot' } }));
    await expect(room.open(foreign, { spec: CONTRACT_SPEC })).rejects.toMatchObject({ code: 'store_format_unsupported' });
    await pointAlias(room.admin, foreign, `${foreign}-1`);
    await expect(room.open(foreign)).rejects.toMatchObject({ code: 'store_format_unsupported' });
  });

  test('a collection is made with the settings that were asked for', async () => {
    const alias = room.newAlias();
    await room.open(alias, {
      spec: CONTRACT_SPEC,
      collection: {
        hnsw: { m: 0, efConstruct: 77, payloadM: 24, onDisk: true },
        quantisation: 'scalar',
        vectorsOnDisk: true,
        payloadOnDisk: false,
        indexesOnDisk: true,
        shards: 2,
      },
    });
    const config = await configOf(alias);
    expect(config).toMatchObject({
      hnsw_config: { m: 0, ef_construct: 77, payload_m: 24, on_disk: true },
      quantization_config: { scalar: { type: 'int8', always_ram: true } },
      params: {
        vectors: { image: { size: 8, distance: 'Cosine', on_disk: true }, text: { size: 6, on_disk: true } },
        sparse_vectors: { keywords: { modifier: 'idf', index: { on_disk: true } } },
        on_disk_payload: false,
        shard_number: 2,
      },
    });
  });

  test.each(['scalar', 'binary'] as const)(
    'with %s quantisation scores are still those of the whole vectors',
    async (quantisation) => {
      const index = await room.open(room.newAlias(), { spec: CONTRACT_SPEC, collection: { quantisation } });
      const keys = Array.from({ length: 200 }, (_, i) => `k${i}`);
      await index.writePictures(keys.map((key, i) => picture(key, { vector: imageVector(1, i / 50) })));
      const [hits = []] = await index.search(TENANT, undefined, [{ space: 'image', vector: imageVector(1), limit: 3 }]);
      expect(hits).toHaveLength(3);
      for (const { assetId, score } of hits) {
        const i = keys.findIndex((key) => assetIdOf(key) === assetId);
        expect(score).toBeCloseTo(1 / Math.hypot(1, i / 50), 5);
      }
    },
  );
});
