import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { changeFailurePage, changesRetried, changesView } from '@sightline/shared/contracts/changes-http';
import { DEFAULT_TENANT } from '@sightline/shared/contracts/ids';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { openRig, type Rig } from './testing/query-api-rig.ts';

let rig: Rig;
const headers = { host: 'localhost:8080' };

beforeAll(async () => {
  rig = await openRig();
});
afterAll(() => rig.close());

const get = async (url: string) => (await rig.app.inject({ url, headers })).json();

test('what is owed, what failed, and that it is tried again', async () => {
  expect(changesView.parse(await get('/v1/changes'))).toEqual({ owed: 0, oldest_seconds: null });
  const at = Date.now() - 60_000;
  const keys = ['a.png', 'b.png', 'c.png'];
  const noted = keys.map((key) => ({ change: { kind: 'object' as const, bucket: 'shop', key }, changedAt: null }));
  const item = { change: { kind: 'item' as const, itemId: 'sku-1', record: null }, changedAt: null };
  await rig.ledger.noteChanges(DEFAULT_TENANT, [...noted, item], at);
  const owed = changesView.parse(await get('/v1/changes'));
  expect(owed.owed).toBe(4);
  expect(owed.oldest_seconds).toBeGreaterThanOrEqual(60);

  const taken = await rig.ledger.takeChanges(DEFAULT_TENANT, { limit: 9, claimMs: 1, soloAfter: 3, at });
  const failure = { code: 'picture_corrupt' as const, reason: 'It cannot be decoded.', eTag: 'e' };
  await rig.ledger.settleChanges(DEFAULT_TENANT, taken.map((one) => ({ ...one, failure })), at + 1_000); // prettier-ignore
  const failures = [];
  let cursor: string | null = null;
  do {
    const from: string = cursor === null ? '' : `&cursor=${cursor}`;
    const page = changeFailurePage.parse(await get(`/v1/changes/failures?limit=3${from}`));
    failures.push(...page.failures);
    cursor = page.next_cursor;
  } while (cursor !== null);
  const failed = { code: 'picture_corrupt', reason: 'It cannot be decoded.', failed_at: new Date(at + 1_000).toISOString() };
  expect(failures).toHaveLength(4);
  expect(failures).toEqual(
    expect.arrayContaining([
      ...keys.map((key) => ({ kind: 'object', bucket: 'shop', key, ...failed })),
      { kind: 'item', item_id: 'sku-1', ...failed },
    ]),
  );

  const retried = await rig.app.inject({ method: 'POST', url: '/v1/changes/retry', headers });
  expect(retried.statusCode).toBe(202);
  expect(changesRetried.parse(retried.json())).toEqual({ retried: 4 });
  expect(await get('/v1/changes')).toMatchObject({ owed: 4 });
  expect(rig.queue.added.filter(({ name }) => name === 'encode-changes')).toHaveLength(1);
  expect(changesRetried.parse((await rig.app.inject({ method: 'POST', url: '/v1/changes/retry', headers })).json())).toEqual({
    retried: 0,
  });
  expect(changeFailurePage.parse(await get('/v1/changes/failures'))).toEqual({ failures: [], next_cursor: null });
});

test('while the queue is away a retry is owed all the same', async () => {
  const at = Date.now();
  const taken = await rig.ledger.takeChanges(DEFAULT_TENANT, { limit: 9, claimMs: 1, soloAfter: 3, at });
  const failure = { code: 'picture_corrupt' as const, reason: 'r', eTag: 'e' };
  await rig.ledger.settleChanges(DEFAULT_TENANT, taken.map((one) => ({ ...one, failure })), at); // prettier-ignore
  rig.queue.failure = new SightlineError('queue_unavailable');
  const retried = await rig.app.inject({ method: 'POST', url: '/v1/changes/retry', headers });
  rig.queue.failure = null;
  expect({ status: retried.statusCode, body: retried.json() }).toEqual({ status: 202, body: { retried: 4 } });
});

test.each(['/v1/changes/failures?cursor=x', '/v1/changes/failures?limit=0', '/v1/changes/failures?cursor=1.5'])(
  '%s is refused as a bad request',
  async (url) => {
    expect(await get(url)).toMatchObject({ status: 400, code: 'request_invalid' });
  },
);
