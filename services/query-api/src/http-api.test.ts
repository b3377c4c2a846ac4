import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import sharp from 'sharp';
import {
  assetView,
  failurePage,
  indexView,
  ingestionAccepted,
  ingestionList,
  ingestionView,
  problem,
} from '@sightline/shared/contracts/http';
import { assetLockKey, DEFAULT_TENANT } from '@sightline/shared/contracts/ids';
import { ERRORS, SightlineError, type ErrorCode } from '@sightline/shared/runtime/errors';
import { problemOf } from './problems.ts';
import { openRig, type Rig } from './testing/query-api-rig.ts';

let rig: Rig;
const headers = { host: '127.0.0.1:8080' };

beforeAll(async () => {
  rig = await openRig({ maxQueryPictureBytes: 1_000_000 });
});
afterAll(() => rig.close());

const get = (url: string, more: Record<string, string> = {}) =>
  rig.app.inject({ method: 'GET', url, headers: { ...headers, ...more } });
const post = (url: string, payload: object, more: Record<string, string> = {}) =>
  rig.app.inject({ method: 'POST', url, headers: { ...headers, ...more }, payload });
const remove = (url: string) => rig.app.inject({ method: 'DELETE', url, headers });

test('OpenAPI 3.1 lists exactly the routes that are served', async () => {
  const openapi = (await get('/openapi.json')).json();
  expect(openapi.openapi).toBe('3.1.0');
  const documented = Object.entries<object>(openapi.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const served = rig.app
    .printRoutes({ commonPrefix: false, includeHooks: false })
    .split('\n')
    .filter((line) => line.includes('('));
  expect(documented.length).toBeGreaterThan(10);
  // Every documented route answers with something else than "no such route"; the page's files are the only undocumented ones.
  for (const route of documented) {
    const [method = '', path = ''] = route.split(' ');
    expect({ route, known: rig.app.hasRoute({ method, url: path.replace(/\{(\w+)\}/g, ':$1') }) }).toEqual({
      route,
      known: true,
    });
  }
  const pageFiles = 21;
  const methodsServed = served.flatMap((line) => /\(([A-Z, ]+)\)/.exec(line)?.[1]?.split(', ') ?? []);
  expect(methodsServed.length).toBe(documented.length + pageFiles);
});

test('every operation documents problem details as its error, and no reference leads nowhere', async () => {
  const openapi = (await get('/openapi.json')).json();
  for (const methods of Object.values<Record<string, { responses: Record<string, unknown> }>>(openapi.paths)) {
    for (const operation of Object.values(methods)) {
      const content = { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } };
      expect(operation.responses).toMatchObject({ default: { content } });
    }
  }
  const names = [...JSON.stringify(openapi).matchAll(/#\/components\/schemas\/([^"]+)/g)].map(([, name]) => name);
  expect(new Set(names)).toEqual(new Set(Object.keys(openapi.components.schemas)));
});

test('every code of the error table becomes a problem of its status', () => {
  for (const code of Object.keys(ERRORS) as ErrorCode[]) {
    const answer = problem.parse(problemOf(new SightlineError(code, 'why'), 'trace'));
    expect(answer).toMatchObject({ code, status: ERRORS[code].httpStatus, title: ERRORS[code].message, trace_id: 'trace' });
    // A server's own fault does not tell its particulars.
    expect(answer.detail).toBe(ERRORS[code].httpStatus === 500 ? undefined : 'why');
  }
  expect(problemOf(new TypeError('secret path /x'), 't')).toEqual({
    type: 'urn:sightline:error:internal',
    title: ERRORS.internal.message,
    status: 500,
    code: 'internal',
    trace_id: 't',
  });
});

test('malformed, oversized and misdirected requests are problems of the table', async () => {
  const cases: [ReturnType<typeof get>, ErrorCode][] = [
    [get('/nowhere'), 'route_not_found'],
    [rig.app.inject({ method: 'PUT', url: '/v1/search', headers }), 'route_not_found'],
    [
      rig.app.inject({
        method: 'POST',
        url: '/v1/search',
        headers: { ...headers, 'content-type': 'application/json' },
        payload: '{"query":',
      }),
      'request_invalid',
    ],
    [
      rig.app.inject({ method: 'POST', url: '/v1/search', headers: { ...headers, 'content-type': 'text/xml' }, payload: '<x/>' }),
      'request_invalid',
    ],
    [
      rig.app.inject({
        method: 'POST',
        url: '/v1/search',
        headers: { ...headers, 'content-type': 'text/plain' },
        payload: '{"query":"x"}',
      }),
      'request_invalid',
    ],
    [post('/v1/search', { query: 'x', image: { data: `data:image/png;base64,${'A'.repeat(3_000_000)}` } }), 'request_too_large'],
    [
      post('/v1/search', { query: 'x', image: { data: `data:image/png;base64,${'A'.repeat(1_400_000)}` } }),
      'picture_too_many_bytes',
    ],
    [get('/v1/assets/not-a-uuid'), 'request_invalid'],
    [get('/v1/assets/%ff'), 'request_invalid'],
    [get('/v1/ingestions/nope'), 'ingestion_not_found'],
    [get('/v1/ingestions/nope/failures'), 'ingestion_not_found'],
    [get('/v1/ingestions/nope/events'), 'ingestion_not_found'],
    [get('/v1/ingestions?limit=0'), 'request_invalid'],
    [remove('/v1/items/nope'), 'item_not_found'],
  ];
  for (const [answered, code] of cases) {
    const response = await answered;
    const body = problem.parse(response.json());
    expect(body).toMatchObject({ code, status: response.statusCode });
    expect(response.headers['content-type']).toBe('application/problem+json');
    expect(response.headers['x-trace-id']).toBe(body.trace_id);
  }
});

test('a trace id that comes with the request is the one that is answered', async () => {
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
  expect((await get('/nowhere', { traceparent: `00-${traceId}-00f067aa0ba902b7-01` })).json().trace_id).toBe(traceId);
  expect((await get('/nowhere', { traceparent: '00-<script>-x-01' })).json().trace_id).not.toContain('script');
});

test('a directory becomes a planned ingestion; its state is answered', async () => {
  const path = join(rig.folder, 'pictures');
  await mkdir(path);
  await writeFile(join(path, 'a.png'), 'x');
  const response = await post('/v1/ingestions', { source: { type: 'directory', path: `${path}/.` } });
  expect(response.statusCode).toBe(202);
  const accepted = ingestionAccepted.parse(response.json());
  expect(response.headers['location']).toBe(accepted.links.self);
  expect(rig.queue.added.at(-1)).toMatchObject({
    name: 'plan',
    data: { ingestionId: accepted.ingestion_id, tenant: DEFAULT_TENANT },
  });
  const view = ingestionView.parse((await get(accepted.links.self)).json());
  expect(view).toMatchObject({
    status: 'planning',
    source: { type: 'directory', path },
    counts: { listed: 0 },
    finished_at: null,
    eta_seconds: null,
  });
  expect(ingestionList.parse((await get('/v1/ingestions?status=planning')).json()).ingestions).toHaveLength(1);
});

test('a dry run is accepted, planned, and shown as one', async () => {
  const path = join(rig.folder, 'only counted');
  await mkdir(path);
  const accepted = (await post('/v1/ingestions', { source: { type: 'directory', path }, dry_run: true })).json();
  expect(rig.queue.added.at(-1)).toMatchObject({ name: 'plan', data: { ingestionId: accepted.ingestion_id } });
  const view = ingestionView.parse((await get(accepted.links.self)).json());
  expect(view).toMatchObject({ status: 'planning', dry_run: true });
  const real = (await post('/v1/ingestions', { source: { type: 'directory', path } })).json();
  expect((await get(real.links.self)).json()).toMatchObject({ dry_run: false });
});

test('failures are paged with their codes and reasons', async () => {
  const { ingestionId } = await rig.ledger.createIngestion({
    ingestionId: 'with-failures',
    tenant: DEFAULT_TENANT,
    source: { type: 'directory', path: '/x' },
    createdAt: Date.now(),
  });
  const failures = ['a.png', 'b.png', 'c.png'].map((key) => ({ key, code: 'picture_corrupt' as const, reason: 'broken' }));
  const found = { entries: [], listed: 3, failures, after: null, cursor: 'x' };
  await rig.ledger.addChunk(ingestionId, { ...found, chunkNo: 0, at: Date.now() });
  const first = failurePage.parse((await get(`/v1/ingestions/${ingestionId}/failures?limit=2`)).json());
  const second = failurePage.parse(
    (await get(`/v1/ingestions/${ingestionId}/failures?limit=2&cursor=${encodeURIComponent(first.next_cursor ?? '')}`)).json(),
  );
  expect([...first.failures, ...second.failures].map((failure) => failure.key).sort()).toEqual(['a.png', 'b.png', 'c.png']);
  expect(second.next_cursor).toBeNull();
  expect(first.failures[0]).toMatchObject({ code: 'picture_corrupt', reason: 'broken', attempts: 1 });
});

test('a source that is not there, or not for this stack, is refused at once', async () => {
  const refused = async (source: object, app = rig.app, remoteAddress = '127.0.0.1') =>
    (await app.inject({ method: 'POST', url: '/v1/ingestions', headers, payload: { source }, remoteAddress })).json().code;
  expect(await refused({ type: 'directory', path: join(rig.folder, 'missing') })).toBe('source_not_found');
  expect(await refused({ type: 'manifest', uri: join(rig.folder, 'missing.jsonl') })).toBe('source_not_found');
  expect(await refused({ type: 'directory', path: 'relative/path' })).toBe('request_invalid');
  expect(await refused({ type: 'manifest', uri: 'http://example.com/m.jsonl' })).toBe('source_not_allowed');
  expect(await refused({ type: 'prefix', bucket: '/etc', prefix: '' })).toBe('source_not_allowed');
  expect(await refused({ type: 'prefix', bucket: 'sightline', prefix: '' })).toBe('source_not_allowed');
  expect(await refused({ type: 'directory', path: rig.folder }, rig.app, '192.168.0.7')).toBe('source_not_allowed');
  const production = await openRig({ allowDirectorySources: false });
  try {
    expect(await refused({ type: 'directory', path: rig.folder }, production.app)).toBe('source_not_allowed');
  } finally {
    await production.close();
  }
});

test('an ingestion that could not be queued is not left planning', async () => {
  rig.queue.failure = new SightlineError('queue_unavailable');
  try {
    const path = join(rig.folder, 'pictures');
    expect((await post('/v1/ingestions', { source: { type: 'directory', path } })).json()).toMatchObject({
      code: 'queue_unavailable',
      status: 503,
    });
  } finally {
    rig.queue.failure = null;
  }
  const [latest] = ingestionList.parse((await get('/v1/ingestions?status=failed')).json()).ingestions;
  expect(latest).toMatchObject({ status: 'failed', reason: 'queue_unavailable' });
});

test('an asset is told with its records, and its vectors when asked for', async () => {
  const id = await rig.addPicture(
    'told.png',
    [0, 0, 1],
    [{ itemId: 'told', title: 'Told', text: 'A blue thing.', attributes: { n: 1 } }],
  );
  const plain = assetView.parse((await get(`/v1/assets/${id}`)).json());
  expect(plain).toMatchObject({
    kind: 'picture',
    object: { key: 'told.png' },
    records: [{ item_id: 'told', attributes: { n: 1 } }],
    has_image: true,
    encoder: { image: 'toy-image' },
  });
  expect(plain.vectors).toBeUndefined();
  const full = assetView.parse((await get(`/v1/assets/${id}?with_vectors=true`)).json());
  expect(full.vectors?.image).toHaveLength(4);
  expect(full.vectors?.text).toHaveLength(64);
});

test('a picture is answered re-encoded, small, inert, and from the store the second time', async () => {
  const id = await rig.addPicture('thumb.png', [1, 0, 0], []);
  const first = await get(`/v1/assets/${id}/image?width=40`);
  expect(first.statusCode).toBe(200);
  expect(first.headers).toMatchObject({
    'content-type': 'image/webp',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; sandbox",
  });
  expect(await sharp(first.rawPayload).metadata()).toMatchObject({ format: 'webp', width: 64, height: 48 });
  const stored: string[] = [];
  for await (const info of rig.store.list({ bucket: 'sightline', prefix: `thumbnails/${DEFAULT_TENANT}/${id}/` }))
    stored.push(info.key);
  expect(stored).toHaveLength(1);
  const marked = Buffer.from('stands for the stored one');
  await rig.store.put({ bucket: 'sightline', key: stored[0] ?? '' }, marked, { contentType: 'image/webp' });
  expect((await get(`/v1/assets/${id}/image?width=50`)).rawPayload).toEqual(marked);
  expect((await get(`/v1/assets/${id}/image?width=40`, { 'if-none-match': String(first.headers['etag']) })).statusCode).toBe(304);
});

test("a source's bytes never come out as they are, whatever they claim to be", async () => {
  const id = await rig.addPicture('evil.png', [1, 0, 0], []);
  for (const bytes of [
    '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    '<html><script>alert(1)</script>',
    'GIF89a<script>',
  ]) {
    await rig.store.put({ bucket: rig.bucket, key: 'evil.png' }, Buffer.from(bytes), { contentType: 'image/png' });
    const response = await get(`/v1/assets/${id}/image`);
    expect(problem.parse(response.json()).code).toMatch(/^picture_/);
    expect(response.headers['content-type']).toBe('application/problem+json');
  }
});

test('a removed asset is gone from search, from its own address and from the thumbnails; a tombstone stays', async () => {
  const id = await rig.addPicture('gone.png', [0, 1, 0], [{ itemId: 'gone', title: 'Vanishing vase', text: '', attributes: {} }]);
  await get(`/v1/assets/${id}/image`);
  expect((await remove(`/v1/assets/${id}`)).json()).toEqual({ removed: [id], detached: [] });
  expect((await get(`/v1/assets/${id}`)).json().code).toBe('asset_not_found');
  expect((await get(`/v1/assets/${id}/image`)).json().code).toBe('asset_not_found');
  expect((await remove(`/v1/assets/${id}`)).json().code).toBe('asset_not_found');
  const found = await post('/v1/search', { query: 'vanishing vase', limit: 50 });
  expect(JSON.stringify(found.json().results)).not.toContain(id);
  const stored: string[] = [];
  for await (const info of rig.store.list({ bucket: 'sightline', prefix: `thumbnails/${DEFAULT_TENANT}/${id}/` }))
    stored.push(info.key);
  expect(stored).toEqual([]);
  expect((await rig.index.get(DEFAULT_TENANT, [id])).get(id)).toMatchObject({
    deleted: true,
    deletedBecause: 'removed',
    object: { key: 'gone.png' },
  });
});

test('a removed item takes its passages and its own pictures; a shared picture stays for the others', async () => {
  const mine = { itemId: 'mine', title: 'Mine', text: 'secretword', attributes: {} };
  const theirs = { itemId: 'theirs', title: 'Theirs', text: 'publicword', attributes: {} };
  const own = await rig.addPicture('own.png', [1, 0, 0], [mine]);
  const shared = await rig.addPicture('shared.png', [1, 1, 0], [mine, theirs]);
  const passage = await rig.addPassage(mine, 1);
  const answer = (await remove('/v1/items/mine')).json();
  expect(answer).toEqual({ removed: [own, passage].sort(), detached: [shared] });
  const left = (await rig.index.get(DEFAULT_TENANT, [shared])).get(shared);
  expect(left).toMatchObject({ deleted: false, records: [{ itemId: 'theirs' }], hasText: true, hasImage: true });
  const found = (await post('/v1/search', { query: 'secretword', mode: 'text' })).json();
  expect(JSON.stringify(found.results)).not.toContain('secretword');
  expect((await remove('/v1/items/mine')).json().code).toBe('item_not_found');
});

test('an item is removed also while no encoder answers; what others keep of it has no text vector then', async () => {
  const mine = { itemId: 'mine-2', title: 'Mine', text: 'secretword', attributes: {} };
  const theirs = { itemId: 'theirs-2', title: 'Theirs', text: 'publicword', attributes: {} };
  const shared = await rig.addPicture('shared-2.png', [1, 1, 0], [mine, theirs]);
  rig.queue.failure = new SightlineError('encoder_unavailable');
  try {
    expect((await remove('/v1/items/mine-2')).json()).toEqual({ removed: [], detached: [shared] });
  } finally {
    rig.queue.failure = null;
  }
  const left = (await rig.index.get(DEFAULT_TENANT, [shared])).get(shared);
  expect(left).toMatchObject({ deleted: false, records: [{ itemId: 'theirs-2' }], hasText: false, hasImage: true });
});

test('an asset that a worker is writing is not removed under its hands', async () => {
  const id = await rig.addPicture('busy.png', [1, 0, 0], []);
  const lease = await rig.ledger.leaseKeys([assetLockKey(DEFAULT_TENANT, id)], { ttlMs: 60_000 });
  const removal = remove(`/v1/assets/${id}`);
  await new Promise((resolve) => setTimeout(resolve, 150));
  expect((await rig.index.get(DEFAULT_TENANT, [id])).get(id)).toMatchObject({ deleted: false });
  await rig.ledger.releaseKeys(lease.token);
  expect((await removal).json()).toMatchObject({ removed: [id] });
});

test('only loopback hosts on the served port and the own origin are answered', async () => {
  const status = async (more: Record<string, string>) =>
    (await rig.app.inject({ method: 'GET', url: '/healthz', headers: more })).statusCode;
  for (const host of ['127.0.0.1:8080', 'localhost:8080', 'LOCALHOST:8080', '[::1]:8080', '127.8.9.1:8080'])
    expect({ host, status: await status({ host }) }).toEqual({ host, status: 200 });
  for (const host of [
    'evil.example:8080',
    'localhost',
    'localhost:9999',
    'localhost.evil.example:8080',
    '127.0.0.1.evil.example:8080',
    '[::2]:8080',
    '10.0.0.1:8080',
    'user@localhost:8080',
    '',
  ])
    expect({ host, status: await status({ host }) }).toEqual({ host, status: 403 });
  for (const origin of [
    'http://evil.example',
    'null',
    'http://localhost:3000',
    'http://127.0.0.1:8080.evil.example',
    'http://127.0.0.1',
  ])
    expect({ origin, status: await status({ host: '127.0.0.1:8080', origin }) }).toEqual({ origin, status: 403 });
  expect(await status({ host: '127.0.0.1:8080', origin: 'http://127.0.0.1:8080' })).toBe(200);
  expect(await status({ host: '[::1]:8080', origin: 'http://[::1]:8080' })).toBe(200);
  expect(await status({ host: '127.0.0.1:8080', 'sec-fetch-site': 'cross-site' })).toBe(403);
  expect(await status({ host: '127.0.0.1:8080', 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' })).toBe(200);
});

test('the page allows only its own files and frames nowhere', async () => {
  const page = await get('/');
  expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
  const policy = String(page.headers['content-security-policy']);
  expect(policy).toContain("default-src 'none'");
  expect(policy).not.toContain('unsafe');
  expect(page.headers['x-frame-options']).toBe('DENY');
  expect(page.body).not.toMatch(/<script(?![^>]*src=)/);
  expect(page.body).not.toMatch(/ style=| on[a-z]+=|https?:\/\/(?!www\.w3\.org)/);
});

test('every script that the page needs is served, and strangers’ text reaches the page as text only', async () => {
  const scripts = ['/page/page.js'];
  for (const url of scripts) {
    const script = await get(url);
    expect({ url, status: script.statusCode, type: script.headers['content-type'] }).toEqual({
      url,
      status: 200,
      type: 'text/javascript; charset=utf-8',
    });
    expect(script.body).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(/);
    const imported = [...script.body.matchAll(/from '\.\/([a-z-]+\.js)'/g)].map(([, file]) => `/page/${file}`);
    scripts.push(...imported.filter((one) => !scripts.includes(one)));
  }
  expect(scripts.length).toBeGreaterThan(10);
});

test('readiness is a real encode and a real query', async () => {
  const before = rig.queue.requests;
  expect((await get('/readyz')).json()).toEqual({ status: 'ok' });
  expect(rig.queue.requests).toBeGreaterThan(before);
  const broken = await openRig();
  try {
    broken.queue.failure = new SightlineError('encoder_unavailable');
    const response = await broken.app.inject({ method: 'GET', url: '/readyz', headers });
    expect(response.json()).toMatchObject({ code: 'encoder_unavailable', status: 503 });
    expect((await broken.app.inject({ method: 'GET', url: '/healthz', headers })).statusCode).toBe(200);
  } finally {
    await broken.close();
  }
});

test('more searches than can wait are sent away with a time to come back', async () => {
  const small = await openRig({ searchesRunning: 1, searchesWaiting: 1 });
  try {
    const answers = await Promise.all(
      [1, 2, 3, 4].map((n) => small.app.inject({ method: 'POST', url: '/v1/search', headers, payload: { query: `query ${n}` } })),
    );
    const refused = answers.filter((answer) => answer.statusCode === 503);
    expect(refused).toHaveLength(2);
    expect(refused[0]?.json()).toMatchObject({ code: 'overloaded' });
    expect(refused[0]?.headers['retry-after']).toBe('1');
  } finally {
    await small.close();
  }
});

test('metrics tell the stages of searches and the requests by route', async () => {
  await post('/v1/search', { query: 'measured' });
  const metrics = (await get('/metrics')).body;
  expect(metrics).toContain('sightline_search_stage_seconds_bucket');
  expect(metrics).toMatch(/sightline_http_request_seconds_count\{method="POST",route="\/v1\/search",status="200"\} \d/);
});

test('the index says what it holds and that nothing is calibrated yet', async () => {
  const view = indexView.parse((await get('/v1/index')).json());
  expect(view.assets).toBeGreaterThan(0);
  expect(view.calibration.fitted).toBe(false);
});
