import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { verifyPack } from './packs.ts';
import { pullPack, type PullOptions } from './pull-pack.ts';

const PACK = path.resolve(import.meta.dirname, '../test/fixtures/packs/tiny-clip');
const COMMIT = 'a'.repeat(40);
const closers: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Hub {
  endpoint: string;
  requests: string[];
  /** Ends the connection after so many bytes of the next answers that carry a graph. */
  cutAfterBytes: number[];
  spoil: Set<string>;
  extra: { path: string; size: number }[];
}

/** A server with the hub's routes: revision, tree (in pages), resolve (with a redirect and ranges for what lies in LFS). */
async function openHub(): Promise<Hub> {
  const files = readdirSync(PACK, { recursive: true, encoding: 'utf8' }).filter(
    (name) => statSync(path.join(PACK, name)).isFile() && name !== 'golden.json',
  );
  const hub: Hub = { endpoint: '', requests: [], cutAfterBytes: [], spoil: new Set(), extra: [] };
  const server = createServer((request, response) => {
    const url = new URL(request.url!, 'http://hub');
    hub.requests.push(`${url.pathname}${request.headers.range ? ` ${request.headers.range}` : ''}`);
    if (url.pathname === '/api/models/org/tiny/revision/main') return void response.end(JSON.stringify({ sha: COMMIT }));
    if (url.pathname === `/api/models/org/tiny/tree/${COMMIT}`) {
      const entries = [
        ...files.map((name) => entryOf(name)),
        ...hub.extra.map((entry) => ({ type: 'file', oid: '0', ...entry })),
        { type: 'directory', path: 'onnx', size: 0, oid: '0' },
      ];
      const isSecond = url.searchParams.has('cursor');
      if (!isSecond) response.setHeader('link', `<${hub.endpoint}${url.pathname}?recursive=true&cursor=2>; rel="next"`);
      return void response.end(JSON.stringify(isSecond ? entries.slice(5) : entries.slice(0, 5)));
    }
    const resolved = /^\/org\/tiny\/resolve\/a{40}\/(.+)$/.exec(url.pathname)?.[1];
    if (resolved?.endsWith('.onnx')) {
      response.writeHead(302, { location: `/blobs/${resolved}` });
      return void response.end();
    }
    const name = resolved ?? /^\/blobs\/(.+)$/.exec(url.pathname)?.[1];
    if (!name || !files.includes(name)) {
      response.writeHead(404);
      return void response.end();
    }
    let bytes = readFileSync(path.join(PACK, name));
    if (hub.spoil.has(name)) bytes = Buffer.from(bytes.map((byte, n) => (n === 100 ? byte ^ 1 : byte)));
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': bytes.length - from });
    const cut = name.endsWith('.onnx') ? hub.cutAfterBytes.shift() : undefined;
    if (cut === undefined) return void response.end(bytes.subarray(from));
    // Ended only when what was written has had time to arrive.
    response.write(bytes.subarray(from, from + cut), () => setTimeout(() => response.destroy(), 200));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => closeServer(server));
  hub.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return hub;
}

function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

function entryOf(name: string) {
  const bytes = readFileSync(path.join(PACK, name));
  const oid = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
  const lfs = name.endsWith('.onnx')
    ? { lfs: { oid: createHash('sha256').update(bytes).digest('hex'), size: bytes.length } }
    : {};
  return { type: 'file', path: name, size: bytes.length, oid, ...lfs };
}

function optionsFor(hub: Hub, over: Partial<PullOptions> = {}): PullOptions {
  const into = mkdtempSync(path.join(tmpdir(), 'sightline-pull-'));
  closers.push(() => rmSync(into, { recursive: true, force: true }));
  return {
    repo: 'org/tiny',
    revision: 'main',
    variants: ['fp32'],
    endpoint: hub.endpoint,
    token: undefined,
    into,
    report: () => undefined,
    ...over,
  };
}

const codeOf = (error: unknown) => (error instanceof SightlineError ? error.code : error);

test('a pulled pack is whole, verified, and records golden vectors of its own', async () => {
  const hub = await openHub();
  const options = optionsFor(hub);
  const directory = await pullPack(options);
  expect(directory).toBe(path.join(options.into, 'org--tiny'));
  expect(readdirSync(path.join(directory, 'onnx')).sort()).toEqual(['text_model.onnx', 'vision_model.onnx']);
  expect(readFileSync(path.join(directory, 'onnx/vision_model.onnx'))).toEqual(
    readFileSync(path.join(PACK, 'onnx/vision_model.onnx')),
  );
  expect(JSON.parse(readFileSync(path.join(directory, 'source.json'), 'utf8'))).toMatchObject({
    repo: 'org/tiny',
    commit: COMMIT,
  });
  expect((await verifyPack(directory, [], ['fp32']))[0]).toMatch(/recorded-now/);
  expect((await verifyPack(directory, [], ['fp32']))[0]).toMatch(/self-recorded, least cosine 1\.0/);
});

test('a pull that was cut goes on where it stopped', async () => {
  const hub = await openHub();
  hub.cutAfterBytes.push(20_000);
  await pullPack(optionsFor(hub));
  expect(hub.requests.some((line) => /_model\.onnx bytes=[1-9]\d*-$/.test(line))).toBe(true);
}, 20_000);

test('a second pull fetches nothing twice that is intact in the half-done folder', async () => {
  const hub = await openHub();
  hub.spoil.add('onnx/vision_model.onnx');
  const options = optionsFor(hub);
  await expect(pullPack(options).catch(codeOf)).resolves.toBe('pack_invalid');
  expect(existsSync(path.join(options.into, 'org--tiny'))).toBe(false);
  hub.spoil.clear();
  hub.requests.length = 0;
  await pullPack(options);
  expect(hub.requests.filter((line) => line.includes('tokenizer.json'))).toEqual([]);
});

test('wanted variants come along, unwanted ones do not', async () => {
  const directory = await pullPack(optionsFor(await openHub(), { variants: ['fp32', 'quantized'] }));
  expect(readdirSync(path.join(directory, 'onnx')).sort()).toEqual([
    'text_model.onnx',
    'text_model_quantized.onnx',
    'vision_model.onnx',
    'vision_model_quantized.onnx',
  ]);
});

test('a hub that does not answer is said by name', async () => {
  const hub = await openHub();
  const away = { ...optionsFor(hub), endpoint: 'http://127.0.0.1:1' };
  await expect(pullPack(away).catch(codeOf)).resolves.toBe('hub_unavailable');
});

test('a repository that is not there, a name that is none, and an absurd size are refused', async () => {
  const hub = await openHub();
  await expect(pullPack(optionsFor(hub, { repo: 'org/other' })).catch(codeOf)).resolves.toBe('pack_not_found');
  await expect(pullPack(optionsFor(hub, { repo: '../etc' })).catch(codeOf)).resolves.toBe('pack_not_found');
  await expect(pullPack(optionsFor(hub, { variants: ['q4'] })).catch(codeOf)).resolves.toBe('pack_invalid');
  hub.extra.push({ path: 'onnx/vision_model.onnx_data', size: 50 * 1024 ** 3 });
  await expect(pullPack(optionsFor(hub)).catch(codeOf)).resolves.toBe('pack_invalid');
});
