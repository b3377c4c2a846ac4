import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mintSecret } from '@sightline/shared/contracts/api-key';
import type { Scope } from '@sightline/shared/ports/ledger';
import { createApiKey } from './core/api-keys.ts';
import { openRig, type Rig } from './testing/query-api-rig.ts';

let rig: Rig;

beforeAll(async () => {
  rig = await openRig({ auth: 'keys', requestsPerMinute: { search: 3, ingest: 2, read: 4, public: 5, refused: 3 } });
});
afterAll(() => rig.close());

async function issue(scopes: Scope[] = ['admin']): Promise<string> {
  const deps = { ledger: rig.ledger, now: Date.now, randomBytes };
  return (await createApiKey(deps, { tenant: 't', name: 'n', scopes, expiresAt: null })).secret;
}

function ask(secret: string | null, url: string, options: { method?: 'GET' | 'POST' | 'DELETE'; from?: string } = {}) {
  return rig.app.inject({
    method: options.method ?? 'GET',
    url,
    headers: secret === null ? {} : { authorization: `Bearer ${secret}` },
    remoteAddress: options.from ?? '10.0.0.1',
    ...(options.method === 'POST' ? { payload: { query: 'x' } } : {}),
  });
}

test('a key has a budget of its own for each kind of request, told in the headers', async () => {
  const [one, two] = [await issue(), await issue()];
  const first = await ask(one, '/v1/search', { method: 'POST' });
  expect(first.statusCode).toBe(200);
  expect(first.headers).toMatchObject({ 'ratelimit-policy': '"search";q=3;w=60', ratelimit: '"search";r=2;t=60' });
  for (let i = 0; i < 2; i++) expect((await ask(one, '/v1/search', { method: 'POST' })).statusCode).toBe(200);
  const over = await ask(one, '/v1/search', { method: 'POST' });
  expect({ status: over.statusCode, code: over.json().code }).toEqual({ status: 429, code: 'rate_limited' });
  expect(over.headers['content-type']).toBe('application/problem+json');
  expect(Number(over.headers['retry-after'])).toBeGreaterThan(0);
  expect(Number(over.headers['retry-after'])).toBeLessThanOrEqual(60);
  expect(String(over.headers['ratelimit'])).toMatch(/^"search";r=0;t=\d+$/);
  // Searches are used up; reads, writes and other keys are not.
  expect((await ask(one, '/v1/index')).headers['ratelimit-policy']).toBe('"read";q=4;w=60');
  expect((await ask(one, '/v1/items/none', { method: 'DELETE' })).headers['ratelimit-policy']).toBe('"ingest";q=2;w=60');
  expect((await ask(two, '/v1/search', { method: 'POST' })).statusCode).toBe(200);
});

test('who has no valid key is limited by address, and keeps out no key that is known there', async () => {
  const from = '10.0.0.2';
  const known = await issue();
  expect((await ask(known, '/v1/index', { from })).statusCode).toBe(200);
  for (let i = 0; i < 3; i++) expect((await ask(mintSecret(randomBytes).secret, '/v1/index', { from })).statusCode).toBe(401);
  const over = await ask(mintSecret(randomBytes).secret, '/v1/index', { from });
  expect({ status: over.statusCode, code: over.json().code }).toEqual({ status: 429, code: 'rate_limited' });
  expect((await ask(null, '/v1/index', { from })).statusCode).toBe(429);
  expect((await ask(known, '/v1/index', { from })).statusCode).toBe(200);
  expect((await ask(null, '/v1/index', { from: '10.0.0.3' })).statusCode).toBe(401);
});

test('what needs no key is limited by address too; probes of life are not', async () => {
  const from = '10.0.0.4';
  const statuses: number[] = [];
  for (let i = 0; i < 7; i++) statuses.push((await ask(null, '/nowhere', { from })).statusCode);
  expect(statuses).toEqual([404, 404, 404, 404, 404, 429, 429]);
  for (let i = 0; i < 10; i++) expect((await ask(null, '/healthz', { from })).statusCode).toBe(200);
});

test('addresses of one IPv6 network count together', async () => {
  for (let i = 0; i < 5; i++) await ask(null, '/nowhere', { from: `2001:db8:1:1::${i}` });
  expect((await ask(null, '/nowhere', { from: '2001:db8:1:1::ff' })).statusCode).toBe(429);
  expect((await ask(null, '/nowhere', { from: '2001:db8:1:2::1' })).statusCode).toBe(404);
});

test("a client's address is taken from a proxy only where that proxy is trusted", async () => {
  const behind = await openRig({ auth: 'keys', trustedProxies: ['10.1.0.0/16'], requestsPerMinute: { public: 1 } });
  try {
    const visit = async (remoteAddress: string, client: string) =>
      (await behind.app.inject({ url: '/nowhere', remoteAddress, headers: { 'x-forwarded-for': client } })).statusCode;
    expect([await visit('10.1.0.1', '1.1.1.1'), await visit('10.1.0.1', '2.2.2.2'), await visit('10.1.0.1', '1.1.1.1')]).toEqual([
      404, 404, 429,
    ]);
    expect([await visit('10.2.0.1', '3.3.3.3'), await visit('10.2.0.1', '4.4.4.4')]).toEqual([404, 429]);
  } finally {
    await behind.close();
  }
});

test('without keys nothing is limited', async () => {
  const open = await openRig({ requestsPerMinute: { search: 1, ingest: 1, read: 1, public: 1, refused: 1 } });
  try {
    const headers = { host: '127.0.0.1:8080' };
    for (let i = 0; i < 3; i++) expect((await open.app.inject({ url: '/v1/index', headers })).statusCode).toBe(200);
  } finally {
    await open.close();
  }
});
