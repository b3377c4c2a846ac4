import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { DEFAULT_TENANT, pictureAssetId } from '@sightline/shared/contracts/ids';
import { tenantsNaming } from '@sightline/shared/ingestion/pushed-places';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { openRig, type Rig } from './testing/query-api-rig.ts';

let rig: Rig;

beforeEach(async () => {
  rig = await openRig({ allowedSources: ['shop'] });
});
afterEach(() => rig.close());

function ask(method: 'GET' | 'PUT' | 'DELETE', itemId: string, payload?: object, remoteAddress = '127.0.0.1') {
  const url = `/v1/items/${encodeURIComponent(itemId)}`;
  const headers = { host: 'localhost:8080' };
  return rig.app.inject({ method, url, headers, remoteAddress, ...(payload && { payload }) });
}

async function owed() {
  const options = { limit: 10, claimMs: 0, soloAfter: 9, at: Date.now() };
  return (await rig.ledger.takeChanges(DEFAULT_TENANT, options)).map(({ change }) => change);
}

test('a record is accepted once it is owed, and its worker is called; the newest takes the place of the others', async () => {
  const record = { title: 'Bike', text: 'Fast.', attributes: { price: 9 }, images: ['s3://shop/a b.jpg', 's3://shop/a b.jpg'] };
  const answer = await ask('PUT', 'sku/1 ü', record);
  expect({ status: answer.statusCode, body: answer.json() }).toEqual({
    status: 202,
    body: { item_id: 'sku/1 ü', status: 'accepted' },
  });
  expect(rig.queue.added.map(({ name }) => name)).toEqual(['encode-changes']);
  const pictures = [{ bucket: 'shop', key: 'a b.jpg' }];
  const { images: _, ...rest } = record;
  expect(await owed()).toEqual([{ kind: 'item', itemId: 'sku/1 ü', record: { itemId: 'sku/1 ü', ...rest, pictures } }]);
  expect(await tenantsNaming(rig.ledger, 'shop')).toEqual([DEFAULT_TENANT]);
  await ask('PUT', 'sku/1 ü', {});
  expect(await owed()).toMatchObject([{ record: { title: '', text: '', attributes: {}, pictures: [] } }]);
});

test('a queue that is away refuses no record: it is owed', async () => {
  rig.queue.failure = new SightlineError('queue_unavailable');
  expect((await ask('PUT', 'sku-1', { title: 'Bike' })).statusCode).toBe(202);
  expect(await owed()).toMatchObject([{ itemId: 'sku-1' }]);
});

test.each([
  [{ title: 7 }, 400, 'request_invalid'],
  [{ headline: 'x' }, 400, 'request_invalid'],
  [{ images: ['bike.jpg'] }, 400, 'request_invalid'],
  [{ images: ['https://shop/a.jpg'] }, 400, 'request_invalid'],
  [{ images: ['s3://shop/../other/a.jpg'] }, 400, 'request_invalid'],
  [{ images: ['/pictures/'] }, 400, 'request_invalid'],
  [{ images: ['s3://shop/a.jpg', 's3://other/a.jpg'] }, 403, 'source_not_allowed'],
  [{ images: ['s3://sightline/reports/x'] }, 403, 'source_not_allowed'],
])('%j is refused, and nothing is owed', async (payload, status, code) => {
  const answer = await ask('PUT', 'sku-1', payload);
  expect({ status: answer.statusCode, code: answer.json().code }).toEqual({ status, code });
  expect(await owed()).toEqual([]);
});

test('files of the machine are named by its owner only, and are the pictures that an ingested folder has', async () => {
  const images = [`${rig.folder}/pictures/sub/a.png`, `${rig.folder}/else/b.png`];
  expect((await ask('PUT', 'sku-1', { images }, '10.0.0.9')).json().code).toBe('source_not_allowed');
  const source = { type: 'directory', path: `${rig.folder}/pictures` } as const;
  await rig.ledger.createIngestion({ ingestionId: 'i', tenant: DEFAULT_TENANT, source, createdAt: 1 });
  expect((await ask('PUT', 'sku-1', { images })).statusCode).toBe(202);
  const pictures = [
    { bucket: `${rig.folder}/pictures`, key: 'sub/a.png' },
    { bucket: `${rig.folder}/else`, key: 'b.png' },
  ];
  expect(await owed()).toMatchObject([{ record: { pictures } }]);
});

test('an item is shown from its points: text, pictures and which of them are indexed', async () => {
  const pictures = ['a.png', 'absent.png'].map((key) => ({ bucket: rig.bucket, key }));
  const record = { itemId: 'sku-1', title: 'Bike', text: 'One.', attributes: { price: 9 }, pictures, pushed: true };
  const assetId = await rig.addPicture('a.png', [1, 0, 0], [record]);
  await rig.addPassage({ ...record, text: 'Three.' }, 2);
  await rig.addPassage({ ...record, text: 'Two.' }, 1);
  const answer = await ask('GET', 'sku-1');
  expect(answer.json()).toEqual({
    item_id: 'sku-1',
    title: 'Bike',
    text: 'One.\nTwo.\nThree.',
    attributes: { price: 9 },
    pictures: [
      { asset_id: assetId, object: pictures[0], indexed: true },
      { asset_id: pictureAssetId(DEFAULT_TENANT, rig.bucket, 'absent.png'), object: pictures[1], indexed: false },
    ],
    pushed: true,
    indexed_at: expect.any(String),
  });
  expect((await ask('GET', 'sku-2')).json()).toMatchObject({ status: 404, code: 'item_not_found' });
});

test('removing an item withdraws the record that waits, whether the item shows or not', async () => {
  await rig.addPassage({ itemId: 'sku-1', title: 'Bike', text: 'One.', attributes: {} }, 0);
  await ask('PUT', 'sku-1', { title: 'New' });
  expect((await ask('DELETE', 'sku-1')).json().removed).toHaveLength(1);
  expect(await owed()).toEqual([{ kind: 'item', itemId: 'sku-1', record: null }]);
  expect((await ask('DELETE', 'sku-1')).statusCode).toBe(404);
  await ask('PUT', 'sku-2', { title: 'New' });
  expect((await ask('DELETE', 'sku-2')).statusCode).toBe(404);
  expect(await owed()).toContainEqual({ kind: 'item', itemId: 'sku-2', record: null });
});
