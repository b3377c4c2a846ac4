import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import type { Filter } from '../src/contracts/filter.ts';
import type { Attributes, PointRecord } from '../src/contracts/records.ts';
import type { VectorIndex } from '../src/ports/vector-index.ts';
import { matchesFilter } from '../src/retrieval/filter-match.ts';
import { assetIdOf, imageVector, itemRecord, picture, pictureRecord, TENANT, textVector } from './vector-index-points.ts';

const SEED = 20261123;

function angle(i: number): Float32Array {
  return imageVector(Math.cos(i / 600), Math.sin(i / 600));
}

/** The filter part of the contract: contracts/filter.ts on every leg, exact however few or many points pass. */
export function describeIndexFilters(name: string, index: () => VectorIndex): void {
  /** Keys that pass on each leg; the legs must agree. */
  const passing = async (filter: Filter, keys: string[]): Promise<string[]> => {
    const legs = await index().search(TENANT, filter, [
      { space: 'image', vector: imageVector(1, 1), limit: 1_000 },
      { space: 'text', vector: textVector(1, 1), limit: 1_000 },
      { space: 'keywords', keywords: ['thing'], limit: 1_000 },
    ]);
    const [image, ...others] = legs.map((leg) => leg.map((hit) => hit.assetId).toSorted());
    for (const other of others) expect(other).toEqual(image);
    return keys.filter((key) => image?.includes(assetIdOf(key)));
  };

  const write = async (points: Record<string, PointRecord[]>) => {
    const keys = Object.keys(points);
    await index().writePictures(keys.map((key) => picture(key)));
    await index().writeRecords(keys.map((key) => pictureRecord(key, points[key] ?? [], { keywords: ['thing'] })));
    return keys;
  };

  test(`${name}: filters compare by equality, sets and ranges, and types differ`, async () => {
    const attributes: Record<string, Attributes> = {
      red: { colour: 'red', price: 10, sale: true, sizes: ['s', 'm'], grades: [1, 20] },
      blue: { colour: 'blue', price: 20.5, sale: false, sizes: ['m', 'l'], grades: [10] },
      texts: { colour: 'RED', price: '10', sale: 'true', sizes: 'm', 'a.b-c_d': 'odd' },
      ones: { price: 1, sale: 1, one: true },
      none: {},
    };
    const keys = await write(
      Object.fromEntries(Object.entries(attributes).map(([key, own]) => [key, [itemRecord(`item-${key}`, '', own)]])),
    );
    const cases: [Filter, string[]][] = [
      [{}, ['red', 'blue', 'texts', 'ones', 'none']],
      [{ colour: 'red' }, ['red']],
      [{ colour: ['red', 'blue', 'green'] }, ['red', 'blue']],
      [{ colour: 'green' }, []],
      [{ unknown: 'red' }, []],
      [{ price: 10 }, ['red']],
      [{ price: '10' }, ['texts']],
      [{ price: [10, '10'] }, ['red', 'texts']],
      [{ sale: true }, ['red']],
      [{ sale: false }, ['blue']],
      [{ sale: 1 }, ['ones']],
      [{ one: 1 }, []],
      [{ price: { gte: 10 } }, ['red', 'blue']],
      [{ price: { gt: 10 } }, ['blue']],
      [{ price: { lt: 20.5 } }, ['red', 'ones']],
      [{ price: { lte: 20.5, gt: 1 } }, ['red', 'blue']],
      [{ price: { gt: 30, lt: 20 } }, []],
      [{ price: { gte: -1e9 } }, ['red', 'blue', 'ones']],
      [{ sale: { gte: 0 } }, ['ones']],
      [{ sizes: 'm' }, ['red', 'blue', 'texts']],
      [{ sizes: ['s', 'l'] }, ['red', 'blue']],
      // One value has to satisfy both ends: 1 and 20 do not make a value between 5 and 15.
      [{ grades: { gte: 5, lte: 15 } }, ['blue']],
      [{ colour: 'red', price: { lt: 11 }, sizes: ['m'] }, ['red']],
      [{ colour: 'red', price: 20.5 }, []],
      [{ item_id: 'item-red' }, ['red']],
      [{ item_id: ['item-red', 'item-none', 'x'] }, ['red', 'none']],
      [{ item_id: 'item-none', colour: 'red' }, []],
      [{ 'a.b-c_d': 'odd' }, ['texts']],
      [{ colour: "red' OR 1=1 --" }, []],
    ];
    for (const [filter, expected] of cases) expect([filter, await passing(filter, keys)]).toEqual([filter, expected]);
  });

  test(`${name}: on a shared picture one record has to satisfy the whole filter`, async () => {
    const keys = await write({
      shared: [itemRecord('one', '', { colour: 'red', size: 1 }), itemRecord('two', '', { colour: 'blue', size: 2 })],
      whole: [itemRecord('three', '', { colour: 'blue', size: 1 })],
    });
    expect(await passing({ colour: 'blue', size: 1 }, keys)).toEqual(['whole']);
    expect(await passing({ colour: 'red', size: 1 }, keys)).toEqual(['shared']);
    expect(await passing({ item_id: 'one', colour: 'blue' }, keys)).toEqual([]);
    expect(await passing({ size: [1, 2] }, keys)).toEqual(['shared', 'whole']);
  });

  test(`${name}: the record's id wins over an attribute called item_id`, async () => {
    const keys = await write({ a: [itemRecord('true-id', '', { item_id: 'false-id' })] });
    expect(await passing({ item_id: 'true-id' }, keys)).toEqual(['a']);
    expect(await passing({ item_id: 'false-id' }, keys)).toEqual([]);
  });

  test(`${name}: a picture without a record passes no filter`, async () => {
    await index().writePictures([picture('bare')]);
    expect(await index().search(TENANT, { colour: 'red' }, [{ space: 'image', vector: imageVector(1), limit: 5 }])).toEqual([[]]);
    expect(await index().search(TENANT, undefined, [{ space: 'image', vector: imageVector(1), limit: 5 }])).toMatchObject([
      [{ assetId: assetIdOf('bare') }],
    ]);
  });

  test(`${name}: the few that pass are found however far they are, and the nearest of many are exact`, async () => {
    const keys = Array.from({ length: 600 }, (_, i) => `key-${i}`);
    await index().writePictures(keys.map((key, i) => picture(key, { vector: angle(i) })));
    await index().writeRecords(
      keys.map((key, i) =>
        pictureRecord(key, [itemRecord(key, '', { rare: i >= 597, odd: i % 2 === 1 })], { keywords: ['thing'], vector: null }),
      ),
    );
    const ask = async (filter: Filter, limit: number) => {
      const [hits = []] = await index().search(TENANT, filter, [{ space: 'image', vector: angle(0), limit }]);
      return hits.map((hit) => hit.assetId);
    };
    expect(await ask({ rare: true }, 5)).toEqual([597, 598, 599].map((i) => assetIdOf(`key-${i}`)));
    expect(await ask({ odd: true }, 4)).toEqual([1, 3, 5, 7].map((i) => assetIdOf(`key-${i}`)));
    expect(await ask({ odd: true, rare: true }, 4)).toEqual([597, 599].map((i) => assetIdOf(`key-${i}`)));
    expect(await ask({ odd: [true, false] }, 600)).toHaveLength(600);
  });

  test(`${name}: a filter of the allowed size is answered`, async () => {
    const keys = await write({
      a: [itemRecord('a', '', Object.fromEntries(Array.from({ length: 32 }, (_, i) => [`f${i}`, 999])))],
    });
    const many = Array.from({ length: 1_000 }, (_, i) => i);
    expect(await passing(Object.fromEntries(Array.from({ length: 32 }, (_, i) => [`f${i}`, many])), keys)).toEqual(['a']);
  });

  test(`${name}: filters agree with the reference on generated records`, async () => {
    const scalar = fc.oneof(fc.constantFrom('a', 'b', '1', ''), fc.constantFrom(0, 1, 2, -1.5), fc.boolean());
    const field = fc.constantFrom('x', 'y', 'item_id');
    const attributes = fc.dictionary(fc.constantFrom('x', 'y'), fc.oneof(scalar, fc.array(scalar, { maxLength: 3 })), {
      maxKeys: 2,
    });
    const range = fc
      .record(
        {
          gt: fc.constantFrom(-2, 0, 1),
          gte: fc.constantFrom(-2, 0, 1),
          lt: fc.constantFrom(0, 1, 3),
          lte: fc.constantFrom(0, 1, 3),
        },
        { requiredKeys: [] },
      )
      .filter((bounds) => Object.keys(bounds).length > 0);
    const filter = fc.dictionary(field, fc.oneof(scalar, fc.array(scalar, { minLength: 1, maxLength: 3 }), range), {
      maxKeys: 3,
    });
    const record = fc.tuple(fc.constantFrom('a', 'b', 'c'), attributes).map(([itemId, own]) => itemRecord(itemId, '', own));
    const shared = fc.uniqueArray(record, { minLength: 1, maxLength: 2, selector: (one) => one.itemId });

    const [all = []] = fc.sample(fc.array(shared, { minLength: 120, maxLength: 120 }), { seed: SEED, numRuns: 1 });
    const points = Object.fromEntries(all.map((records, i) => [`key-${i}`, records]));
    const keys = await write(points);
    for (const wanted of fc.sample(filter, { seed: SEED, numRuns: 150 })) {
      const expected = keys.filter((key) => points[key]?.some((one) => matchesFilter(one, wanted)));
      expect([wanted, await passing(wanted, keys)]).toEqual([wanted, expected]);
    }
  });
}
