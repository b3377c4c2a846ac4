import { expect, test } from '@jest/globals';
import type { VectorIndex } from '../src/ports/vector-index.ts';
import { assetIdOf, deletion, itemRecord, passage, picture, pictureRecord, TENANT } from './vector-index-points.ts';

/** What every VectorIndex knows of the pictures that records name, and of records that were pushed. */
export function describeIndexRecords(name: string, open: () => VectorIndex): void {
  const named = async (...keys: string[]): Promise<Record<string, string[]>> => {
    const ids = keys.map((key) => assetIdOf(key));
    const found = await open().findByPicture(TENANT, ids);
    return Object.fromEntries(keys.map((key, i) => [key, (found.get(ids[i]!) ?? []).map(({ assetId }) => assetId).sort()]));
  };
  const pushed = async (options: { after?: string; limit: number }): Promise<string[]> =>
    (await open().scan(TENANT, { ...options, pushed: true })).map(({ assetId }) => assetId);

  test(`${name}: records come back with their pictures in order, and whether they were pushed`, async () => {
    const record = itemRecord('a', 'text', {}, { keys: ['z.jpg', 'a.jpg'], pushed: true });
    await open().writeRecords([passage(record, 1)]);
    const point = (await open().findByItem(TENANT, 'a'))[0];
    expect(point?.records).toEqual([record]);
  });

  test(`${name}: live points are found by the pictures that their records name, indexed or not`, async () => {
    const index = open();
    const shared = itemRecord('a', '', {}, { keys: ['1.jpg', 'absent.jpg'] });
    const other = itemRecord('b', '', {}, { keys: ['1.jpg', '1.jpg'] });
    await index.writePictures([picture('1.jpg')]);
    await index.writeRecords([pictureRecord('1.jpg', [shared, other]), passage(shared, 1), passage(itemRecord('c'), 0)]);
    const [carrier, further] = [assetIdOf('1.jpg'), passage(shared, 1).assetId];
    expect(await named('1.jpg', 'absent.jpg', 'nobodys.jpg')).toEqual({
      '1.jpg': [carrier, further].sort(),
      'absent.jpg': [carrier, further].sort(),
      'nobodys.jpg': [],
    });
    expect(
      (await index.findByPicture(TENANT, [assetIdOf('absent.jpg')])).get(assetIdOf('absent.jpg'))?.[0]?.records,
    ).toBeDefined();
    expect(await index.findByPicture(TENANT, [])).toEqual(new Map());
    expect(await index.findByPicture('rival', [assetIdOf('1.jpg'), assetIdOf('1.jpg', 'rival')])).toEqual(new Map());

    // A newer record that names another picture, and a tombstone.
    await index.writeRecords([passage(itemRecord('a', '', {}, { keys: ['2.jpg'] }), 1, { recordVersion: 2 })]);
    expect(await named('1.jpg', 'absent.jpg', '2.jpg')).toEqual({
      '1.jpg': [carrier],
      'absent.jpg': [carrier],
      '2.jpg': [further],
    });
    await index.delete([deletion('1.jpg', 9)]);
    expect(await named('1.jpg', 'absent.jpg')).toEqual({ '1.jpg': [], 'absent.jpg': [] });
  });

  test(`${name}: many points that name one picture are all found`, async () => {
    const record = itemRecord('long', '', {}, { keys: ['1.jpg'] });
    await open().writeRecords(Array.from({ length: 1_100 }, (_, no) => passage(record, no)));
    expect((await named('1.jpg'))['1.jpg']).toHaveLength(1_100);
  });

  test(`${name}: two tenants whose records name the same picture do not find each other's`, async () => {
    const record = itemRecord('a', '', {}, { keys: ['1.jpg'], pushed: true });
    await open().writeRecords([passage(record, 0), passage(record, 0, { tenant: 'rival' })]);
    expect(await named('1.jpg')).toEqual({ '1.jpg': [passage(record, 0).assetId] });
    expect(await pushed({ limit: 10 })).toEqual([passage(record, 0).assetId]);
    await open().deleteTenant(TENANT);
    expect(await named('1.jpg')).toEqual({ '1.jpg': [] });
    const theirs = await open().findByPicture('rival', [assetIdOf('1.jpg', 'rival')]);
    expect([...theirs.values()].flat()).toHaveLength(1);
  });

  test(`${name}: points with pushed records are paged through alone, for as long as they have one`, async () => {
    const index = open();
    const record = (itemId: string, isPushed: boolean) => itemRecord(itemId, '', {}, { pushed: isPushed });
    await index.writeRecords([
      ...['a', 'b', 'c'].map((itemId) => passage(record(itemId, true), 0)),
      passage(record('plain', false), 0),
      pictureRecord('both', [record('plain', false), record('a', true)]),
    ]);
    const all = [...['a', 'b', 'c'].map((itemId) => passage(record(itemId, true), 0).assetId), assetIdOf('both')].sort();
    expect(await pushed({ limit: 10 })).toEqual(all);
    expect(await pushed({ limit: 2 })).toEqual(all.slice(0, 2));
    expect(await pushed({ limit: 10, after: all[1]! })).toEqual(all.slice(2));

    await index.writeRecords([pictureRecord('both', [record('a', false)], { recordVersion: 2 })]);
    await index.delete([{ ...deletion('', 5), assetId: passage(record('a', true), 0).assetId, object: null }]);
    expect(await pushed({ limit: 10 })).toEqual(['b', 'c'].map((itemId) => passage(record(itemId, true), 0).assetId).sort());
  });
}
