import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openHttpFaultProxy, s3Error, type HttpFaultProxy } from './http-fault-proxy.ts';

const BODY = 'x'.repeat(10_000);
const seen: string[] = [];
const server = createServer((request, response) => {
  seen.push(`${request.method} ${request.headers.host} ${request.url}`);
  let body = '';
  request.on('data', (chunk: Buffer) => (body += chunk.toString()));
  request.on('end', () => response.setHeader('x-got', body).end(request.method === 'HEAD' ? undefined : BODY));
});
let proxy: HttpFaultProxy;
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  proxy = await openHttpFaultProxy({ port: (server.address() as AddressInfo).port });
});
afterAll(async () => {
  await proxy.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

test('a request passes as it came, its Host, path and body among it', async () => {
  proxy.set(null);
  const response = await fetch(`${proxy.url}/bucket/a%20b?x=1`, { method: 'PUT', body: 'sent' });
  expect([response.status, response.headers.get('x-got'), await response.text()]).toEqual([200, 'sent', BODY]);
  expect(seen.at(-1)).toBe(`PUT ${new URL(proxy.url).host} /bucket/a%20b?x=1`);
  expect((await fetch(proxy.url, { method: 'HEAD' })).status).toBe(200);
});

test('a fault is chosen by method, path and query; an answer of its own does not reach the server', async () => {
  proxy.set(({ method, path, query }) =>
    method === 'GET' && path === '/bucket/a b' && query.get('x') === '1' ? s3Error(503, 'SlowDown') : null,
  );
  const before = seen.length;
  const refused = await fetch(`${proxy.url}/bucket/a%20b?x=1`);
  expect([refused.status, await refused.text()]).toEqual([503, expect.stringContaining('<Code>SlowDown</Code>')]);
  expect(seen.length).toBe(before);
  expect((await fetch(`${proxy.url}/bucket/other`)).status).toBe(200);
});

test('truncate says the whole length and ends before it', async () => {
  proxy.set(() => ({ kind: 'truncate', afterBytes: 100 }));
  const response = await fetch(proxy.url);
  expect([response.status, response.headers.get('content-length')]).toEqual([200, '10000']);
  await expect(response.text()).rejects.toThrow();
});

test('reset ends the connection without an answer, and the server hears nothing', async () => {
  proxy.set(() => ({ kind: 'reset' }));
  const before = seen.length;
  await expect(fetch(proxy.url)).rejects.toThrow();
  expect(seen.length).toBe(before);
});

test('slow comes late, and before does its part first', async () => {
  proxy.set(() => ({ kind: 'slow', latencyMs: 100 }));
  const startedAt = performance.now();
  await (await fetch(proxy.url)).text();
  expect(performance.now() - startedAt).toBeGreaterThan(95);
  const order: string[] = [];
  proxy.set(() => ({ kind: 'before', run: async () => void order.push(`before, ${seen.length} seen`) }));
  const before = seen.length;
  await (await fetch(proxy.url)).text();
  expect([order, seen.length]).toEqual([[`before, ${before} seen`], before + 1]);
});
