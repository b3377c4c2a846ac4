import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { Leg, VectorIndex } from '../src/ports/vector-index.ts';
import { describeIndexCopies } from './vector-index-copy-contract.ts';
import { describeIndexFilters } from './vector-index-filter-contract.ts';
import {
  assetIdOf,
  deletion,
  imageVector,
  itemRecord,
  passage,
  picture,
  pictureRecord,
  TENANT,
  textVector,
} from './vector-index-points.ts';
import { describeIndexRecords } from './vector-index-records-contract.ts';
import { describeIndexRaces } from './vector-index-race-contract.ts';
import { describeIndexSearch } from './vector-index-search-contract.ts';

/** Opens an empty index for CONTRACT_SPEC; `close` also removes what it left. */
export type OpenIndex = () => Promise<{ index: VectorIndex; close: () => Promise<void> }>;

/** What every VectorIndex does. An adapter's test calls this once; extras of the adapter are tests of its own. */
export function describeVectorIndex(name: string, open: OpenIndex): void {
  let index: VectorIndex;
  let close: () => Promise<void>;
  beforeEach(async () => {
    ({ index, close } = await open());
  });
  afterEach(() => close());

  const one = async (key: string, withVectors = false) => {
    const points = await index.get(TENANT, [assetIdOf(key)], { withVectors });
    return points.get(assetIdOf(key));
  };

  test(`${name}: an empty index answers with nothing`, async () => {
    expect(await index.get(TENANT, [assetIdOf('a')])).toEqual(new Map());
    expect(await index.findImageVectors(TENANT, ['00'])).toEqual(new Map());
    expect(await index.findByItem(TENANT, 'item')).toEqual([]);
    expect(await index.sample(TENANT, 'image', 10)).toEqual([]);
    expect(await index.scan(TENANT, { limit: 10 })).toEqual([]);
    expect(await index.count(TENANT)).toEqual({ live: 0, deleted: 0 });
    expect(await index.purge(TENANT, 1e15)).toBe(0);
    const legs = await index.search(TENANT, { colour: 'red' }, [
      { space: 'image', vector: imageVector(1), limit: 5 },
      { space: 'text', vector: textVector(1), limit: 5 },
      { space: 'keywords', keywords: ['shoe'], limit: 5 },
    ]);
    expect(legs).toEqual([[], [], []]);
  });

  test(`${name}: empty batches do nothing`, async () => {
    await index.writePictures([]);
    await index.writeRecords([]);
    await index.delete([]);
    expect(await index.search(TENANT, undefined, [])).toEqual([]);
    expect(await index.get(TENANT, [])).toEqual(new Map());
    expect(await index.count(TENANT)).toEqual({ live: 0, deleted: 0 });
  });

  test.each([['picture first'], ['record first']])(`${name}: the two halves meet in one point, %s`, async (order) => {
    const records = [itemRecord('b', 'Zweite', { tags: ['x', 1, true] }), itemRecord('a', '第一')];
    const writes = [
      () => index.writePictures([picture('a.jpg', { imageVersion: 7, indexedAt: 5 })]),
      () => index.writeRecords([pictureRecord('a.jpg', records, { recordVersion: 9, indexedAt: 6 })]),
    ];
    for (const write of order === 'picture first' ? writes : writes.toReversed()) await write();
    expect(await one('a.jpg', true)).toEqual({
      assetId: assetIdOf('a.jpg'),
      tenant: TENANT,
      kind: 'picture',
      object: { bucket: 'pictures', key: 'a.jpg', eTag: 'etag-a.jpg' },
      sha256: picture('a.jpg').sha256,
      sizeBytes: 1000,
      widthPx: 640,
      heightPx: 480,
      records: records.toReversed(),
      passageNo: 0,
      deleted: false,
      deletedBecause: null,
      imageVersion: 7,
      recordVersion: 9,
      hasImage: true,
      hasText: true,
      indexedAt: 6,
      vectors: { image: imageVector(1, 2, 3), text: textVector(3, 2, 1) },
    });
    expect((await one('a.jpg'))?.vectors).toBeUndefined();
    expect(await index.count(TENANT)).toEqual({ live: 1, deleted: 0 });
  });

  test(`${name}: a passage is a point of its own without a picture`, async () => {
    const write = passage(itemRecord('lamp', 'second passage'), 3, { vector: null });
    await index.writeRecords([write]);
    const point = (await index.get(TENANT, [write.assetId], { withVectors: true })).get(write.assetId);
    expect(point).toMatchObject({
      kind: 'passage',
      object: null,
      passageNo: 3,
      hasImage: false,
      hasText: false,
      sha256: null,
      vectors: {},
    });
  });

  test(`${name}: a write that is not newer than its half is dropped, and halves do not guard each other`, async () => {
    await index.writePictures([picture('a', { imageVersion: 5, sizeBytes: 5 })]);
    await index.writeRecords([pictureRecord('a', [itemRecord('five')], { recordVersion: 5 })]);
    await index.writePictures([
      picture('a', { imageVersion: 4, sizeBytes: 4, vector: imageVector(9) }),
      picture('a', { imageVersion: 5, sizeBytes: 50 }),
    ]);
    await index.writeRecords([pictureRecord('a', [itemRecord('four')], { recordVersion: 4, vector: textVector(0, 9) })]);
    expect(await one('a', true)).toMatchObject({
      sizeBytes: 5,
      vectors: { image: imageVector(1, 2, 3), text: textVector(3, 2, 1) },
    });
    expect((await one('a'))?.records).toEqual([itemRecord('five')]);

    await index.writePictures([
      picture('a', { imageVersion: 6, sizeBytes: 6 }),
      picture('a', { imageVersion: 8, sizeBytes: 8 }),
      picture('a', { imageVersion: 7, sizeBytes: 7 }),
    ]);
    expect(await one('a')).toMatchObject({ imageVersion: 8, sizeBytes: 8, recordVersion: 5, records: [itemRecord('five')] });
  });

  test(`${name}: versions up to 2^53 are told apart`, async () => {
    const largest = Number.MAX_SAFE_INTEGER;
    await index.writePictures([picture('a', { imageVersion: largest - 1, sizeBytes: 1 })]);
    await index.writePictures([picture('a', { imageVersion: largest, sizeBytes: 2 })]);
    await index.writePictures([picture('a', { imageVersion: largest - 1, sizeBytes: 3 })]);
    expect(await one('a')).toMatchObject({ imageVersion: largest, sizeBytes: 2 });
  });

  test(`${name}: a record written again without vector and words loses its old ones`, async () => {
    await index.writeRecords([pictureRecord('a', [itemRecord('a', 'shoe', { colour: 'red' })])]);
    await index.writeRecords([pictureRecord('a', [itemRecord('a')], { recordVersion: 2, vector: null })]);
    expect(await one('a', true)).toMatchObject({ hasText: false, vectors: {} });
    const legs: Leg[] = [
      { space: 'text', vector: textVector(1), limit: 5 },
      { space: 'keywords', keywords: ['shoe'], limit: 5 },
    ];
    expect(await index.search(TENANT, undefined, legs)).toEqual([[], []]);
    expect(await index.findByItem(TENANT, 'a')).toHaveLength(1);
    await index.writePictures([picture('a')]);
    expect(await index.search(TENANT, { colour: 'red' }, [{ space: 'image', vector: imageVector(1), limit: 5 }])).toEqual([[]]);
  });

  test(`${name}: a tombstone is not searchable and late writes cannot pass it`, async () => {
    await index.writePictures([picture('a')]);
    await index.writeRecords([pictureRecord('a', [itemRecord('a', 'shoe')])]);
    await index.delete([deletion('a', 10, { reason: 'removed' })]);
    await index.writePictures([picture('a', { imageVersion: 9 })]);
    await index.writeRecords([pictureRecord('a', [itemRecord('a', 'shoe')], { recordVersion: 10 })]);
    expect(await one('a', true)).toMatchObject({
      object: { bucket: 'pictures', key: 'a', eTag: 'etag-a' },
      sha256: null,
      records: [],
      deleted: true,
      deletedBecause: 'removed',
      imageVersion: 10,
      recordVersion: 10,
      hasImage: false,
      hasText: false,
      indexedAt: 2_000,
      vectors: {},
    });
    expect(await index.count(TENANT)).toEqual({ live: 0, deleted: 1 });
    expect(await index.findByItem(TENANT, 'a')).toEqual([]);
    expect(await index.findImageVectors(TENANT, [picture('a').sha256])).toEqual(new Map());
    expect(await index.sample(TENANT, 'image', 5)).toEqual([]);
    const legs = await index.search(TENANT, undefined, [
      { space: 'image', vector: imageVector(1, 2, 3), limit: 5 },
      { space: 'text', vector: textVector(1), limit: 5 },
      { space: 'keywords', keywords: ['shoe'], limit: 5 },
    ]);
    expect(legs).toEqual([[], [], []]);
  });

  test(`${name}: a deletion of what was never written holds against late writes`, async () => {
    await index.delete([deletion('a', 3)]);
    await index.writePictures([picture('a', { imageVersion: 2 })]);
    expect(await one('a')).toMatchObject({ kind: 'picture', deleted: true, imageVersion: 3, recordVersion: 3 });
  });

  test(`${name}: a tombstone remembers the digest that it was given, until a newer deletion`, async () => {
    await index.writeRecords([passage(itemRecord('a', 'some text'), 0)]);
    const { assetId } = passage(itemRecord('a'), 0);
    const tombstone = { assetId, tenant: TENANT, reason: 'removed' as const, object: null, at: 5 };
    const stored = async () => (await index.get(TENANT, [assetId])).get(assetId);
    await index.delete([{ ...tombstone, version: 4, sha256: 'd1' }]);
    expect(await stored()).toMatchObject({ kind: 'passage', deleted: true, deletedBecause: 'removed', sha256: 'd1' });
    await index.delete([{ ...tombstone, version: 3, sha256: 'late' }]);
    expect(await stored()).toMatchObject({ sha256: 'd1' });
    await index.delete([{ ...tombstone, version: 5 }]);
    expect(await stored()).toMatchObject({ sha256: null });
  });

  test(`${name}: a newer write revives a tombstone, its own half only`, async () => {
    await index.writePictures([picture('a')]);
    await index.writeRecords([pictureRecord('a', [itemRecord('a', 'shoe')])]);
    await index.delete([deletion('a', 10)]);
    await index.writePictures([picture('a', { imageVersion: 11 })]);
    expect(await one('a')).toMatchObject({
      deleted: false,
      deletedBecause: null,
      hasImage: true,
      hasText: false,
      records: [],
      recordVersion: 10,
    });
    await index.writeRecords([pictureRecord('a', [itemRecord('a', 'shoe')], { recordVersion: 12 })]);
    expect(await one('a')).toMatchObject({
      hasText: true,
      records: [itemRecord('a', 'shoe')],
      imageVersion: 11,
      recordVersion: 12,
    });
    expect(await index.search(TENANT, undefined, [{ space: 'keywords', keywords: ['shoe'], limit: 5 }])).toMatchObject([
      [{ assetId: assetIdOf('a') }],
    ]);
  });

  test(`${name}: a deletion takes only the halves that are older`, async () => {
    await index.writePictures([picture('a', { imageVersion: 20 })]);
    await index.writeRecords([pictureRecord('a', [itemRecord('a')], { recordVersion: 5 })]);
    await index.delete([deletion('a', 10)]);
    expect(await one('a')).toMatchObject({
      deleted: false,
      hasImage: true,
      imageVersion: 20,
      hasText: false,
      records: [],
      recordVersion: 10,
    });
    await index.delete([deletion('a', 9)]);
    expect(await one('a')).toMatchObject({ recordVersion: 10 });
  });

  test(`${name}: vectors are found by the content's hash, within the tenant`, async () => {
    const same = { sha256: 'c'.repeat(64), vector: imageVector(4, 5), widthPx: 3, heightPx: 2 };
    await index.writePictures([picture('a', same), picture('b', same), picture('other')]);
    const found = await index.findImageVectors(TENANT, ['c'.repeat(64), 'd'.repeat(64)]);
    expect(found).toEqual(new Map([['c'.repeat(64), { vector: imageVector(4, 5), widthPx: 3, heightPx: 2 }]]));
    expect(await index.findImageVectors('rival', ['c'.repeat(64)])).toEqual(new Map());
    await index.writePictures([picture('a', { imageVersion: 2 }), picture('b', { imageVersion: 2 })]);
    expect(await index.findImageVectors(TENANT, ['c'.repeat(64)])).toEqual(new Map());
  });

  test(`${name}: an item's points are its pictures and passages`, async () => {
    const lamp = itemRecord('lamp');
    const second = passage(lamp, 1);
    await index.writeRecords([
      pictureRecord('a', [lamp]),
      pictureRecord('b', [itemRecord('chair'), lamp]),
      pictureRecord('c', [itemRecord('chair')]),
      second,
    ]);
    const found = (await index.findByItem(TENANT, 'lamp')).map((point) => point.assetId);
    expect(found.toSorted()).toEqual([assetIdOf('a'), assetIdOf('b'), second.assetId].toSorted());
    expect(await index.findByItem(TENANT, 'lam')).toEqual([]);
  });

  test(`${name}: a scan pages through every point in order of id`, async () => {
    const keys = Array.from({ length: 25 }, (_, i) => `key-${i}`);
    await index.writePictures(keys.map((key) => picture(key)));
    await index.delete([deletion('key-3', 9)]);
    const seen: string[] = [];
    for (
      let page = await index.scan(TENANT, { limit: 7 });
      page.length > 0;
      page = await index.scan(TENANT, { after: seen.at(-1), limit: 7 })
    ) {
      seen.push(...page.map((point) => point.assetId));
    }
    expect(seen).toEqual(keys.map((key) => assetIdOf(key)).toSorted());
    expect((await index.scan(TENANT, { limit: 1, withVectors: true }))[0]?.vectors).toBeDefined();
  });

  test(`${name}: a sample is spread over the ids and never larger than asked`, async () => {
    const keys = Array.from({ length: 40 }, (_, i) => `key-${i}`);
    await index.writePictures(keys.map((key, i) => picture(key, { vector: imageVector(1, i) })));
    expect(await index.sample(TENANT, 'image', 100)).toHaveLength(40);
    expect(await index.sample(TENANT, 'text', 100)).toEqual([]);
    expect(await index.sample('rival', 'image', 100)).toEqual([]);
    const ten = await index.sample(TENANT, 'image', 10);
    expect(ten).toHaveLength(10);
    const inOrder = keys
      .map((key, i) => ({ id: assetIdOf(key), first: imageVector(1, i) }))
      .toSorted((a, b) => (a.id < b.id ? -1 : 1));
    const places = ten.map((vector) =>
      inOrder.findIndex(({ first }) => first.every((x, i) => Math.abs(x - (vector[i] ?? 0)) < 1e-6)),
    );
    // One from about every fourth: none of the four quarters of the ids is left out.
    expect(new Set(places.map((place) => Math.floor(place / 10))).size).toBe(4);
    expect(new Set(places).size).toBe(10);
  });

  test(`${name}: a purge drops the tombstones that are old enough, and nothing else`, async () => {
    await index.writePictures([picture('live'), picture('old'), picture('young'), picture('revived')]);
    await index.delete([deletion('old', 5, { at: 100 }), deletion('young', 5, { at: 200 }), deletion('revived', 5, { at: 100 })]);
    await index.writePictures([picture('revived', { imageVersion: 6 })]);
    expect(await index.purge('rival', 1_000)).toBe(0);
    expect(await index.purge(TENANT, 200)).toBe(1);
    expect(
      [
        ...(
          await index.get(
            TENANT,
            ['live', 'old', 'young', 'revived'].map((key) => assetIdOf(key)),
          )
        ).keys(),
      ].toSorted(),
    ).toEqual(['live', 'young', 'revived'].map((key) => assetIdOf(key)).toSorted());
    expect(await index.count(TENANT)).toEqual({ live: 2, deleted: 1 });
    // Its place is free again, also for an older version.
    await index.writePictures([picture('old', { imageVersion: 1 })]);
    expect(await index.count(TENANT)).toEqual({ live: 3, deleted: 1 });
  });

  test(`${name}: what a user removed is never purged`, async () => {
    await index.writePictures([picture('removed'), picture('gone'), picture('failed')]);
    await index.delete([
      deletion('removed', 5, { at: 100, reason: 'removed' }),
      deletion('gone', 5, { at: 100 }),
      deletion('failed', 5, { at: 100, reason: 'failed' }),
    ]);
    expect(await index.purge(TENANT, 1e15)).toBe(2);
    expect((await index.scan(TENANT, { limit: 9 })).map(({ object }) => object?.key)).toEqual(['removed']);
  });

  test(`${name}: no call reaches another tenant's points, not even under the same id`, async () => {
    const assetId = assetIdOf('a');
    const mine = { imageVersion: 5, vector: imageVector(1), sha256: 'a'.repeat(64) };
    await index.writePictures([
      picture('a', mine),
      { ...picture('a', { tenant: 'rival' }), assetId, vector: imageVector(0, 1), imageVersion: 3 },
    ]);
    await index.writeRecords([
      pictureRecord('a', [itemRecord('a', 'shoe', { c: 1 })]),
      { ...pictureRecord('a', [itemRecord('a', 'boot', { c: 1 })], { tenant: 'rival' }), assetId },
    ]);
    expect((await index.get('rival', [assetId])).get(assetId)).toMatchObject({ tenant: 'rival', imageVersion: 3 });
    await index.writePictures([picture('only mine', { vector: imageVector(0, 1) })]);
    await index.writeRecords([pictureRecord('only mine', [itemRecord('only mine', 'shoe', { c: 1 })])]);
    for (const filter of [undefined, { c: 1 }]) {
      const rivalLegs = await index.search('rival', filter, [
        { space: 'image', vector: imageVector(1), limit: 5 },
        { space: 'text', vector: textVector(3, 2, 1), limit: 5 },
        { space: 'keywords', keywords: ['shoe'], limit: 5 },
      ]);
      expect(rivalLegs).toEqual([[{ assetId, score: expect.closeTo(0, 5) }], [{ assetId, score: expect.closeTo(1, 5) }], []]);
      expect(await index.search('nobody', filter, [{ space: 'image', vector: imageVector(1), limit: 5 }])).toEqual([[]]);
    }
    expect(await index.findByItem('rival', 'only mine')).toEqual([]);
    expect(await index.sample('rival', 'image', 9)).toEqual([imageVector(0, 1)]);
    await index.delete([deletion('only mine', 50)]);
    expect(await index.purge(TENANT, 1e12)).toBe(1);
    expect(await index.findImageVectors('rival', ['a'.repeat(64)])).toEqual(new Map());
    await index.delete([{ ...deletion('a', 50, { tenant: 'rival' }), assetId }]);
    expect((await index.get(TENANT, [assetId])).get(assetId)).toMatchObject({
      deleted: false,
      records: [itemRecord('a', 'shoe', { c: 1 })],
    });
    expect(await index.purge('rival', 1e12)).toBe(1);
    expect(await index.count(TENANT)).toEqual({ live: 1, deleted: 0 });
    expect((await index.scan(TENANT, { limit: 10 })).map((point) => point.tenant)).toEqual([TENANT]);
  });

  test(`${name}: deleting a tenant takes its points and tombstones, and nobody else's`, async () => {
    const ofBoth = async () => {
      for (const tenant of [TENANT, 'rival']) {
        await index.writePictures([picture('a', { tenant }), picture('b', { tenant }), picture('c', { tenant })]);
        await index.writeRecords([
          pictureRecord('a', [itemRecord('a', 'shoe', { colour: 'red' })], { tenant }),
          passage(itemRecord('p', 'shoe', { colour: 'red' }), 1, { tenant }),
        ]);
        await index.delete([deletion('c', 9, { tenant, reason: 'removed' })]);
      }
    };
    const legs: Leg[] = [
      { space: 'image', vector: imageVector(1), limit: 9 },
      { space: 'text', vector: textVector(1), limit: 9 },
      { space: 'keywords', keywords: ['shoe'], limit: 9 },
    ];
    expect(await index.deleteTenant(TENANT)).toBe(0);
    await ofBoth();
    expect(await index.deleteTenant(TENANT)).toBe(4);
    expect(await index.deleteTenant(TENANT)).toBe(0);
    expect(await index.scan(TENANT, { limit: 9 })).toEqual([]);
    expect(await index.count(TENANT)).toEqual({ live: 0, deleted: 0 });
    for (const filter of [undefined, { colour: 'red' }]) expect(await index.search(TENANT, filter, legs)).toEqual([[], [], []]);
    expect(await index.findByItem(TENANT, 'p')).toEqual([]);
    expect(await index.findImageVectors(TENANT, [picture('a').sha256])).toEqual(new Map());
    expect(await index.count('rival')).toEqual({ live: 3, deleted: 1 });
    expect((await index.search('rival', undefined, legs)).map((hits) => hits.length)).toEqual([2, 2, 2]);
    expect((await index.search('rival', { colour: 'red' }, legs)).map((hits) => hits.length)).toEqual([1, 2, 2]);
    // Nothing of it stands in the way of the same points' return, not even a tombstone.
    await index.writePictures([picture('c', { imageVersion: 1 })]);
    expect((await index.scan(TENANT, { limit: 9 })).map((point) => point.object?.key)).toEqual(['c']);
    expect(await index.search(TENANT, { colour: 'red' }, legs)).toEqual([[], [], []]);
  });

  test(`${name}: a batch with a vector that cannot be stored is refused whole, with a code`, async () => {
    const wrongs = [
      { vector: new Float32Array(3).fill(1), code: 'index_encoder_mismatch' },
      { vector: new Float32Array(8), code: 'encoder_failed' },
      { vector: new Float32Array(8).fill(Number.NaN), code: 'encoder_failed' },
    ];
    for (const { vector, code } of wrongs) {
      await expect(index.writePictures([picture('good'), picture('bad', { vector })])).rejects.toMatchObject({ code });
    }
    await expect(index.writeRecords([pictureRecord('a', [], { vector: new Float32Array(8).fill(1) })])).rejects.toMatchObject({
      code: 'index_encoder_mismatch',
    });
    expect(await index.count(TENANT)).toEqual({ live: 0, deleted: 0 });
    await expect(index.search(TENANT, undefined, [{ space: 'text', vector: imageVector(1), limit: 5 }])).rejects.toMatchObject({
      code: 'index_encoder_mismatch',
    });
  });

  test(`${name}: a closed index says that it is unavailable`, async () => {
    await index.close();
    await expect(index.count(TENANT)).rejects.toMatchObject({ code: 'index_unavailable' });
    await expect(index.writePictures([picture('a')])).rejects.toMatchObject({ code: 'index_unavailable' });
    await index.close();
  });

  describeIndexSearch(name, () => index);
  describeIndexFilters(name, () => index);
  describeIndexRaces(name, () => index);
  describeIndexRecords(name, () => index);
  describeIndexCopies(name, () => index);
}
