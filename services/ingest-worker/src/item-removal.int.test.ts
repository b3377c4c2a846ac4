import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { DEFAULT_TENANT, passageAssetId, pictureAssetId } from '@sightline/shared/contracts/ids';
import { FlowRig } from './testing/flow-rig.ts';

const A = {
  item_id: 'A',
  title: 'Cooler',
  text: 'First. Second. Third.',
  attributes: { socket: 'AM4' },
  images: ['a.png', 'ab.png'],
};
const B = { item_id: 'B', title: 'Fan', text: 'Blows.', images: ['ab.png'] };

let rig: FlowRig;

beforeEach(async () => {
  rig = await FlowRig.open();
  await rig.write('a.png', 'one');
  await rig.write('ab.png', 'two');
});

afterEach(async () => {
  await rig.close();
});

function ingest(...lines: object[]) {
  return rig
    .write('manifest.jsonl', lines.map((line) => JSON.stringify(line)).join('\n'))
    .then(() => rig.run({ type: 'manifest', uri: `${rig.source}/manifest.jsonl` }));
}

const idOf = (key: string): string => pictureAssetId(DEFAULT_TENANT, rig.source, key);
const passageId = (itemId: string, no: number): string => passageAssetId(DEFAULT_TENANT, itemId, no);

async function standing(itemId: string): Promise<string[]> {
  return (await rig.index.findByItem(DEFAULT_TENANT, itemId)).map(({ assetId }) => assetId).toSorted();
}

async function expectClean(): Promise<void> {
  expect((await rig.audit()).findings).toEqual([]);
}

test('a removed item that its manifest still lists stays removed, on shared pictures too, and the audit agrees at any time', async () => {
  await ingest(A, B);
  expect(await standing('A')).toEqual([idOf('a.png'), idOf('ab.png'), passageId('A', 1), passageId('A', 2)].toSorted());
  expect(await rig.removeItem('A')).toEqual({
    removed: [idOf('a.png'), passageId('A', 1), passageId('A', 2)].toSorted(),
    detached: [idOf('ab.png')],
  });
  await expectClean();
  for (let i = 0; i < 2; i++) {
    expect(await ingest(A, B)).toMatchObject({ status: 'completed', counts: { listed: 3, unchanged: 3, indexed: 0, failed: 0 } });
    expect(await standing('A')).toEqual([]);
    expect(await standing('B')).toEqual([idOf('ab.png')]);
    await expectClean();
  }
  // Another white space, another order and another line are the same record.
  await ingest(B, { ...A, text: 'First.  Second.\nThird.', images: ['ab.png', 'a.png'] });
  expect(await standing('A')).toEqual([]);
  await expectClean();
});

test('a removed item comes back when its record differs, and its pictures when their bytes do', async () => {
  await ingest(A, B);
  await rig.removeItem('A');
  await ingest({ ...A, title: 'Better cooler' }, B);
  expect(await standing('A')).toEqual([idOf('ab.png'), passageId('A', 1), passageId('A', 2)].toSorted());
  await expectClean();
  await rig.write('a.png', 'another');
  await ingest({ ...A, title: 'Better cooler' }, B);
  expect(await standing('A')).toEqual([idOf('a.png'), idOf('ab.png'), passageId('A', 1), passageId('A', 2)].toSorted());
  await expectClean();
});

test('a text that comes back without any of its pictures has its first passage too, and keeps it', async () => {
  const alone = { ...A, images: ['a.png'] };
  await ingest(alone);
  await rig.removeItem('A');
  await expectClean();
  for (let i = 0; i < 2; i++) {
    await ingest({ ...alone, text: 'Other. Words.' });
    expect(await standing('A')).toEqual([passageId('A', 0), passageId('A', 1)].toSorted());
    await expectClean();
  }
  await ingest(alone);
  await expectClean();
});

test('an item without pictures stays removed, and can be removed again after it came back', async () => {
  const bare = { item_id: 'C', title: 'Words', text: 'Only words. And more.' };
  await ingest(bare);
  await rig.removeItem('C');
  await ingest(bare);
  expect(await standing('C')).toEqual([]);
  await expectClean();
  await ingest({ ...bare, attributes: { colour: 'red' } });
  expect(await standing('C')).toHaveLength(2);
  await rig.removeItem('C');
  await ingest({ ...bare, attributes: { colour: 'red' } });
  expect(await standing('C')).toEqual([]);
  await expectClean();
  await expect(rig.removeItem('C')).rejects.toMatchObject({ code: 'item_not_found' });
});

test('the audit misses an item whose record has changed since it was removed', async () => {
  await ingest(A, B);
  await rig.removeItem('A');
  await rig.write('manifest.jsonl', [{ ...A, text: 'New.' }, B].map((line) => JSON.stringify(line)).join('\n'));
  expect((await rig.audit()).findings).toEqual(expect.arrayContaining([expect.objectContaining({ key: 'item:A' })]));
});
