import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';
import {
  indexView,
  ingestionAccepted,
  ingestionView,
  searchResponse,
  type IngestionView,
} from '@sightline/shared/contracts/http';
import { ApiClient } from '../../scripts/api-client.ts';
import { isRunning, processTree } from '../../scripts/process-tree.ts';
import { startStack, type Stack } from '../harness/stack.ts';

const PICTURES = fileURLToPath(new URL('../../sample/images/products', import.meta.url));
const TIMEOUT_MS = 120_000;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function scratch(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-embedded-'));
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A folder with `count` pictures of the sample. */
function pictures(count: number): string {
  const dir = join(scratch(), 'pictures');
  mkdirSync(dir);
  for (const name of readdirSync(PICTURES).toSorted().slice(0, count)) cpSync(join(PICTURES, name), join(dir, name));
  return dir;
}

async function start(dataDir: string, env: Record<string, string> = {}): Promise<Stack> {
  const stack = await startStack({ dataDir, env });
  cleanups.push(() => stack.stop());
  return stack;
}

async function follow(client: ApiClient, self: string, done: (view: IngestionView) => boolean): Promise<IngestionView> {
  for (;;) {
    const view = await client.get(self, ingestionView);
    if (done(view) || view.status === 'failed') return view;
    await sleep(20);
  }
}

async function allGone(pids: number[]): Promise<void> {
  for (const endsAt = performance.now() + 15_000; pids.some(isRunning); await sleep(50)) {
    if (performance.now() > endsAt) throw new Error(`still running: ${pids.filter(isRunning).join(', ')}`);
  }
}

const finished = ({ status }: IngestionView) => status === 'completed';

test(
  'killed in the middle of an ingestion, the next start ends it; every process of the first is gone',
  async () => {
    const dataDir = scratch();
    const source = { type: 'directory', path: pictures(400) };
    const first = await start(dataDir);
    const accepted = await new ApiClient(first.url).post('/v1/ingestions', { source }, ingestionAccepted);
    const caught = await follow(new ApiClient(first.url), accepted.links.self, ({ counts }) => counts.indexed > 0);
    expect(caught.status).not.toBe('completed');
    const [, ...children] = processTree(first.pid);
    await first.kill();

    const client = new ApiClient((await start(dataDir)).url);
    await allGone(children);
    const view = await follow(client, accepted.links.self, finished);
    expect(view.counts.listed).toBe(400);
    expect(view.counts.failed).toBe(0);
    expect(await client.get('/v1/index', indexView)).toMatchObject({ assets: 400 });

    const again = await client.post('/v1/ingestions', { source }, ingestionAccepted);
    expect((await follow(client, again.links.self, finished)).counts).toEqual({
      listed: 400,
      indexed: 0,
      unchanged: 400,
      duplicate: 0,
      failed: 0,
    });
  },
  TIMEOUT_MS,
);

test(
  'SIGTERM in the middle of an ingestion ends with 0 in time, leaves nothing running, and what is left is done by the next start',
  async () => {
    const dataDir = scratch();
    const source = { type: 'directory', path: pictures(400) };
    const first = await start(dataDir);
    const accepted = await new ApiClient(first.url).post('/v1/ingestions', { source }, ingestionAccepted);
    await follow(new ApiClient(first.url), accepted.links.self, ({ counts }) => counts.indexed > 0);
    const [, ...children] = processTree(first.pid);
    const stoppedAt = performance.now();
    expect(await first.stop()).toBe(0);
    expect(performance.now() - stoppedAt).toBeLessThan(25_000);
    await allGone(children);

    const client = new ApiClient((await start(dataDir)).url);
    await follow(client, accepted.links.self, finished);
    expect(await client.get('/v1/index', indexView)).toMatchObject({ assets: 400 });
  },
  TIMEOUT_MS,
);

test(
  'a second start on the same data directory is refused by name, and the first goes on',
  async () => {
    const dataDir = scratch();
    const first = await start(dataDir);
    await expect(start(dataDir)).rejects.toThrow(
      new RegExp(`data_dir_in_use.*process ${first.pid}|process ${first.pid}.*data_dir_in_use`),
    );
    await new ApiClient(first.url).post('/v1/search', { query: 'red apple' }, searchResponse);
  },
  TIMEOUT_MS,
);

test(
  'a port that is taken, a pack that is not there and wrong variables are each said by name',
  async () => {
    const server = createServer().listen(0, '127.0.0.1');
    cleanups.push(() => server.close());
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    await expect(start(scratch(), { PORT: String(port) })).rejects.toThrow('port_taken');
    await expect(start(scratch(), { ENCODER_PACK: 'no-such-pack' })).rejects.toThrow('pack_not_found');
    await expect(start(scratch(), { PORT: 'eighty', LOG_LEVEL: 'loud' })).rejects.toThrow(
      /PORT: expected a whole number from 0 to 65535.*LOG_LEVEL|LOG_LEVEL.*PORT: expected a whole number from 0 to 65535/,
    );
  },
  TIMEOUT_MS,
);
