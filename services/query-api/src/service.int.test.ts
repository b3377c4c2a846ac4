import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { InProcessEventLog } from '@sightline/shared/adapters/in-process-event-log';
import { LocalObjectStore } from '@sightline/shared/adapters/local-object-store';
import { SqliteLedger } from '@sightline/shared/adapters/sqlite-ledger';
import { openSqliteVectorIndex } from '@sightline/shared/adapters/sqlite-vector-index';
import { ingestionView, problem } from '@sightline/shared/contracts/http';
import { DEFAULT_TENANT } from '@sightline/shared/contracts/ids';
import { Closer } from '@sightline/shared/runtime/lifecycle';
import { createApiKey } from './core/api-keys.ts';
import { startQueryApi } from './service.ts';
import { InProcessQueue, openRig } from './testing/query-api-rig.ts';
import { answerEncodeQuery, toySpec } from '@sightline/shared/testing/toy-encoder';

const logger = pino({ level: 'silent' });
const closer = new Closer(logger);
let ledger: SqliteLedger;
let service: Awaited<ReturnType<typeof startQueryApi>>;

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-query-api-'));
  closer.push('folder', () => rm(folder, { recursive: true, force: true }));
  const store = new LocalObjectStore({ dataDir: folder });
  const index = await openSqliteVectorIndex({ file: join(folder, 'index.db'), spec: toySpec });
  closer.push('index', () => index.close());
  ledger = await SqliteLedger.open({ file: join(folder, 'ledger.db') });
  closer.push('ledger', () => ledger.close());
  const queue = new InProcessQueue((data) => answerEncodeQuery(data, store));
  const config = { port: 0, progressIntervalMs: 20, heartbeatMs: 50, progressListeners: 3 };
  service = await startQueryApi({
    store,
    index,
    ledger,
    events: new InProcessEventLog(),
    queue,
    logger,
    registry: new Registry(),
    config,
  });
  closer.push('service', () => service.close());
});
afterAll(() => closer.closeAll(5_000));

async function ingestion(ingestionId: string) {
  await ledger.createIngestion({
    ingestionId,
    tenant: DEFAULT_TENANT,
    source: { type: 'directory', path: `/${ingestionId}` },
    createdAt: Date.now(),
  });
  await ledger.setStatus(ingestionId, ['planning'], 'running', { at: Date.now() });
  return { url: `${service.url}/v1/ingestions/${ingestionId}/events`, ingestionId };
}

const failed = (chunkNo: number) => ({
  chunkNo,
  entries: [],
  listed: 1,
  failures: [{ key: `${chunkNo}.png`, code: 'picture_corrupt' as const, reason: 'x' }],
  after: chunkNo === 0 ? null : String(chunkNo - 1),
  cursor: String(chunkNo),
  at: Date.now(),
});

function eventsOf(text: string): { id: string; event: string; data: ReturnType<typeof ingestionView.parse> }[] {
  return text
    .split('\n\n')
    .filter((block) => block.includes('event:'))
    .map((block) => {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1] ?? '';
      return { id: field('id'), event: field('event'), data: ingestionView.parse(JSON.parse(field('data'))) };
    });
}

test('progress is streamed as it happens, with heartbeats, and the stream ends with the ingestion', async () => {
  const { url, ingestionId } = await ingestion('streamed');
  const response = await fetch(url, { headers: { 'last-event-id': '99; DROP' } });
  expect(response.headers.get('content-type')).toContain('text/event-stream');
  expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  const whole = response.text();
  for (const chunkNo of [0, 1]) {
    await new Promise((resolve) => setTimeout(resolve, 80));
    await ledger.addChunk(ingestionId, failed(chunkNo));
  }
  await new Promise((resolve) => setTimeout(resolve, 80));
  await ledger.setStatus(ingestionId, ['running', 'planning'], 'completed', { at: Date.now() });
  const text = await whole;
  const events = eventsOf(text);
  expect(text).toContain(': heartbeat');
  expect(events.map(({ event }) => event)).toEqual([...events.slice(1).map(() => 'progress'), 'done']);
  expect(events.at(-1)?.data).toMatchObject({ status: 'completed', counts: { listed: 2, failed: 2 }, eta_seconds: null });
  expect(new Set(events.map(({ data }) => data.counts.failed)).size).toBe(3);
});

test('an ingestion that is over is told once', async () => {
  const { url, ingestionId } = await ingestion('over');
  await ledger.setStatus(ingestionId, ['running'], 'failed', { reason: 'source_not_found', at: Date.now() });
  const events = eventsOf(await (await fetch(url)).text());
  expect(events).toMatchObject([{ event: 'done', data: { status: 'failed', reason: 'source_not_found' } }]);
});

test('while nothing changes only heartbeats are sent', async () => {
  const { url } = await ingestion('quiet');
  const leave = new AbortController();
  const response = await fetch(url, { signal: leave.signal });
  let text = '';
  const reading = (async () => {
    for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString();
  })().catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 250));
  leave.abort();
  await reading;
  expect(text.match(/: heartbeat/g)?.length).toBeGreaterThan(1);
  expect(eventsOf(text)).toHaveLength(1);
});

test('listeners are bounded, and a place is free again when one leaves', async () => {
  const { url } = await ingestion('crowded');
  const leave = new AbortController();
  const listeners = await Promise.all([1, 2, 3].map(() => fetch(url, { signal: leave.signal })));
  expect(listeners.map(({ status }) => status)).toEqual([200, 200, 200]);
  const refused = await fetch(url);
  expect(problem.parse(await refused.json())).toMatchObject({ code: 'overloaded' });
  expect(refused.headers.get('retry-after')).toBe('1');
  leave.abort();
  await Promise.allSettled(listeners.map((listener) => listener.text()));
  await new Promise((resolve) => setTimeout(resolve, 50));
  const again = await fetch(url);
  expect(again.status).toBe(200);
  await again.body?.cancel();
});

/** fetch sets Host itself, as browsers do: a rebound name is only shown on a bare socket. */
function raw(lines: string[]): Promise<string> {
  const { hostname, port } = new URL(service.url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname.replace(/[[\]]/g, ''), () => socket.write(`${lines.join('\r\n')}\r\n\r\n`));
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString()));
    socket.on('end', () => resolve(text));
    socket.on('error', reject);
  });
}

test('a name that was rebound to this machine is not answered, nor another origin on it', async () => {
  const { port } = new URL(service.url);
  const status = async (...headers: string[]) =>
    /^HTTP\/1\.1 (\d+)/.exec(await raw(['GET /v1/ingestions HTTP/1.1', ...headers, 'Connection: close']))?.[1];
  expect(await status(`Host: localhost:${port}`)).toBe('200');
  expect(await status(`Host: rebound.example:${port}`)).toBe('403');
  expect(await status('Host: localhost')).toBe('403');
  expect(await status(`Host: localhost:${port}`, 'Origin: http://rebound.example')).toBe('403');
  expect(await status(`Host: localhost:${port}`, `Origin: http://localhost:${port}`)).toBe('200');
  expect(await status(`Host: localhost:${port}`, 'Origin: null')).toBe('403');
  // Node itself refuses a request without one.
  expect(await status()).toBe('400');
  expect(await raw([`GET http://rebound.example/v1/ingestions HTTP/1.1`, `Host: rebound.example`, 'Connection: close'])).toMatch(
    /^HTTP\/1\.1 4/,
  );
});

test('what is not HTTP is a problem of the table too', async () => {
  for (const [lines, code] of [
    [['NONSENSE / HTTP/1.1', 'Host: localhost'], 'request_invalid'],
    [['GET / HTTP/1.1', `X: ${'a'.repeat(20_000)}`], 'request_too_large'],
  ] as const) {
    const [head = '', body = ''] = (await raw([...lines])).split('\r\n\r\n');
    expect(head).toContain('application/problem+json');
    expect(problem.parse(JSON.parse(body))).toMatchObject({ code });
  }
});

test('a stream ends at its next heartbeat once its key is revoked', async () => {
  const rig = await openRig({ auth: 'keys', heartbeatMs: 50 });
  try {
    const url = await rig.app.listen({ host: '127.0.0.1', port: 0 });
    const deps = { ledger: rig.ledger, now: Date.now, randomBytes };
    const make = (name: string) => createApiKey(deps, { tenant: 't', name, scopes: ['admin'], expiresAt: null });
    const [watcher, admin] = [await make('watcher'), await make('admin')];
    await rig.ledger.createIngestion({ ingestionId: 'i', tenant: 't', source: { type: 'directory', path: '/i' }, createdAt: 1 });
    const as = (secret: string) => ({ headers: { authorization: `Bearer ${secret}` } });
    const stream = await fetch(`${url}/v1/ingestions/i/events`, as(watcher.secret));
    expect(stream.status).toBe(200);
    const ended = stream.text();
    await fetch(`${url}/v1/keys/${watcher.key.keyId}`, { method: 'DELETE', ...as(admin.secret) });
    expect(await ended).toContain('event: progress');
    expect((await rig.ledger.getIngestion('t', 'i'))?.status).toBe('planning');
  } finally {
    await rig.close();
  }
});

test('closing ends open streams at once', async () => {
  const { url } = await ingestion('closing');
  const response = await fetch(url);
  const startedAt = performance.now();
  await service.close();
  await response.text().catch(() => undefined);
  expect(performance.now() - startedAt).toBeLessThan(2_000);
});
