import { expect, test } from '@jest/globals';
import { ITEM_SCHEMA, parseItemMessage } from './item-message.ts';

const PUT = {
  schema: ITEM_SCHEMA,
  op: 'put',
  tenant: 'shop',
  item_id: 'sku-1',
  title: 'Road bike',
  text: 'Aluminium frame.',
  attributes: { brand: 'Acme', price: 899, tags: ['new', 'sale'] },
  images: ['s3://shop-catalogue/img/1 +%20?.jpg', 's3://shop-catalogue/img/2.jpg', 's3://shop-catalogue/img/2.jpg'],
};

test('a record is read whole; a picture that is named twice counts once, and nothing in a key is decoded', () => {
  expect(parseItemMessage({ ...PUT, changed_at: '2026-11-29T05:00:00+01:00', ours: 'passed over' })).toEqual({
    tenant: 'shop',
    changedAt: Date.parse('2026-11-29T04:00:00Z'),
    change: {
      kind: 'item',
      itemId: 'sku-1',
      record: {
        itemId: 'sku-1',
        title: 'Road bike',
        text: 'Aluminium frame.',
        attributes: { brand: 'Acme', price: 899, tags: ['new', 'sale'] },
        pictures: [
          { bucket: 'shop-catalogue', key: 'img/1 +%20?.jpg' },
          { bucket: 'shop-catalogue', key: 'img/2.jpg' },
        ],
      },
    },
  });
});

test('what is left out is empty, and a deletion needs no record', () => {
  const about = { schema: ITEM_SCHEMA, tenant: 'shop', item_id: 'sku-1' };
  const record = { itemId: 'sku-1', title: '', text: '', attributes: {}, pictures: [] };
  expect(parseItemMessage({ ...about, op: 'put' })).toEqual({ tenant: 'shop', changedAt: null, change: { kind: 'item', itemId: 'sku-1', record } }); // prettier-ignore
  expect(parseItemMessage({ ...about, op: 'delete' }).change).toEqual({ kind: 'item', itemId: 'sku-1', record: null });
});

test.each([
  [{ ...PUT, schema: 'sightline.item/2' }, /sightline\.item\/2; this version reads sightline\.item\/1/],
  [{ ...PUT, schema: undefined }, /schema/],
  [{ ...PUT, op: 'merge' }, /op/],
  [{ ...PUT, tenant: 'Shop:other' }, /tenant/],
  [{ ...PUT, item_id: '' }, /item_id/],
  [{ ...PUT, item_id: 'a\0b' }, /item_id/],
  [{ ...PUT, title: 7 }, /title/],
  [{ ...PUT, attributes: { 'no spaces': 1 } }, /attributes/],
  [{ ...PUT, images: ['/etc/passwd'] }, /images: \/etc\/passwd is not s3/],
  [{ ...PUT, images: ['s3://bucket/a/../../other/key'] }, /images/],
  [{ ...PUT, images: ['s3://bucket/..'] }, /images/],
  [{ ...PUT, images: ['s3://bucket/'] }, /images/],
  [{ ...PUT, images: ['https://example.com/a.jpg'] }, /images/],
  [{ ...PUT, images: [`s3://bucket/${'ä'.repeat(600)}`] }, /images/],
  [{ ...PUT, images: Array.from({ length: 101 }, (_, i) => `s3://bucket/${i}`) }, /images/],
  [{ ...PUT, changed_at: 'yesterday' }, /changed_at/],
  [[PUT], /./],
  ['{}', /./],
  [null, /./],
])('%#: %j is refused with the reason', (value, reason) => {
  expect(() => parseItemMessage(value)).toThrow(expect.objectContaining({ code: 'item_message_invalid', message: expect.stringMatching(reason) })); // prettier-ignore
});
