import { expect, test } from '@jest/globals';
import type { PointCopy, VectorIndex } from '../src/ports/vector-index.ts';
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

/** What every VectorIndex does when points come from another version of the index: a part of describeVectorIndex. */
export function describeIndexCopies(name: string, indexOf: () => VectorIndex): void {
  const withKeywords = (copies: PointCopy[]) => copies.map((copy) => ({ ...copy, keywords: ['copied'] }));
  const all = (): Promise<PointCopy[]> => indexOf().copies(TENANT, { limit: 100 });

  /** A point of every kind of state. */
  const fill = async (): Promise<void> => {
    const index = indexOf();
    await index.writePictures(['bare', 'both', 'gone', 'half', 'back'].map((key, i) => picture(key, { imageVersion: 3 + i })));
    const records = [itemRecord('b', 'blue', { colour: 'blue', n: [1, 2] }), itemRecord('a', 'red')];
    await index.writeRecords([
      pictureRecord('both', records, { recordVersion: 9, indexedAt: 1_500 }),
      pictureRecord('half', [itemRecord('h')], { recordVersion: 30, vector: null }),
      passage(itemRecord('p', 'third'), 3, { recordVersion: 8 }),
    ]);
    await index.delete([
      deletion('gone', 10, { reason: 'removed', sha256: 'ab'.repeat(32) }),
      deletion('half', 20),
      deletion('back', 11),
    ]);
    await index.writePictures([picture('back', { imageVersion: 12, vector: imageVector(0, 1) })]);
  };

  test(`${name}: a copy tells a point half by half, in the order of the ids`, async () => {
    await fill();
    const copies = await all();
    expect(copies.map(({ assetId }) => assetId)).toEqual((await indexOf().scan(TENANT, { limit: 100 })).map((p) => p.assetId));
    const [both] = await indexOf().copies(TENANT, { assetIds: [assetIdOf('both'), assetIdOf('absent')] });
    expect(both).toEqual({
      assetId: assetIdOf('both'),
      tenant: TENANT,
      kind: 'picture',
      passageNo: 0,
      object: { bucket: 'pictures', key: 'both', eTag: 'etag-both' },
      sha256: picture('both').sha256,
      sizeBytes: 1000,
      widthPx: 640,
      heightPx: 480,
      image: { version: 4, at: 1_000, live: true },
      record: { version: 9, at: 1_500, live: true },
      records: [itemRecord('a', 'red'), itemRecord('b', 'blue', { colour: 'blue', n: [1, 2] })],
      deletedBecause: null,
      deletedAt: null,
      vectors: { image: imageVector(1, 2, 3), text: textVector(3, 2, 1) },
    });
    const stateOf = (key: string) => copies.find(({ assetId }) => assetId === assetIdOf(key));
    expect(stateOf('bare')).toMatchObject({ image: { live: true }, record: null, records: [] });
    expect(stateOf('gone')).toMatchObject({ image: { version: 10, live: false }, deletedBecause: 'removed', deletedAt: 2_000 });
    expect(stateOf('half')).toMatchObject({
      image: { version: 20, live: false },
      record: { version: 30, live: true },
      vectors: {},
    });
    const [first] = copies;
    expect(await indexOf().copies(TENANT, { after: first?.assetId ?? '', limit: 2 })).toEqual(copies.slice(1, 3));
    expect(await indexOf().copies('nobody', { limit: 10 })).toEqual([]);
    expect(await indexOf().tenants()).toEqual([TENANT]);
  });

  test(`${name}: what is put from copies is what was copied, and is found by its keywords, attributes and vectors`, async () => {
    await fill();
    const index = indexOf();
    const before = await all();
    const points = await index.scan(TENANT, { limit: 100, withVectors: true });
    await index.deleteTenant(TENANT);
    expect(await index.tenants()).toEqual([]);
    for (let round = 0; round < 2; round++) await index.putCopies(withKeywords(before).toReversed());
    expect(await all()).toEqual(before);
    expect(await index.scan(TENANT, { limit: 100, withVectors: true })).toEqual(points);
    const hits = await index.search(TENANT, { colour: 'blue' }, [
      { space: 'image', vector: imageVector(1, 2, 3), limit: 5 },
      { space: 'text', vector: textVector(3, 2, 1), limit: 5 },
      { space: 'keywords', keywords: ['copied'], limit: 5 },
    ]);
    expect(hits.map((leg) => leg.map(({ assetId }) => assetId))).toEqual(Array.from({ length: 3 }, () => [assetIdOf('both')]));
    expect((await index.findByItem(TENANT, 'a')).map(({ assetId }) => assetId)).toEqual([assetIdOf('both')]);
  });

  test(`${name}: only a half that is newer is put, and the other stays`, async () => {
    await fill();
    const index = indexOf();
    const [old] = await index.copies(TENANT, { assetIds: [assetIdOf('both')] });
    await index.writePictures([picture('both', { imageVersion: 50, sizeBytes: 50, vector: imageVector(5) })]);
    if (!old?.record) throw new Error('no copy');
    const newer = {
      ...old,
      record: { ...old.record, version: 40 },
      records: [itemRecord('c')],
      vectors: { text: textVector(1) },
    };
    await index.putCopies(withKeywords([newer]));
    await index.putCopies(withKeywords([old]));
    const [now] = await index.copies(TENANT, { assetIds: [assetIdOf('both')] });
    expect(now).toMatchObject({
      sizeBytes: 50,
      image: { version: 50, live: true },
      record: { version: 40 },
      records: [itemRecord('c')],
      vectors: { image: imageVector(5), text: textVector(1) },
    });
  });

  test(`${name}: the copy of a deletion takes the vectors along, and an older write does not bring them back`, async () => {
    await fill();
    const index = indexOf();
    const [live] = await index.copies(TENANT, { assetIds: [assetIdOf('both')] });
    await index.delete([deletion('both', 60)]);
    const dead = await index.copies(TENANT, { assetIds: [assetIdOf('both')] });
    await index.deleteTenant(TENANT);
    await index.putCopies(withKeywords(live ? [live] : []));
    await index.putCopies(withKeywords(dead));
    await index.writePictures([picture('both', { imageVersion: 59 })]);
    expect(await all()).toEqual(dead);
    const [hits] = await index.search(TENANT, undefined, [{ space: 'keywords', keywords: ['copied'], limit: 5 }]);
    expect(hits).toEqual([]);
    expect(await index.count(TENANT)).toEqual({ live: 0, deleted: 1 });
  });

  test(`${name}: a copy is found by the pictures that its records name, and among what was pushed`, async () => {
    const index = indexOf();
    const named = { bucket: 'pictures', key: 'named' };
    const record = { ...itemRecord('pushed', 'a text'), pictures: [named], pushed: true };
    await index.writeRecords([passage(record, 0, { recordVersion: 4 })]);
    const copies = await all();
    await index.deleteTenant(TENANT);
    await index.putCopies(withKeywords(copies));
    expect(await all()).toEqual(copies);
    const pictureId = assetIdOf('named');
    const naming = await index.findByPicture(TENANT, [pictureId]);
    expect(naming.get(pictureId)?.map(({ assetId }) => assetId)).toEqual([copies[0]?.assetId]);
    expect((await index.scan(TENANT, { limit: 9, pushed: true })).map(({ assetId }) => assetId)).toEqual([copies[0]?.assetId]);
  });
}
