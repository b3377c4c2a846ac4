import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import type { AuditFinding, AuditResult } from '@sightline/shared/contracts/audits';
import { auditFindingsKey, SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import type { Scope } from '@sightline/shared/ports/ledger';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { createApiKey } from './core/api-keys.ts';
import { openRig, type Rig } from './testing/query-api-rig.ts';

let rig: Rig;

beforeAll(async () => {
  rig = await openRig({ auth: 'keys' });
});
afterAll(() => rig.close());

async function keyOf(tenant: string, ...scopes: Scope[]): Promise<string> {
  const wanted = { tenant, name: 'k', scopes, expiresAt: null };
  return (await createApiKey({ ledger: rig.ledger, now: Date.now, randomBytes }, wanted)).secret;
}

async function ask(key: string, method: 'GET' | 'POST', url: string, payload?: object) {
  const headers = { host: 'sightline.example', authorization: `Bearer ${key}` };
  const response = await rig.app.inject({ method, url, headers, ...(payload && { payload }) });
  return { status: response.statusCode, body: response.json(), headers: response.headers };
}

const finding = (no: number): AuditFinding => ({
  kind: 'missing',
  asset_id: `asset-${no}`,
  bucket: 'b',
  key: `ü${no}.png`,
  detail: 'no point',
});

/** Ends an audit as the ingest worker does, with so many findings. */
async function end(tenant: string, auditId: string, count: number): Promise<void> {
  const lines = Array.from({ length: count }, (_, no) => `${JSON.stringify(finding(no))}\n`).join('');
  const ref = { bucket: SYSTEM_BUCKET, key: auditFindingsKey(tenant, auditId) };
  if (count > 0) await rig.store.put(ref, Buffer.from(lines), { contentType: 'application/x-ndjson' });
  const result: AuditResult = {
    clean: count === 0,
    points: 3,
    agreed: { indexed: 3, failed: 0, removed: 0 },
    findings: { missing: count, extra: 0, stale: 0, duplicate: 0, malformed: 0 },
    healed: 0,
    listed: count,
    first: Array.from({ length: Math.min(count, 20) }, (_, no) => finding(no)),
    unreadable: [],
    running: [],
    repair: null,
  };
  await rig.ledger.endAudit(auditId, { status: 'completed', result, at: Date.now() });
}

test('an audit is accepted with its options, handed to the workers, and seen by its own tenant', async () => {
  const key = await keyOf('alpha', 'ingest', 'read');
  const asked = { repair: true, grace_seconds: 5, place: { bucket: 'b', prefix: 'p/' } };
  const { status, body, headers } = await ask(key, 'POST', '/v1/audits', asked);
  expect({ status, location: headers['location'] }).toEqual({ status: 202, location: body.links.self });
  expect(rig.queue.added.at(-1)).toMatchObject({ name: 'audit', data: { tenant: 'alpha', auditId: body.audit_id } });
  const view = await ask(key, 'GET', body.links.self);
  expect(view.body).toMatchObject({ ...asked, status: 'queued', asked_by: 'request', result: null, finished_at: null });
  expect((await ask(key, 'GET', body.links.findings)).body).toMatchObject({ status: 409, code: 'audit_state' });

  const plain = await ask(key, 'POST', '/v1/audits');
  expect(plain.status).toBe(202);
  expect((await ask(key, 'GET', '/v1/audits')).body.audits).toMatchObject([
    { audit_id: plain.body.audit_id, repair: false, grace_seconds: 60, place: null },
    { audit_id: body.audit_id },
  ]);
  await end('alpha', body.audit_id, 0);
  expect((await ask(key, 'GET', body.links.self)).body).toMatchObject({ status: 'completed', result: { clean: true } });
  expect((await ask(key, 'GET', body.links.findings)).body).toEqual({ findings: [], next_cursor: null });

  const stranger = await keyOf('beta', 'admin');
  for (const url of [body.links.self, body.links.findings])
    expect((await ask(stranger, 'GET', url)).body).toMatchObject({ status: 404, code: 'audit_not_found' });
  expect((await ask(stranger, 'GET', '/v1/audits')).body).toEqual({ audits: [] });
});

test('findings come in pages, each once, in the order that they were found', async () => {
  const key = await keyOf('gamma', 'ingest', 'read');
  const { body } = await ask(key, 'POST', '/v1/audits', {});
  await end('gamma', body.audit_id, 250);
  expect((await ask(key, 'GET', body.links.self)).body.result).toMatchObject({ listed: 250, findings: { missing: 250 } });
  const seen: AuditFinding[] = [];
  let pages = 0;
  for (let cursor: string | null = ''; cursor !== null; pages++) {
    const page = await ask(key, 'GET', `${body.links.findings}?limit=100${cursor && `&cursor=${cursor}`}`);
    seen.push(...page.body.findings);
    cursor = page.body.next_cursor;
  }
  expect({ pages, seen }).toEqual({ pages: 3, seen: Array.from({ length: 250 }, (_, no) => finding(no)) });
  for (const cursor of ['5', '99999999', 'x', '-1'])
    expect((await ask(key, 'GET', `${body.links.findings}?cursor=${cursor}`)).body).toMatchObject({ code: 'request_invalid' });
  await rig.store.delete({ bucket: SYSTEM_BUCKET, key: auditFindingsKey('gamma', body.audit_id) });
  expect((await ask(key, 'GET', body.links.findings)).body).toMatchObject({ status: 404, code: 'audit_findings_expired' });
});

test('to ask for an audit needs the scope ingest, to read one the scope read', async () => {
  const reader = await keyOf('delta', 'read');
  expect((await ask(reader, 'POST', '/v1/audits', {})).body).toMatchObject({ status: 403, code: 'scope_missing' });
  expect((await ask(reader, 'GET', '/v1/audits')).status).toBe(200);
  const writer = await keyOf('delta', 'ingest');
  expect((await ask(writer, 'GET', '/v1/audits')).status).toBe(403);
});

test('what no audit can be made of is refused', async () => {
  const key = await keyOf('epsilon', 'ingest');
  for (const asked of [
    { grace_seconds: -1 },
    { grace_seconds: 3_601 },
    { repair: 'yes' },
    { place: { prefix: 'p' } },
    { tenant: 'alpha' },
  ])
    expect((await ask(key, 'POST', '/v1/audits', asked)).body).toMatchObject({ status: 400, code: 'request_invalid' });
  expect(await rig.ledger.listAudits('epsilon', { limit: 9 })).toEqual([]);
});

test('a few audits of a tenant may be going, no more; without a queue one fails at once', async () => {
  const key = await keyOf('zeta', 'ingest', 'read');
  rig.queue.failure = new SightlineError('queue_unavailable');
  expect((await ask(key, 'POST', '/v1/audits', {})).body).toMatchObject({ status: 503, code: 'queue_unavailable' });
  rig.queue.failure = null;
  expect((await ask(key, 'GET', '/v1/audits')).body.audits).toMatchObject([{ status: 'failed', reason: 'queue_unavailable' }]);
  for (let n = 0; n < 4; n++) expect((await ask(key, 'POST', '/v1/audits', {})).status).toBe(202);
  expect((await ask(key, 'POST', '/v1/audits', {})).body).toMatchObject({ status: 429, code: 'too_many_audits' });
  expect((await ask(await keyOf('eta', 'ingest'), 'POST', '/v1/audits', {})).status).toBe(202);
});
