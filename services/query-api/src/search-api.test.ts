import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { problem, searchRequest, searchResponse } from '@sightline/shared/contracts/http';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { openRig, pictureDataUrl, type Rig } from './testing/query-api-rig.ts';

let rig: Rig;
const ids: Record<string, string> = {};
const host = { host: '127.0.0.1:8080' };

const record = (itemId: string, title: string, text: string, attributes = {}) => ({ itemId, title, text, attributes });

beforeAll(async () => {
  rig = await openRig();
  ids['redShoe'] = await rig.addPicture(
    'red-shoe.png',
    [1, 0, 0],
    [record('shoe-1', 'Shoe', 'A running shoe.', { price: 50, kind: 'shoe' })],
  );
  ids['redShoeBack'] = await rig.addPicture(
    'red-shoe-back.png',
    [0.9, 0.1, 0],
    [record('shoe-1', 'Shoe', 'A running shoe.', { price: 50, kind: 'shoe' })],
  );
  ids['greenLamp'] = await rig.addPicture(
    'green-lamp.png',
    [0, 1, 0],
    [record('lamp-1', 'Lamp', 'A reading lamp for the desk.', { price: 20, kind: 'lamp' })],
  );
  ids['blueBoard'] = await rig.addPicture(
    'board.png',
    [0, 0, 1],
    [record('board-1', 'Mainboard', 'Socket AM4, four slots. 主板', { price: 120, kind: 'board' })],
  );
  ids['yellowBoard'] = await rig.addPicture(
    'board-2.png',
    [1, 1, 0],
    [record('board-2', 'Mainboard', 'Socket AM5, four slots.', { price: 180, kind: 'board' })],
  );
  ids['bare'] = await rig.addPicture('bare.png', [1, 0, 1], []);
});
afterAll(() => rig.close());

async function search(body: object) {
  const response = await rig.app.inject({ method: 'POST', url: '/v1/search', headers: host, payload: body });
  expect({ status: response.statusCode, body: response.json() }).toMatchObject({ status: 200 });
  return searchResponse.parse(response.json());
}

async function refusal(body: object) {
  const response = await rig.app.inject({ method: 'POST', url: '/v1/search', headers: host, payload: body });
  expect(response.headers['content-type']).toBe('application/problem+json');
  return problem.parse(response.json());
}

test('words find a picture that shows them, by the visual leg', async () => {
  const answer = await search({ query: 'green', explain: true });
  expect(answer.results[0]).toMatchObject({ item_id: 'lamp-1', citation_id: 'c1', object: { key: 'green-lamp.png' } });
  expect(answer.results[0]?.explain?.image.rank).toBe(1);
  expect(answer).toMatchObject({ degraded: false, encoder: { image: 'toy-image', text: 'toy-text' } });
});

test('a picture finds pictures that look like it, grouped by item, the best asset shown', async () => {
  const answer = await search({ image: { data: await pictureDataUrl([1, 0, 0]) }, explain: true });
  expect(answer.results[0]).toMatchObject({ item_id: 'shoe-1', asset_id: ids['redShoe'] });
  expect(answer.results.filter((result) => result.item_id === 'shoe-1')).toHaveLength(1);
  const byAsset = await search({ image: { data: await pictureDataUrl([1, 0, 0]) }, group_by: 'asset' });
  expect(byAsset.results.slice(0, 2).map((result) => result.asset_id)).toEqual([ids['redShoe'], ids['redShoeBack']]);
});

test('the picture of a query is not kept', async () => {
  await search({ image: { data: await pictureDataUrl([0.3, 0.4, 0.5]) } });
  const left: string[] = [];
  for await (const info of rig.store.list({ bucket: 'sightline', prefix: 'queries/' })) left.push(info.key);
  expect(left).toEqual([]);
});

test('alpha 0, 0.7 and 1 order differently, each as its weight says', async () => {
  const image = { data: await pictureDataUrl([1, 0, 0]) };
  const order = async (alpha: number) =>
    (await search({ query: 'reading lamp', image, alpha, limit: 10 })).results.map((result) => result.item_id);
  const [words, mixed, picture] = [await order(0), await order(0.7), await order(1)];
  expect(words[0]).toBe('lamp-1');
  expect(picture[0]).toBe('shoe-1');
  expect(mixed[0]).toBe('shoe-1');
  expect(new Set([words.join(), mixed.join(), picture.join()]).size).toBe(3);
});

test('an asset as the picture is left out of its own results', async () => {
  const answer = await search({ image: { asset_id: ids['redShoe'] }, group_by: 'asset', limit: 10 });
  const found = answer.results.map((result) => result.asset_id);
  expect(found[0]).toBe(ids['redShoeBack']);
  expect(found).not.toContain(ids['redShoe']);
  // Its item is found by its other picture, and scored by that one.
  const [item] = (await search({ image: { asset_id: ids['redShoe'] }, explain: true })).results;
  expect(item).toMatchObject({ item_id: 'shoe-1', asset_id: ids['redShoeBack'] });
  expect(item?.explain?.image.score).toBeLessThan(0.9999);
});

test('a code of the query puts the record that has it first, whatever else fits better', async () => {
  const answer = await search({ query: 'yellow mainboard AM4', explain: true });
  expect(answer.results[0]).toMatchObject({ item_id: 'board-1', explain: { code: true } });
  expect(answer.no_match).toBe(false);
});

test('an item id that is typed as it stands is found', async () => {
  expect((await search({ query: 'lamp-1' })).results[0]?.item_id).toBe('lamp-1');
});

test('two-character Chinese words and plurals are found by keywords', async () => {
  expect((await search({ query: '主板', mode: 'text', explain: true })).results[0]).toMatchObject({
    item_id: 'board-1',
    explain: { keywords: { rank: 1 } },
  });
  expect((await search({ query: 'shoes', mode: 'text', explain: true })).results[0]).toMatchObject({
    item_id: 'shoe-1',
    explain: { keywords: { rank: 1 } },
  });
});

test('mode text never looks at pictures, visually_similar never at texts', async () => {
  const text = await search({ query: 'green', mode: 'text', explain: true, limit: 10 });
  expect(text.results.every((result) => result.explain?.image.score === null)).toBe(true);
  const visual = await search({ query: 'green', mode: 'visually_similar', explain: true, limit: 10 });
  expect(visual.results[0]).toMatchObject({ item_id: 'lamp-1' });
  expect(visual.results.every((result) => result.explain?.text.score === null && result.explain.keywords.score === null)).toBe(
    true,
  );
});

test('a filter holds for every leg', async () => {
  const answer = await search({ query: 'green mainboard', filter: { kind: 'board', price: { gte: 150 } }, limit: 10 });
  expect(answer.results.map((result) => result.item_id)).toEqual(['board-2']);
});

test('a picture without a record is a result of its own', async () => {
  const answer = await search({ query: 'purple', mode: 'visually_similar' });
  expect(answer.results[0]).toMatchObject({ asset_id: ids['bare'], item_id: null, title: '', attributes: {} });
});

test('pages are cuts of one order; a cursor of another request is refused', async () => {
  const whole = await search({ query: 'green mainboard', limit: 10, group_by: 'asset' });
  const paged: string[] = [];
  let cursor: string | null = null;
  do {
    const page: Awaited<ReturnType<typeof search>> = await search({
      query: 'green mainboard',
      limit: 2,
      k: { image: 15, text: 15, keywords: 15 },
      group_by: 'asset',
      ...(cursor ? { cursor } : {}),
    });
    paged.push(...page.results.map((result) => `${result.citation_id} ${result.asset_id}`));
    cursor = page.next_cursor;
    if (cursor)
      expect(await refusal({ query: 'red', limit: 2, cursor })).toMatchObject({
        code: 'request_invalid',
        detail: expect.stringContaining('cursor'),
      });
  } while (cursor);
  expect(paged).toEqual(whole.results.map((result) => `${result.citation_id} ${result.asset_id}`));
});

test('a larger page later on repeats nothing and leaves nothing out', async () => {
  const first = { query: 'green mainboard', limit: 1, group_by: 'asset' };
  const page = await search(first);
  const rest = await search({ ...first, limit: 100, cursor: page.next_cursor });
  const seen = [...page.results, ...rest.results].map((result) => result.asset_id);
  const whole = await search({ ...first, limit: 15 });
  expect(seen).toEqual(whole.results.map((result) => result.asset_id));
  expect(rest.next_cursor).toBeNull();
});

test('a query with a NUL or half a surrogate pair in it reaches no store that refuses them', async () => {
  expect(searchRequest.parse({ query: 'green\0\ud800 lamp' }).query).toBe('green \ufffd lamp');
  expect((await search({ query: 'green\0\ud800 lamp' })).results[0]).toMatchObject({ item_id: 'lamp-1' });
  expect(await refusal({ query: '\0' })).toMatchObject({ code: 'request_invalid' });
});

test('nothing matches where min_score leaves nothing', async () => {
  expect(await search({ query: 'AM4', min_score: 1 })).toMatchObject({ results: [], no_match: true });
});

test('min_score leaves out what is less relevant', async () => {
  const all = await search({ query: 'reading lamp', limit: 10 });
  const cut = (all.results[0]?.relevance_score ?? 0) - 1e-9;
  const some = await search({ query: 'reading lamp', limit: 10, min_score: cut });
  expect(some.results.length).toBeGreaterThan(0);
  expect(some.results.every((result) => result.relevance_score >= cut)).toBe(true);
  expect(some.results.length).toBeLessThan(all.results.length);
});

test('the alignment of the candidates adds up to one', async () => {
  const answer = await search({ query: 'green', mode: 'visually_similar', limit: 10, explain: true });
  const total = answer.results.reduce((sum, result) => sum + (result.explain?.alignment ?? 0), 0);
  expect(total).toBeCloseTo(1, 6);
});

test('without an encoder the keywords answer, and the answer says so', async () => {
  rig.queue.failure = new SightlineError('encoder_unavailable');
  try {
    const answer = await search({ query: 'desk lamp nobody asked for before', explain: true });
    expect(answer).toMatchObject({ degraded: true, results: [{ item_id: 'lamp-1' }] });
    expect(answer.warnings.join()).toContain('keywords alone');
    expect(await refusal({ image: { data: await pictureDataUrl([0.2, 0.2, 0.9]) } })).toMatchObject({
      code: 'encoder_unavailable',
      status: 503,
    });
    const similar = await search({ image: { asset_id: ids['redShoe'] } });
    expect(similar).toMatchObject({ degraded: false });
  } finally {
    rig.queue.failure = null;
  }
});

test("a picture's own fault is the answer, with its code", async () => {
  rig.queue.failure = new SightlineError('picture_truncated');
  try {
    expect(await refusal({ image: { data: await pictureDataUrl([0.1, 0.1, 0.9]) } })).toMatchObject({
      code: 'picture_truncated',
      status: 422,
    });
  } finally {
    rig.queue.failure = null;
  }
});

test('a repeated query is not encoded again', async () => {
  await search({ query: 'twice asked' });
  const before = rig.queue.requests;
  await search({ query: 'twice asked' });
  expect(rig.queue.requests).toBe(before);
});

test('bad requests name the field', async () => {
  expect(await refusal({})).toMatchObject({ code: 'request_invalid', errors: [{ field: 'query' }] });
  expect(await refusal({ query: 'x', alpha: 2 })).toMatchObject({ errors: [{ field: 'alpha' }] });
  expect(await refusal({ query: 'x', colour: 'red' })).toMatchObject({ errors: [{ field: 'colour' }] });
  expect(await refusal({ query: 'x', k: { image: 0 } })).toMatchObject({ errors: [{ field: 'k.image' }] });
  expect(await refusal({ image: { data: 'data:image/png;base64,***' } })).toMatchObject({
    detail: expect.stringContaining('image.data'),
  });
  expect(await refusal({ image: { data: 'data:image/png;base64,' } })).toMatchObject({ code: 'picture_empty' });
  expect(await refusal({ image: { asset_id: '00000000-0000-4000-8000-000000000000' } })).toMatchObject({
    code: 'asset_not_found',
    status: 404,
  });
  expect(await refusal({ mode: 'text', image: { asset_id: ids['redShoe'] } })).toMatchObject({ code: 'request_invalid' });
});

test('a query that leaves nothing to search with finds nothing, and fails nothing', async () => {
  expect(await search({ query: '?!', mode: 'text' })).toMatchObject({ degraded: false });
  rig.queue.failure = new SightlineError('encoder_unavailable');
  try {
    expect(await search({ query: '?!…' })).toMatchObject({ results: [], no_match: true, degraded: true });
  } finally {
    rig.queue.failure = null;
  }
});

test('a filter value is compared, never run', async () => {
  expect(await search({ query: 'lamp', filter: { kind: "x' OR 1=1 --" } })).toMatchObject({ results: [], no_match: true });
});

test('what a noun and a short number name comes first, though others fit the words better', async () => {
  await rig.addPicture('sheet-12.png', [0.2, 0.2, 0.2], [record('sheet-a', 'Sheet 12', 'Sums.')]);
  await rig.addPicture('sheet-34.png', [0.2, 0.2, 0.3], [record('sheet-b', 'Sheet 34', 'Warm light for reading, 12 sums.')]);
  const answer = await search({ query: 'warm light for reading on sheet 12', explain: true });
  expect(answer.results[0]).toMatchObject({ item_id: 'sheet-a', explain: { code: false, named: true } });
  expect(answer.results[1]?.explain).toMatchObject({ named: false });
  // Also where nothing else fits: what is named is there.
  const found = async (query: string) => (await search({ query, limit: 10 })).results.find((one) => one.item_id === 'sheet-a');
  expect((await found('red yellow green zebras walked over long bridges on sheet 12'))?.relevance_score).toBeGreaterThanOrEqual(
    0.9,
  );
  expect((await found('red yellow green zebras walked over long bridges on sheet 56'))?.relevance_score ?? 0).toBeLessThan(0.9);
});
