import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { DEFAULT_TENANT, pictureAssetId } from '@sightline/shared/contracts/ids';
import { FlowRig } from './testing/flow-rig.ts';

const LAMP = { item_id: 'lamp', title: 'Lamp', text: 'Bright. Tall.', attributes: { price: 10 }, images: ['a.png'] };

let rig: FlowRig;

beforeEach(async () => {
  rig = await FlowRig.open();
  await rig.write('a.png', 'one');
});

afterEach(async () => {
  await rig.close();
});

/** Ingests the records; answers what the encoder was given for that. */
async function ingest(...lines: object[]): Promise<{ texts: string[]; pictures: number }> {
  rig.encoder.texts.length = 0;
  rig.encoder.batches.length = 0;
  await rig.write('manifest.jsonl', lines.map((line) => JSON.stringify(line)).join('\n'));
  await rig.run({ type: 'manifest', uri: `${rig.source}/manifest.jsonl` });
  expect((await rig.audit()).findings).toEqual([]);
  return { texts: rig.encoder.texts.toSorted(), pictures: rig.encoder.batches.reduce((sum, n) => sum + n, 0) };
}

async function standing(key: string) {
  const id = pictureAssetId(DEFAULT_TENANT, rig.source, key);
  return (await rig.index.get(DEFAULT_TENANT, [id], { withVectors: true })).get(id);
}

test('only what changed is encoded: attributes and pictures of a record leave its text alone, a text leaves the others', async () => {
  expect(await ingest(LAMP)).toEqual({ texts: ['Lamp\nBright.', 'Lamp\nTall.'], pictures: 1 });
  const before = await standing('a.png');

  expect(await ingest({ ...LAMP, attributes: { price: 12 } })).toEqual({ texts: [], pictures: 0 });
  const after = await standing('a.png');
  expect(after).toMatchObject({ records: [{ attributes: { price: 12 } }], hasText: true, vectors: before?.vectors });

  // A further picture, of which the store has nothing.
  expect(await ingest({ ...LAMP, images: ['a.png', 'absent.png'] })).toEqual({ texts: [], pictures: 0 });
  expect(await ingest({ ...LAMP, text: 'Bright. Very tall.' })).toEqual({ texts: ['Lamp\nVery tall.'], pictures: 0 });
  expect(await ingest({ ...LAMP, text: 'Bright. Very tall.' })).toEqual({ texts: [], pictures: 0 });
});

test('a picture that moved takes its vectors along, that of its text too', async () => {
  await ingest(LAMP);
  const before = await standing('a.png');
  await rig.write('moved/a.png', 'one');
  await rig.remove('a.png');
  expect(await ingest({ ...LAMP, images: ['moved/a.png'] })).toEqual({ texts: [], pictures: 0 });
  expect(await standing('moved/a.png')).toMatchObject({ hasImage: true, hasText: true, vectors: before?.vectors });
  expect(await standing('a.png')).toMatchObject({ deleted: true });
});

test('a text that loses its picture is not encoded again for a point of its own, nor when the picture is back', async () => {
  await ingest(LAMP);
  await rig.remove('a.png');
  expect(await ingest(LAMP)).toEqual({ texts: [], pictures: 0 });
  expect(await standing('a.png')).toMatchObject({ deleted: true });
  await rig.write('a.png', 'one');
  expect(await ingest(LAMP)).toEqual({ texts: [], pictures: 1 });
  expect(await standing('a.png')).toMatchObject({ deleted: false, hasText: true });
});
