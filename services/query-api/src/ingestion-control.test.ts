import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { ingestionView } from '@sightline/shared/contracts/http';
import { DEFAULT_TENANT, newId, reportKey, SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import { acceptsFailuresSetting } from '@sightline/shared/ingestion/failure-storms';
import type { IngestionStatus } from '@sightline/shared/ports/ledger';
import { MOST_ACTIVE_INGESTIONS } from './core/active-ingestions.ts';
import { openRig, type Rig } from './testing/query-api-rig.ts';

let rig: Rig;
const headers = { host: 'localhost:8080' };
const ENTRY = { object: { bucket: 'photos', key: 'a.png', eTag: 'e', sizeBytes: 1 } };

beforeAll(async () => {
  rig = await openRig({ allowedSources: ['photos', 'catalogue/{tenant}'] });
});

afterEach(() => {
  rig.queue.added.length = 0;
});

afterAll(() => rig.close());

async function started(source = { type: 'prefix', bucket: 'photos', prefix: '' } as const): Promise<string> {
  const ingestionId = newId();
  await rig.ledger.createIngestion({ ingestionId, tenant: DEFAULT_TENANT, source, createdAt: Date.now() });
  return ingestionId;
}

/** With one failure, over. */
async function ended(status: IngestionStatus = 'completed', planned = true): Promise<string> {
  const ingestionId = await started();
  const failures = [{ key: 'b.png', code: 'object_forbidden' as const, reason: 'no' }];
  const found = { entries: [], listed: 1, failures, after: null, cursor: '{"after":"b.png"}' };
  await rig.ledger.addChunk(ingestionId, { ...found, chunkNo: 0, at: 1 });
  if (planned) await rig.ledger.finishPlanning(ingestionId);
  await rig.ledger.setStatus(ingestionId, ['planning'], status, { at: Date.now() });
  return ingestionId;
}

async function control(ingestionId: string, what: string, payload?: object) {
  const url = `/v1/ingestions/${ingestionId}/${what}`;
  const response = await rig.app.inject({ method: 'POST', url, headers, ...(payload && { payload }) });
  return { status: response.statusCode, body: response.json() };
}

test('pausing holds an ingestion and is idempotent; resuming lets it go, and drives what is owed', async () => {
  const id = await started();
  const paused = await control(id, 'pause');
  expect(paused.status).toBe(202);
  expect(ingestionView.parse(paused.body)).toMatchObject({ status: 'paused', hold: 'user', links: { report: null } });
  expect((await control(id, 'pause')).status).toBe(200);
  const resumed = await control(id, 'resume');
  expect(resumed).toMatchObject({ status: 202, body: { status: 'planning', hold: null, reason: null } });
  expect(rig.queue.added.map(({ data }) => data)).toEqual([
    expect.objectContaining({ ingestionId: id, redrive: true }),
    expect.not.objectContaining({ redrive: true }),
  ]);
  expect((await control(id, 'resume')).status).toBe(200);
});

test('a resume can accept the failures that paused it', async () => {
  const id = await started();
  await rig.ledger.setHold(id, 'failures', { reason: 'object_forbidden', at: 1 });
  expect((await control(id, 'resume', { accept_failures: true })).status).toBe(202);
  expect(await rig.ledger.getSetting(acceptsFailuresSetting(id))).not.toBeNull();
  expect((await control(id, 'resume', { nonsense: true })).body).toMatchObject({ code: 'request_invalid' });
});

test('cancelling drops what is owed, and is idempotent', async () => {
  const id = await started();
  await rig.ledger.addChunk(id, { chunkNo: 0, entries: [ENTRY], listed: 1, failures: [], after: null, cursor: '{}', at: 1 });
  expect(await control(id, 'cancel')).toMatchObject({ status: 202, body: { status: 'cancelled' } });
  expect(await rig.ledger.countOutstandingChunks({ ingestionId: id })).toBe(0);
  expect(rig.queue.added).toMatchObject([{ name: 'plan', data: { ingestionId: id } }]);
  expect((await control(id, 'cancel')).status).toBe(200);
});

test('a retry reopens what failed; with nothing failed there is nothing to do', async () => {
  const id = await ended();
  expect(await control(id, 'retry')).toMatchObject({
    status: 202,
    body: { status: 'planning', counts: { listed: 1, failed: 1 } },
  });
  expect((await control(id, 'retry')).status).toBe(200);
  const clean = await started();
  await rig.ledger.finishPlanning(clean);
  await rig.ledger.setStatus(clean, ['planning'], 'completed', { at: 1 });
  rig.queue.added.length = 0;
  expect(await control(clean, 'retry')).toMatchObject({ status: 200, body: { status: 'completed' } });
  expect(rig.queue.added).toEqual([]);
});

test('what cannot be is 409, what is not there 404', async () => {
  const completed = await ended();
  for (const what of ['pause', 'resume', 'cancel']) {
    expect(await control(completed, what)).toMatchObject({ status: 409, body: { code: 'ingestion_state' } });
  }
  expect((await control(await started(), 'retry')).body).toMatchObject({ code: 'ingestion_state' });
  expect((await control(await ended('failed', false), 'retry')).body).toMatchObject({ code: 'ingestion_state' });
  for (const what of ['pause', 'resume', 'cancel', 'retry']) {
    expect(await control('nope', what)).toMatchObject({ status: 404, body: { code: 'ingestion_not_found' } });
  }
});

test('the report is answered once the ingestion is over', async () => {
  const url = (id: string) => `/v1/ingestions/${id}/report`;
  const get = (id: string) => rig.app.inject({ method: 'GET', url: url(id), headers });
  expect((await get(await started())).json()).toMatchObject({ code: 'report_not_found', status: 404 });
  const id = await ended();
  expect((await get(id)).json()).toMatchObject({ code: 'report_not_found' });
  const view = (await rig.app.inject({ method: 'GET', url: `/v1/ingestions/${id}`, headers })).json();
  expect(view.links.report).toBe(url(id));
  const lines = '{"type":"summary"}\n{"type":"failure"}\n';
  const ref = { bucket: SYSTEM_BUCKET, key: reportKey(DEFAULT_TENANT, id) };
  await rig.store.put(ref, Buffer.from(lines), { contentType: 'application/x-ndjson' });
  const response = await get(id);
  expect(response.statusCode).toBe(200);
  expect(response.headers['content-type']).toBe('application/x-ndjson; charset=utf-8');
  expect(response.body).toBe(lines);
});

test('places of the object store are ingested where INGEST_SOURCES says so', async () => {
  const post = async (source: object) =>
    (await rig.app.inject({ method: 'POST', url: '/v1/ingestions', headers, payload: { source } })).json();
  await rig.store.put({ bucket: 'photos', key: 'set/a.png' }, Buffer.from('x'), { contentType: 'image/png' });
  await rig.store.put({ bucket: 'photos', key: 'set/m.jsonl' }, Buffer.from('{}'), { contentType: 'text/plain' });
  expect(await post({ type: 'prefix', bucket: 'photos', prefix: 'set/' })).toMatchObject({ status: 'planning' });
  const accepted = await post({ type: 'manifest', uri: 's3://photos/set/m.jsonl' });
  const view = (await rig.app.inject({ method: 'GET', url: accepted.links.self, headers })).json();
  expect(view.source).toEqual({ type: 'manifest', uri: 's3://photos/set/m.jsonl' });
  expect(await post({ type: 'manifest', uri: 's3://photos/set/none.jsonl' })).toMatchObject({ code: 'source_not_found' });
  expect(await post({ type: 'manifest', uri: 's3://photos' })).toMatchObject({ code: 'request_invalid' });
  expect(await post({ type: 'manifest', uri: 's3://catalogue/other/m.jsonl' })).toMatchObject({ code: 'source_not_allowed' });
  const refused = await post({ type: 'prefix', bucket: 'catalogue', prefix: '' });
  expect(refused).toMatchObject({ code: 'source_not_allowed', detail: expect.stringContaining('INGEST_SOURCES') });
});

test('a tenant has so many ingestions going at most; a retry is one more', async () => {
  const retried = await ended();
  const active = () =>
    rig.ledger.listIngestions(DEFAULT_TENANT, { statuses: ['planning', 'running', 'paused'], limit: 2 * MOST_ACTIVE_INGESTIONS });
  while ((await active()).length < MOST_ACTIVE_INGESTIONS) await started();
  const refused = { status: 429, body: { code: 'too_many_ingestions' } };
  expect(await control(retried, 'retry')).toMatchObject(refused);
  const response = await rig.app.inject({
    method: 'POST',
    url: '/v1/ingestions',
    headers,
    payload: { source: { type: 'directory', path: '/' } },
  });
  expect({ status: response.statusCode, body: response.json() }).toMatchObject(refused);
  const [newest] = await active();
  await control(newest?.ingestionId ?? '', 'cancel');
  expect((await control(retried, 'retry')).status).toBe(202);
});
