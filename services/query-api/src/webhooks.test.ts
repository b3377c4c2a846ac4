import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { problem } from '@sightline/shared/contracts/http';
import {
  deliveryList,
  replayed,
  webhookIssued,
  webhookList,
  webhookRemoved,
  webhookView,
} from '@sightline/shared/contracts/webhook-http';
import { ROTATION_MS } from '@sightline/shared/contracts/webhooks';
import type { Scope } from '@sightline/shared/ports/ledger';
import { Webhook as Standard } from 'standardwebhooks';
import { createApiKey } from './core/api-keys.ts';
import { openRig, type Rig } from './testing/query-api-rig.ts';

let rig: Rig;
let admin: string;
let reader: string;
let other: string;

beforeAll(async () => {
  rig = await openRig({ auth: 'keys', host: '0.0.0.0' });
  [admin, reader, other] = [await issue('acme', ['admin']), await issue('acme', ['read']), await issue('other', ['admin'])];
});
afterAll(() => rig.close());

async function issue(tenant: string, scopes: Scope[]): Promise<string> {
  const deps = { ledger: rig.ledger, now: Date.now, randomBytes };
  return (await createApiKey(deps, { tenant, name: scopes.join(), scopes, expiresAt: null })).secret;
}

const ask = (secret: string, method: 'GET' | 'POST' | 'PATCH' | 'DELETE', url: string, payload?: object) =>
  rig.app.inject({ method, url, headers: { authorization: `Bearer ${secret}` }, ...(payload ? { payload } : {}) });

async function add(secret = admin, more: object = {}) {
  const payload = { url: 'https://hooks.example.com/in', events: ['question.answered'], ...more };
  const response = await ask(secret, 'POST', '/v1/webhooks', payload);
  expect(response.statusCode).toBe(201);
  return webhookIssued.parse(response.json());
}

const tell = (subject: string, at: number, tenant = 'acme') =>
  rig.ledger.addMessages([
    { messageId: `${subject}-${at}`, tenant, type: 'question.answered', subject, at, data: '{}', event: null, to: null },
  ]);

test('a webhook is added, with a secret that the standard takes and that is told once', async () => {
  const { webhook, secret } = await add(admin, { description: 'Orders' });
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  expect(() => new Standard(secret ?? '').sign('id', new Date(), '{}')).not.toThrow();
  expect(webhook).toMatchObject({
    url: 'https://hooks.example.com/in',
    description: 'Orders',
    enabled: true,
    disabled_because: null,
    secrets: [{ hint: secret?.slice(-4), expires_at: null }],
  });
  const one = await ask(admin, 'GET', `/v1/webhooks/${webhook.webhook_id}`);
  expect(webhookView.parse(one.json())).toEqual(webhook);
  const all = await ask(admin, 'GET', '/v1/webhooks');
  expect(webhookList.parse(all.json()).webhooks[0]).toEqual(webhook);
  for (const { payload } of [one, all]) expect(payload).not.toContain(secret?.slice(6, -4));
});

test.each([
  'http://hooks.example.com/',
  'https://10.0.0.1/',
  'https://localhost/',
  'https://[::1]/',
  'ftp://example.com/',
  'nonsense',
])('an address that is never called is refused when it is set up: %s', async (url) => {
  const refused = await ask(admin, 'POST', '/v1/webhooks', { url, events: ['question.failed'] });
  expect([refused.statusCode, problem.parse(refused.json()).code]).toEqual([422, 'url_not_allowed']);
  const { webhook } = await add();
  const changed = await ask(admin, 'PATCH', `/v1/webhooks/${webhook.webhook_id}`, { url });
  expect(problem.parse(changed.json()).code).toBe('url_not_allowed');
});

test('a rotation keeps the old secret for a day, and at most three in all', async () => {
  const { webhook, secret: first } = await add();
  const url = `/v1/webhooks/${webhook.webhook_id}`;
  const before = Date.now();
  const rotated = webhookIssued.parse((await ask(admin, 'PATCH', url, { rotate_secret: true })).json());
  expect(rotated.secret).toMatch(/^whsec_/);
  expect(rotated.secret).not.toBe(first);
  expect(rotated.webhook.secrets.map(({ hint }) => hint)).toEqual([rotated.secret?.slice(-4), first?.slice(-4)]);
  expect(Date.parse(rotated.webhook.secrets[1]?.expires_at ?? '')).toBeGreaterThanOrEqual(before + ROTATION_MS);
  for (const _ of [1, 2, 3]) await ask(admin, 'PATCH', url, { rotate_secret: true });
  const kept = await rig.ledger.getWebhook('acme', webhook.webhook_id);
  expect(kept?.secrets).toHaveLength(3);
  expect(kept?.secrets.some(({ secret }) => secret === first)).toBe(false);
  // Whose time is over is no longer shown, and no longer kept at the next rotation.
  const [newest] = kept?.secrets ?? [];
  const secrets = [newest, { secret: 'whsec_old', expiresAt: Date.now() - 1 }].flatMap((one) => one ?? []);
  await rig.ledger.changeWebhook('acme', webhook.webhook_id, { secrets }, Date.now());
  expect(webhookView.parse((await ask(admin, 'GET', url)).json()).secrets).toHaveLength(1);
  await ask(admin, 'PATCH', url, { rotate_secret: true });
  expect((await rig.ledger.getWebhook('acme', webhook.webhook_id))?.secrets.map(({ secret }) => secret)).not.toContain(
    'whsec_old',
  );
});

test('two that rotate at once are both told a secret that signs', async () => {
  const { webhook } = await add();
  const url = `/v1/webhooks/${webhook.webhook_id}`;
  const both = await Promise.all([1, 2].map(() => ask(admin, 'PATCH', url, { rotate_secret: true })));
  const told = both.map((response) => webhookIssued.parse(response.json()).secret);
  const kept = (await rig.ledger.getWebhook('acme', webhook.webhook_id))?.secrets.map(({ secret }) => secret);
  expect(kept).toEqual(expect.arrayContaining(told));
});

test('what is left out of a change stays; disabling says that a user did it, and enabling ends any disabling', async () => {
  const { webhook } = await add();
  const url = `/v1/webhooks/${webhook.webhook_id}`;
  const disabled = await ask(admin, 'PATCH', url, { enabled: false, description: 'Later' });
  expect(webhookIssued.parse(disabled.json())).toMatchObject({
    secret: null,
    webhook: { enabled: false, disabled_because: 'user', description: 'Later', url: webhook.url, events: webhook.events },
  });
  await rig.ledger.changeWebhook('acme', webhook.webhook_id, { disabledBecause: 'gone' }, Date.now());
  const enabled = await ask(admin, 'PATCH', url, { enabled: true });
  expect(webhookIssued.parse(enabled.json()).webhook).toMatchObject({ enabled: true, disabled_because: null });
});

test('deliveries are listed page by page, and one or those of a range are made due again', async () => {
  const { webhook } = await add();
  const url = `/v1/webhooks/${webhook.webhook_id}`;
  const at = Date.now() - 10_000;
  for (const n of [1, 2, 3]) {
    await tell(`q-${n}`, at + n);
    const deliveryId = `q-${n}-${at + n}:${webhook.webhook_id}`;
    const taken = await rig.ledger.takeDelivery(deliveryId, { token: 'x', claimMs: 1_000, at: Date.now() });
    expect(taken?.delivery.sequence).toBe(n);
    const attempt = { at: at + n, durationMs: 12, status: 500, error: null };
    await rig.ledger.settleDelivery(deliveryId, 'x', { attempt, outcome: { status: 'failed' } });
  }
  const first = deliveryList.parse((await ask(reader, 'GET', `${url}/deliveries?limit=2`)).json());
  expect(first.deliveries.map(({ subject, sequence }) => [subject, sequence])).toEqual([
    ['q-3', 3],
    ['q-2', 2],
  ]);
  expect(first.deliveries[0]).toMatchObject({ status: 'failed', attempts: [{ status: 500, duration_ms: 12, error: null }] });
  const rest = deliveryList.parse((await ask(reader, 'GET', `${url}/deliveries?cursor=${first.next_cursor}`)).json());
  expect(rest).toMatchObject({ deliveries: [{ subject: 'q-1' }], next_cursor: null });
  const again = await ask(admin, 'POST', `${url}/replay`, { delivery_id: first.deliveries[0]?.delivery_id });
  expect([again.statusCode, replayed.parse(again.json())]).toEqual([202, { replayed: 1, more: false }]);
  const range = await ask(admin, 'POST', `${url}/replay`, { since: new Date(at).toISOString() });
  expect(replayed.parse(range.json())).toEqual({ replayed: 2, more: false });
  const pending = deliveryList.parse((await ask(reader, 'GET', `${url}/deliveries?status=pending`)).json());
  expect(pending.deliveries.map(({ sequence }) => sequence)).toEqual([3, 2, 1]);
  const unknown = await ask(admin, 'POST', `${url}/replay`, { delivery_id: 'none' });
  expect(problem.parse(unknown.json()).code).toBe('delivery_not_found');
});

test("another tenant's webhook is as unknown as none; who may only read sees its deliveries and nothing else", async () => {
  const { webhook } = await add();
  const url = `/v1/webhooks/${webhook.webhook_id}`;
  const replay = { since: new Date(0).toISOString() };
  const routes = [
    ['GET', url],
    ['PATCH', url, { enabled: false }],
    ['DELETE', url],
    ['GET', `${url}/deliveries`],
    ['POST', `${url}/replay`, replay],
  ] as const;
  for (const [method, path, payload] of routes) {
    const response = await ask(other, method, path, payload);
    expect([response.statusCode, problem.parse(response.json()).code]).toEqual([404, 'webhook_not_found']);
    const may = method === 'GET' && path.endsWith('deliveries');
    expect((await ask(reader, method, path, payload)).statusCode).toBe(may ? 200 : 403);
  }
  expect(webhookList.parse((await ask(other, 'GET', '/v1/webhooks')).json()).webhooks).toEqual([]);
  expect((await ask(reader, 'POST', '/v1/webhooks', { url: 'https://x.example.com', events: ['answer.stale'] })).statusCode).toBe(
    403,
  );
});

test('one is removed once; a tenant has fifty at most', async () => {
  const { webhook } = await add(other);
  const url = `/v1/webhooks/${webhook.webhook_id}`;
  expect(webhookRemoved.parse((await ask(other, 'DELETE', url)).json())).toEqual({
    webhook_id: webhook.webhook_id,
    removed: true,
  });
  expect((await ask(other, 'DELETE', url)).statusCode).toBe(404);
  for (let n = 0; n < 50; n++) await add(other);
  const refused = await ask(other, 'POST', '/v1/webhooks', { url: 'https://x.example.com', events: ['answer.stale'] });
  expect([refused.statusCode, problem.parse(refused.json()).code]).toEqual([409, 'too_many_webhooks']);
});
