import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { isSecret, mintSecret } from '@sightline/shared/contracts/api-key';
import { apiKeyIssued, apiKeyList, apiKeyView, problem } from '@sightline/shared/contracts/http';
import type { ApiKey, Scope } from '@sightline/shared/ports/ledger';
import { authModeOf } from './access.ts';
import { createApiKey, rotateApiKey } from './core/api-keys.ts';
import { KEY_FRESH_MS, KeyRing } from './core/key-ring.ts';
import { openRig, type Rig } from './testing/query-api-rig.ts';

let rig: Rig;
let admin: string;
let reader: string;

beforeAll(async () => {
  rig = await openRig({ auth: 'keys', host: '0.0.0.0' });
  admin = await issue('acme', ['admin']);
  reader = await issue('acme', ['read']);
});
afterAll(() => rig.close());

async function issue(tenant: string, scopes: Scope[], expiresAt: number | null = null): Promise<string> {
  const deps = { ledger: rig.ledger, now: Date.now, randomBytes };
  return (await createApiKey(deps, { tenant, name: scopes.join(), scopes, expiresAt })).secret;
}

const ask = (method: 'GET' | 'POST' | 'DELETE', url: string, authorization?: string, payload?: object) =>
  rig.app.inject({
    method,
    url,
    headers: { host: 'search.example', ...(authorization === undefined ? {} : { authorization }) },
    ...(payload ? { payload } : {}),
  });
const as = (secret: string) => `Bearer ${secret}`;

test('without a key nothing of a tenant is answered, and no two reasons look different but for a missing one', async () => {
  const missing = await ask('GET', '/v1/index');
  expect({ status: missing.statusCode, code: missing.json().code }).toEqual({ status: 401, code: 'api_key_missing' });
  expect(missing.headers['www-authenticate']).toBe('Bearer realm="sightline"');
  const revoked = await issue('acme', ['read']);
  const { keys } = apiKeyList.parse((await ask('GET', '/v1/keys', as(admin))).json());
  await ask('DELETE', `/v1/keys/${keys[0]?.key_id}`, as(admin));
  const expired = await issue('acme', ['read'], Date.now() - 1);
  const bodies = new Set<string>();
  for (const authorization of [
    as(revoked),
    as(expired),
    as(mintSecret(randomBytes).secret),
    as(`${reader.slice(0, -1)}_`),
    as('x'),
    'Bearer',
    'Basic YTpi',
    reader,
  ]) {
    const response = await ask('GET', '/v1/index', authorization);
    expect(response.statusCode).toBe(401);
    expect(response.headers['www-authenticate']).toBe('Bearer realm="sightline", error="invalid_token"');
    const { trace_id: _, ...body } = problem.parse(response.json());
    bodies.add(JSON.stringify(body));
  }
  expect(bodies.size).toBe(1);
  expect((await ask('GET', '/v1/index', as(reader))).statusCode).toBe(200);
  // The scheme's name is compared without regard to case (RFC 9110); any Host is served, because no browser holds a key.
  expect((await ask('GET', '/v1/index', `bearer ${reader}`)).statusCode).toBe(200);
});

test('a scope opens its own routes; admin opens all of its tenant', async () => {
  const [ingest, asking] = [await issue('acme', ['ingest']), await issue('acme', ['ask'])];
  const status = async (secret: string, method: 'GET' | 'POST' | 'DELETE', url: string, payload?: object) =>
    (await ask(method, url, as(secret), payload)).statusCode;
  expect(await status(reader, 'POST', '/v1/search', { query: 'x' })).toBe(200);
  expect(await status(ingest, 'POST', '/v1/search', { query: 'x' })).toBe(403);
  expect(await status(asking, 'GET', '/v1/index')).toBe(403);
  expect(await status(reader, 'DELETE', '/v1/items/none')).toBe(403);
  expect(await status(ingest, 'DELETE', '/v1/items/none')).toBe(404);
  for (const secret of [reader, ingest, asking]) {
    expect(await status(secret, 'GET', '/v1/keys')).toBe(403);
    expect(await status(secret, 'DELETE', '/v1/tenant?confirm=acme')).toBe(403);
  }
  expect(await status(admin, 'POST', '/v1/search', { query: 'x' })).toBe(200);
  expect(await status(admin, 'DELETE', '/v1/items/none')).toBe(404);
  const refused = await ask('GET', '/v1/keys', as(reader));
  expect(refused.headers['www-authenticate']).toBe('Bearer realm="sightline", error="insufficient_scope", scope="admin"');
  expect(refused.json()).toMatchObject({ code: 'scope_missing', detail: 'admin' });
});

test('what tells nothing of a tenant needs no key; metrics are not told to strangers', async () => {
  for (const url of ['/', '/page/page.js', '/healthz', '/readyz', '/openapi.json'])
    expect({ url, status: (await ask('GET', url)).statusCode }).toEqual({ url, status: 200 });
  for (const url of ['/metrics', '/nowhere']) expect((await ask('GET', url)).json().code).toBe('route_not_found');
});

test('a key is created, listed without its secret, used, rotated with an overlap, and revoked', async () => {
  const response = await ask('POST', '/v1/keys', as(admin), { name: ' shop ', scopes: ['read', 'read'], expires_in_days: 30 });
  expect(response.statusCode).toBe(201);
  const { key, secret } = apiKeyIssued.parse(response.json());
  expect(key).toMatchObject({ tenant: 'acme', name: 'shop', scopes: ['read'], revoked_at: null, last_used_at: null });
  expect(secret.startsWith(`sl_${key.key_id}_`) && isSecret(secret)).toBe(true);
  const list = await ask('GET', '/v1/keys', as(admin));
  expect(apiKeyList.parse(list.json()).keys[0]).toEqual(key);
  expect(list.body).not.toMatch(/sl_|[0-9a-f]{64}/);
  expect((await ask('GET', '/v1/index', as(secret))).statusCode).toBe(200);

  const rotated = apiKeyIssued.parse(
    (await ask('POST', `/v1/keys/${key.key_id}/rotate`, as(admin), { overlap_seconds: 600 })).json(),
  );
  expect(rotated.key).toMatchObject({ name: 'shop', scopes: ['read'] });
  for (const one of [secret, rotated.secret]) expect((await ask('GET', '/v1/index', as(one))).statusCode).toBe(200);
  const old = apiKeyList.parse((await ask('GET', '/v1/keys', as(admin))).json()).keys.find((one) => one.key_id === key.key_id);
  const left = Date.parse(old?.expires_at ?? '') - Date.now();
  expect(left).toBeGreaterThan(590_000);
  expect(left).toBeLessThan(610_000);
  expect(Date.parse(String(old?.last_used_at))).toBeGreaterThan(0);

  await ask('POST', `/v1/keys/${rotated.key.key_id}/rotate`, as(admin), { overlap_seconds: 0 });
  expect((await ask('GET', '/v1/index', as(rotated.secret))).statusCode).toBe(401);
  expect((await ask('POST', `/v1/keys/${rotated.key.key_id}/rotate`, as(admin), {})).json().code).toBe('request_invalid');

  const revoked = apiKeyView.parse((await ask('DELETE', `/v1/keys/${key.key_id}`, as(admin))).json());
  expect(revoked.revoked_at).not.toBeNull();
  expect((await ask('GET', '/v1/index', as(secret))).statusCode).toBe(401);
  expect(apiKeyView.parse((await ask('DELETE', `/v1/keys/${key.key_id}`, as(admin))).json())).toEqual(revoked);
});

test('a key that is rotated again in its overlap passes on what it was made for, not what is left of it', async () => {
  const day = 24 * 3_600_000;
  for (const lifeMs of [null, 30 * day]) {
    const at = { now: 1_000_000 };
    const deps = { ledger: rig.ledger, now: () => at.now, randomBytes };
    const expiresAt = lifeMs === null ? null : at.now + lifeMs;
    const { key } = await createApiKey(deps, { tenant: 'acme', name: 'n', scopes: ['read'], expiresAt });
    for (let turn = 0; turn < 3; turn++) {
      at.now += 60_000;
      const { key: next, replaced } = await rotateApiKey(deps, 'acme', { keyId: key.keyId, overlapMs: 600_000 });
      expect(next.expiresAt).toBe(lifeMs === null ? null : at.now + lifeMs);
      // The first overlap's end stays.
      expect(replaced.expiresAt).toBe(1_060_000 + 600_000);
    }
  }
});

test('the ledger keeps the hash of a secret and nothing that it could be made from', async () => {
  const secret = await issue('acme', ['read']);
  const [, , random = ''] = secret.split('_');
  const stored = JSON.stringify(await rig.ledger.listApiKeys(null));
  expect(stored).not.toContain(random);
  expect(stored).not.toContain(secret);
});

test('a tenant has its own points, told apart by its key', async () => {
  const other = await issue('other', ['read']);
  await rig.addPicture('lamp.png', [0, 1, 0], [{ itemId: 'lamp', title: 'Lamp', text: '', attributes: {} }], 'acme');
  const found = async (secret: string) =>
    (await ask('POST', '/v1/search', as(secret), { query: 'lamp' }))
      .json()
      .results.map((one: { item_id: string }) => one.item_id);
  expect(await found(reader)).toEqual(['lamp']);
  expect(await found(other)).toEqual([]);
});

test('every route that takes a body bounds it', async () => {
  const { paths } = (await ask('GET', '/openapi.json')).json();
  let tried = 0;
  for (const [path, methods] of Object.entries<Record<string, { requestBody?: object }>>(paths)) {
    if (!methods['post']?.requestBody) continue;
    const url = path.replace(/\{\w+\}/, 'a'.repeat(13));
    const response = await ask('POST', url, as(admin), { query: 'a'.repeat(16_000_000) });
    expect({ path, status: response.statusCode, code: response.json().code }).toMatchObject({
      status: 413,
      code: 'request_too_large',
    });
    tried++;
  }
  expect(tried).toBeGreaterThan(3);
});

test('no keys are for the loopback interface alone', () => {
  const mode = (host: string, auth?: 'none' | 'keys', allowedHosts: string[] = []) => authModeOf({ host, auth, allowedHosts });
  expect(mode('127.0.0.1')).toBe('none');
  expect(mode('localhost')).toBe('none');
  expect(mode('::1')).toBe('none');
  expect(mode('127.0.0.1', 'keys')).toBe('keys');
  expect(mode('0.0.0.0')).toBe('keys');
  expect(mode('::')).toBe('keys');
  expect(mode('192.168.0.7')).toBe('keys');
  // Behind a proxy the loopback interface is the world's.
  expect(mode('127.0.0.1', undefined, ['search.example'])).toBe('keys');
  for (const host of ['0.0.0.0', '::', '10.0.0.1', 'search.example'])
    expect(() => mode(host, 'none')).toThrow(expect.objectContaining({ code: 'config_invalid' }));
});

test('a server without keys on an address that others reach does not start', async () => {
  await expect(openRig({ host: '0.0.0.0', auth: 'none' })).rejects.toMatchObject({ code: 'config_invalid' });
});

/** A ledger that counts, and a clock to turn. */
function openRing(key: Partial<ApiKey> = {}) {
  const { secret, keyId } = mintSecret(randomBytes);
  const at = { now: 1_000_000, looks: 0, uses: [] as number[] };
  const stored: ApiKey = {
    keyId,
    tenant: 't',
    name: 'n',
    secretHash: '',
    scopes: ['read'],
    createdAt: 0,
    expiresAt: null,
    revokedAt: null,
    lastUsedAt: null,
    ...key,
  };
  const ring = new KeyRing({
    ledger: {
      findApiKey: async () => {
        at.looks++;
        return { ...stored };
      },
      updateApiKey: async (_, { lastUsedAt }) => {
        at.uses.push(lastUsedAt ?? 0);
        return stored;
      },
    },
    now: () => at.now,
    warn: () => undefined,
  });
  return { ring, secret, at, stored };
}

test('a key is looked up once in a few seconds, also by many at once, and its end is seen after them', async () => {
  const { ring, secret, at, stored } = openRing();
  await Promise.all([1, 2, 3, 4].map(() => ring.find(secret)));
  at.now += KEY_FRESH_MS - 1;
  expect(await ring.find(secret)).not.toBeNull();
  expect(at.looks).toBe(1);
  stored.revokedAt = at.now;
  at.now += 1;
  expect(await ring.find(secret)).toBeNull();
  expect(at.looks).toBe(2);
});

test('a key that expires between two looks is refused at its time', async () => {
  const { ring, secret, at } = openRing({ expiresAt: 1_000_500 });
  expect(await ring.find(secret)).not.toBeNull();
  at.now = 1_000_500;
  expect(await ring.find(secret)).toBeNull();
  expect(at.looks).toBe(1);
});

test('the last use of a key is written at most once a minute', async () => {
  const { ring, secret, at } = openRing({ lastUsedAt: 999_000 });
  for (let second = 0; second < 180; second++) {
    at.now += 1_000;
    await ring.find(secret);
  }
  expect(at.uses).toHaveLength(3);
});

test('guesses are remembered within bounds, and a ledger that is away is not', async () => {
  const { at } = openRing();
  let isAway = true;
  const ring = new KeyRing({
    ledger: {
      findApiKey: async () => {
        if (isAway) throw new Error('away');
        return null;
      },
      updateApiKey: async () => null,
    },
    now: () => at.now,
    warn: () => undefined,
  });
  const { secret } = mintSecret(randomBytes);
  await expect(ring.find(secret)).rejects.toThrow('away');
  isAway = false;
  expect(await ring.find(secret)).toBeNull();
  expect(ring.knows(secret)).toBe(false);
});
