import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';
import { ingestionAccepted, ingestionView, itemView, searchResponse, type ItemView } from '@sightline/shared/contracts/http';
import { ApiClient } from '../../scripts/api-client.ts';
import { startStack } from '../harness/stack.ts';

const PICTURES = fileURLToPath(new URL('../../sample/images/products', import.meta.url));

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

test('a record that is set shows, changes and goes, and its picture comes when its file does', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sightline-pushed-'));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  const [one = '', two = ''] = readdirSync(PICTURES).toSorted();
  mkdirSync(join(folder, 'pictures'));
  cpSync(join(PICTURES, one), join(folder, 'pictures', one));
  const stack = await startStack({ dataDir: join(folder, 'data') });
  cleanups.push(() => stack.stop());
  const client = new ApiClient(stack.url);
  const url = `${stack.url}/v1/items/sku-1`;
  const put = async (record: object): Promise<void> => {
    const answer = await fetch(url, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(record),
    });
    expect({ status: answer.status, body: await answer.json() }).toEqual({
      status: 202,
      body: { item_id: 'sku-1', status: 'accepted' },
    });
  };
  const shown = async (isSo: (item: ItemView | null) => boolean): Promise<ItemView | null> => {
    for (const endsAt = performance.now() + 60_000; ; await sleep(50)) {
      const answer = await fetch(url);
      const item = answer.status === 404 ? null : itemView.parse(await answer.json());
      if (isSo(item)) return item;
      if (performance.now() > endsAt) throw new Error(`It shows ${JSON.stringify(item)}`);
    }
  };

  const source = { type: 'directory', path: join(folder, 'pictures') };
  const { links } = await client.post('/v1/ingestions', { source }, ingestionAccepted);
  while ((await client.get(links.self, ingestionView)).status !== 'completed') await sleep(50);

  const images = [one, two].map((name) => join(folder, 'pictures', name));
  const record = { title: 'Zebrawood ladle', text: 'Carved by hand.', attributes: { price: 12 }, images };
  await put(record);
  const item = await shown((now) => now !== null);
  expect(item?.pictures.map(({ indexed }) => indexed)).toEqual([true, false]);
  const found = await client.post('/v1/search', { query: 'zebrawood', filter: { price: 12 } }, searchResponse);
  expect(found.results[0]).toMatchObject({ item_id: 'sku-1', asset_id: item?.pictures[0]?.asset_id });

  cpSync(join(PICTURES, two), join(folder, 'pictures', two));
  await shown((now) => now?.pictures.every(({ indexed }) => indexed) ?? false);
  await put({ ...record, attributes: { price: 15 }, images: images.slice(1) });
  await shown((now) => now?.attributes['price'] === 15 && now.pictures.length === 1);
  const changed = await client.post('/v1/search', { query: 'zebrawood', filter: { price: 15 } }, searchResponse);
  expect(changed.results.map(({ item_id }) => item_id)).toEqual(['sku-1']);

  expect((await fetch(url, { method: 'DELETE' })).status).toBe(200);
  await shown((now) => now === null);
}, 180_000);
