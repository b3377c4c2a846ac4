import { afterEach, expect, test } from '@jest/globals';
import { gzipSync } from 'node:zlib';
import { ok, openRecordingServer, type Behaviour, type RecordingServer } from '@sightline/shared/testing/recording-server';
import { openScriptedDnsServer } from '@sightline/shared/testing/scripted-dns-server';
import { TEST_CERTIFICATES } from '@sightline/shared/testing/test-certificates';
import type { SightlineError } from '../runtime/errors.ts';
import {
  openGuardedHttpClient,
  type GuardedHttpClient,
  type GuardedHttpOptions,
  type GuardedRequest,
} from './guarded-http-client.ts';
import { resolveByDns } from './guarded-lookup.ts';
import { fetchPicture } from './guarded-picture.ts';

const closers: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A server of this behaviour and a client that may talk to it. */
async function between(
  behaviour: Behaviour,
  { tls, ...options }: GuardedHttpOptions & { tls?: { cert: string; key: string } } = {},
): Promise<{ server: RecordingServer; client: GuardedHttpClient; url: string }> {
  const server = await openRecordingServer({ behaviour, ...(tls ? { tls } : {}) });
  const allowAddresses = [`127.0.0.1:${server.port}`];
  const client = openGuardedHttpClient({ allowHttp: true, allowAddresses, lookup: async () => ['127.0.0.1'], ...options });
  closers.push(server.close, client.close);
  return { server, client, url: `http://127.0.0.1:${server.port}/` };
}

const wanted = (url: string, more: Partial<GuardedRequest> = {}): GuardedRequest => ({
  method: 'GET',
  url,
  timeoutMs: 20_000,
  maxResponseBytes: 1_000,
  ...more,
});

async function failure(answer: Promise<unknown>): Promise<SightlineError> {
  return answer.then(
    (value) => {
      throw new Error(`It answered: ${JSON.stringify(value)}`);
    },
    (error: unknown) => error as SightlineError,
  );
}

const says =
  (text: string): Behaviour =>
  (socket) =>
    socket.end(text, 'latin1');

const { cert, key, ca, name } = TEST_CERTIFICATES;

test('an answer comes with its status, headers, bytes and duration, and leaves no connection', async () => {
  const body = Buffer.from([0, 255, 1, 254]);
  const { server, client, url } = await between((socket) =>
    socket.end(
      Buffer.concat([
        Buffer.from('HTTP/1.1 203 X\r\nX-One: a\r\nx-one: b\r\nSet-Cookie: c=d\r\ncontent-length: 4\r\n\r\n'),
        body,
      ]),
    ),
  );
  const answer = await client.request(wanted(url, { method: 'POST', body: '{"a":"ä"}', headers: { 'X-Two': 'c' } }));
  expect(answer).toMatchObject({ status: 203, headers: { 'x-one': 'a, b', 'content-length': '4' }, bytes: body });
  expect(answer.durationMs).toBeGreaterThan(0);
  expect(server.requests[0]).toContain('x-two: c\r\naccept-encoding: identity\r\ncontent-length: 10\r\n');
  await client.request(wanted(url));
  expect(server.requests[1]).not.toContain('cookie');
  await server.idle();
});

test('TLS is spoken to the name over the judged address', async () => {
  const { server, client } = await between(ok, { tls: { cert, key }, ca });
  expect(await client.request(wanted(`https://${name}.:${server.port}/`))).toMatchObject({ status: 200 });
  expect(server.requests[0]).toContain(`host: ${name}:${server.port}\r\n`);
});

test.each([
  ['the certificate of another name', 'https://other.example.com', ca],
  ['the certificate of a name at a bare address', 'https://127.0.0.1', ca],
  ['an authority that is not trusted', `https://${name}`, undefined],
])('%s is not spoken to', async (_what, origin, trusted) => {
  const { server, client } = await between(ok, { tls: { cert, key }, ...(trusted ? { ca: trusted } : {}) });
  expect(await failure(client.request(wanted(`${origin}:${server.port}/`)))).toMatchObject({ code: 'url_unreachable' });
  await server.idle();
  expect(server.requests).toEqual([]);
});

test.each<[string, Behaviour]>([
  ['garbage', says('\0\u0001garbage\r\n\r\n')],
  ['HTTP/0.9', says('<html>')],
  ['another protocol', says('220 mail.example.com ESMTP\r\n')],
  [
    'an upgrade that nobody asked for',
    says('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nhello'),
  ],
  [
    'both framings at once',
    says('HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n'),
  ],
  ['two lengths', says('HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok')],
  ['a length that is none', says('HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok')],
  ['a body that ends too early', says('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok')],
  ['chunks that end too early', says('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nok')],
  ['a chunk of no size', says('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok\r\n')],
  ['a line feed in a header', says('HTTP/1.1 200 OK\r\nx: a\rb: c\r\ncontent-length: 0\r\n\r\n')],
  ['nothing', (socket) => socket.end()],
  ['a reset', (socket) => socket.resetAndDestroy()],
])('an answer of %s is none', async (_what, behaviour) => {
  const { server, client, url } = await between(behaviour);
  expect(await failure(client.request(wanted(url)))).toMatchObject({ code: 'url_unreachable', detail: undefined });
  await server.idle();
});

test('what follows the answer is not a second one', async () => {
  const { client, url } = await between(
    says('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n'),
  );
  const { status, bytes } = await client.request(wanted(url));
  expect([status, Buffer.from(bytes).toString()]).toEqual([200, 'ok']);
});

test('refused, reset, not resolved and badly certified read the same', async () => {
  const { server, client, url } = await between((socket) => socket.resetAndDestroy());
  const closed = await openRecordingServer();
  await closed.close();
  const dns = await openScriptedDnsServer({});
  closers.push(dns.close);
  const foreign = await between(ok, { tls: { cert, key } });
  const options = { allowHttp: true, allowAddresses: [`127.0.0.1:${server.port}`, `127.0.0.1:${closed.port}`] };
  const unresolved = openGuardedHttpClient({ ...options, lookup: resolveByDns(dns.resolver) });
  const closedDoor = openGuardedHttpClient(options);
  closers.push(unresolved.close, closedDoor.close);
  const failures = await Promise.all([
    failure(client.request(wanted(url))),
    failure(closedDoor.request(wanted(`http://127.0.0.1:${closed.port}/`))),
    failure(unresolved.request(wanted('http://nobody.example.com/'))),
    failure(foreign.client.request(wanted(`https://${name}:${foreign.server.port}/`))),
  ]);
  expect(new Set(failures.map((error) => `${error.code} ${error.message}`)).size).toBe(1);
  expect(failures[0]).toMatchObject({ code: 'url_unreachable', retryable: true });
});

/** Writes for as long as it is listened to. */
const writesOn =
  (head: string, piece: string | Buffer): Behaviour =>
  (socket) => {
    const write = () => {
      while (!socket.destroyed && socket.write(piece));
    };
    socket.on('drain', write);
    socket.write(head);
    write();
  };

test.each<[string, Behaviour]>([
  ['a length over the bound', (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n')],
  ['a length beyond all numbers', (socket) => socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${'9'.repeat(18)}\r\n\r\n`)],
  ['an endless body', writesOn('HTTP/1.1 200 OK\r\n\r\n', 'x'.repeat(65_536))],
  ['endless chunks', writesOn('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', '1\r\nx\r\n'.repeat(5_000))],
  ['a header without end', writesOn('HTTP/1.1 200 OK\r\nx: ', 'x'.repeat(1_000))],
  ['headers without end', writesOn('HTTP/1.1 200 OK\r\n', `x: ${'x'.repeat(1_000)}\r\n`)],
  ['trailers without end', writesOn('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n', `x: ${'x'.repeat(1_000)}\r\n`)],
])('%s is cut off, and its connection with it', async (_what, behaviour) => {
  const { server, client, url } = await between(behaviour);
  expect(await failure(client.request(wanted(url)))).toMatchObject({ code: 'url_answer_too_large', retryable: false });
  await server.idle();
});

test('a body as large as the bound is taken', async () => {
  const { client, url } = await between(says(`HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(1_000)}`));
  expect((await client.request(wanted(url))).bytes.length).toBe(1_000);
});

test('a body of pieces of a byte each comes whole', async () => {
  const pieces = '1\r\nx\r\n'.repeat(100_000);
  const { client, url } = await between(says(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${pieces}0\r\n\r\n`));
  expect((await client.request(wanted(url, { maxResponseBytes: 100_000 }))).bytes.length).toBe(100_000);
});

test('a large body comes whole', async () => {
  const body = Buffer.alloc(1_000_000, 'abcdefg');
  const { client, url } = await between((socket) => socket.end(Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\n\r\n'), body])));
  const { bytes } = await client.request(wanted(url, { maxResponseBytes: 1_000_000 }));
  expect(body.equals(bytes)).toBe(true);
});

test('nothing is decompressed', async () => {
  const bomb = gzipSync(Buffer.alloc(10_000_000));
  const head = `HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: ${bomb.length}\r\n\r\n`;
  const { client, url } = await between((socket) => socket.end(Buffer.concat([Buffer.from(head), bomb])));
  expect((await client.request(wanted(url, { maxResponseBytes: 20_000 }))).bytes).toEqual(bomb);
});

/** Writes piece by piece, each soon enough for a time-out that starts anew with every byte. */
const drips =
  (head: string, piece: string): Behaviour =>
  (socket) => {
    socket.write(head);
    const timer = setInterval(() => socket.write(piece), 5);
    socket.on('close', () => clearInterval(timer));
  };

test.each<[string, Behaviour]>([
  ['silence', () => {}],
  ['a status that never ends', drips('HTTP/1.1 200 ', 'O')],
  ['headers, letter by letter', drips('HTTP/1.1 200 OK\r\nx: ', 'x')],
  ['hints without end', drips('', 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n')],
  ['a body, byte by byte', drips('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n', 'x')],
  ['a body that stops', (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nx')],
  ['a chunk extension, byte by byte', drips('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;', 'x')],
])('%s is over when the time is', async (_what, behaviour) => {
  const { server, client, url } = await between(behaviour);
  expect(await failure(client.request(wanted(url, { timeoutMs: 200 })))).toMatchObject({ code: 'url_timeout', retryable: true });
  await server.idle();
});

test('a handshake that never ends is over when the time is', async () => {
  const { server, client } = await between(ok);
  expect(await failure(client.request(wanted(`https://${name}:${server.port}/`, { timeoutMs: 200 })))).toMatchObject({
    code: 'url_timeout',
  });
  await server.idle();
});

test('a name that is never resolved is over when the time is, and is connected to no more', async () => {
  let answer = (_addresses: string[]) => {};
  const lookup = () => new Promise<string[]>((resolve) => (answer = resolve));
  const { server, client } = await between(ok, { lookup });
  expect(await failure(client.request(wanted(`http://${name}:${server.port}/`, { timeoutMs: 100 })))).toMatchObject({
    code: 'url_timeout',
  });
  answer(['127.0.0.1']);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(server.connections()).toBe(0);
});

test.each<[string, Behaviour]>([
  ['before an answer', () => {}],
  ['within an answer', (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nx')],
])('who aborts %s gets the reason, and the connection ends', async (_when, behaviour) => {
  const stop = new AbortController();
  const reason = new Error('enough');
  const { server, client, url } = await between((socket, request) => {
    behaviour(socket, request);
    setTimeout(() => stop.abort(reason), 20);
  });
  await expect(client.request(wanted(url, { signal: stop.signal }))).rejects.toBe(reason);
  await server.idle();
});

test('who aborted before is not connected for', async () => {
  const { server, client, url } = await between(ok);
  await expect(client.request(wanted(url, { signal: AbortSignal.abort(new Error('early')) }))).rejects.toThrow('early');
  expect(server.connections()).toBe(0);
});

test('one slow host does not take the places of others; whoever waits too long is told that it is busy here', async () => {
  const { server, client, url } = await between(() => {}, { maxRequestsOfHost: 1, maxRequests: 2 });
  const stop = new AbortController();
  const slow = failure(client.request(wanted(url, { signal: stop.signal })));
  expect(await failure(client.request(wanted(url, { timeoutMs: 50 })))).toMatchObject({ code: 'overloaded' });
  const next = client.request(wanted(url, { signal: stop.signal }));
  const other = failure(client.request(wanted(`http://${name}:${server.port}/`, { timeoutMs: 200 })));
  expect(await other).toMatchObject({ code: 'url_timeout' });
  expect(server.connections()).toBe(2);
  stop.abort(new Error('enough'));
  await expect(next).rejects.toThrow('enough');
  await slow;
  await server.idle();
});

test('places are given on: a hundred requests pass through two', async () => {
  let most = 0;
  let open = 0;
  const counting: Behaviour = (socket, request) => {
    most = Math.max(most, (open += 1));
    socket.on('close', () => (open -= 1));
    ok(socket, request);
  };
  const { client, url } = await between(counting, { maxRequests: 2 });
  const answers = await Promise.all(Array.from({ length: 100 }, () => client.request(wanted(url))));
  expect(answers.every(({ status }) => status === 200)).toBe(true);
  // The server may see an end after the next beginning.
  expect(most).toBeLessThanOrEqual(4);
});

test('closing ends what is under way, and begins nothing', async () => {
  const { server, client, url } = await between(() => {});
  const answer = failure(client.request(wanted(url)));
  while (server.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await client.close();
  expect(await answer).toMatchObject({ code: 'url_unreachable' });
  expect(await failure(client.request(wanted(url)))).toMatchObject({ code: 'url_unreachable' });
  await server.idle();
});

test('a picture is the bytes of a 200, and of nothing else', async () => {
  const { client, url } = await between((socket, request) => {
    const status = /^GET \/(\d*)/.exec(request)?.[1];
    socket.end(`HTTP/1.1 ${status} X\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nok`);
  });
  const fetched = (status: number) => fetchPicture(client, `${url}${status}`, { maxBytes: 2, timeoutMs: 20_000 });
  expect(Buffer.from(await fetched(200)).toString()).toBe('ok');
  for (const status of [206, 302, 404]) expect(await failure(fetched(status))).toMatchObject({ code: 'url_answer_not_ok' });
  for (const status of [408, 429, 503]) expect(await failure(fetched(status))).toMatchObject({ code: 'url_unreachable' });
  expect(await failure(fetchPicture(client, `${url}200`, { maxBytes: 1, timeoutMs: 20_000 }))).toMatchObject({
    code: 'url_answer_too_large',
  });
});
