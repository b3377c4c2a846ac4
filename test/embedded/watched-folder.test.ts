import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from '@jest/globals';
import { changeFailurePage, changesView } from '@sightline/shared/contracts/changes-http';
import { assetView, ingestionAccepted, ingestionView, searchResponse } from '@sightline/shared/contracts/http';
import { DEFAULT_TENANT, pictureAssetId } from '@sightline/shared/contracts/ids';
import { ApiClient, ApiError } from '../../scripts/api-client.ts';
import { startStack, type Stack } from '../harness/stack.ts';
import { tinyJpeg } from '../harness/tiny-pictures.ts';

const TIMEOUT_MS = 180_000;
const WAIT_MS = 60_000;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function scratch(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-watched-'));
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function start(dataDir: string): Promise<{ stack: Stack; client: ApiClient }> {
  const stack = await startStack({ dataDir, env: { RATE_LIMIT_READ: '1000000', RATE_LIMIT_PUBLIC: '1000000' } });
  cleanups.push(() => stack.stop());
  return { stack, client: new ApiClient(stack.url) };
}

/** A folder and what is seen of it. */
class Album {
  readonly folder: string;
  client: ApiClient | null = null;
  readonly #written = new Map<string, string>();

  constructor(folder: string) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  async write(key: string, picture: number): Promise<void> {
    const bytes = await tinyJpeg(picture);
    mkdirSync(dirname(join(this.folder, key)), { recursive: true });
    await writeFile(join(this.folder, key), bytes);
    this.#written.set(key, createHash('sha256').update(bytes).digest('hex'));
  }

  async remove(key: string): Promise<void> {
    await rm(join(this.folder, key));
    this.#written.delete(key);
  }

  rename(from: string, to: string): void {
    renameSync(join(this.folder, from), join(this.folder, to));
    this.#written.set(to, this.#written.get(from) ?? '');
    this.#written.delete(from);
  }

  idOf(key: string): string {
    return pictureAssetId(DEFAULT_TENANT, this.folder, key);
  }

  /** Waits until the index shows of these keys what the folder has: the bytes, or nothing. */
  async shows(...keys: string[]): Promise<void> {
    for (const key of keys) {
      const expected = this.#written.get(key) ?? null;
      await until(async () => (await this.#shownSha256(key)) === expected, `${key} is not shown as it is`);
    }
  }

  async #shownSha256(key: string): Promise<string | null> {
    try {
      return (await this.client!.get(`/v1/assets/${this.idOf(key)}`, assetView)).sha256;
    } catch (error) {
      if (error instanceof ApiError && error.code === 'asset_not_found') return null;
      throw error;
    }
  }
}

/** Throws `otherwise` where it does not become so in time. */
async function until(isSo: () => Promise<boolean>, otherwise: string): Promise<void> {
  for (const endsAt = performance.now() + WAIT_MS; !(await isSo()); await sleep(20))
    if (performance.now() > endsAt) throw new Error(otherwise);
}

async function ingest(client: ApiClient, path: string): Promise<string> {
  const source = { type: 'directory', path };
  return (await client.post('/v1/ingestions', { source }, ingestionAccepted)).links.self;
}

async function untilCompleted(client: ApiClient, self: string): Promise<void> {
  await until(async () => (await client.get(self, ingestionView)).status === 'completed', 'the ingestion does not end');
}

async function foundFirst(client: ApiClient, picture: number): Promise<string | undefined> {
  const data = `data:image/jpeg;base64,${(await tinyJpeg(picture)).toString('base64')}`;
  const body = { image: { data }, mode: 'visually_similar', group_by: 'asset', limit: 1 };
  return (await client.post('/v1/search', body, searchResponse)).results[0]?.asset_id;
}

test(
  'files that are written, overwritten, renamed, spoilt and deleted are found as they are, without anybody asking for it',
  async () => {
    const dir = scratch();
    const album = new Album(join(dir, 'album'));
    for (let n = 0; n < 10; n++) await album.write(`${n}.jpg`, n);
    const { client } = await start(join(dir, 'data'));
    album.client = client;
    await untilCompleted(client, await ingest(client, album.folder));

    await album.write('new.jpg', 100);
    await album.write('deep/er/new.jpg', 101);
    await album.shows('new.jpg', 'deep/er/new.jpg');
    expect(await foundFirst(client, 100)).toBe(album.idOf('new.jpg'));
    await album.write('0.jpg', 102);
    await album.remove('1.jpg');
    album.rename('2.jpg', 'renamed.jpg');
    await album.shows('0.jpg', '1.jpg', '2.jpg', 'renamed.jpg');
    expect(await foundFirst(client, 102)).toBe(album.idOf('0.jpg'));
    expect(await foundFirst(client, 2)).toBe(album.idOf('renamed.jpg'));

    await writeFile(join(album.folder, 'new.jpg'), 'no picture any more');
    const failuresOf = async () => (await client.get('/v1/changes/failures', changeFailurePage)).failures;
    await until(async () => (await failuresOf()).length > 0, 'no failure is told of');
    expect(await failuresOf()).toMatchObject([{ kind: 'object', key: 'new.jpg', code: 'picture_is_text' }]);
    expect(await foundFirst(client, 100)).not.toBe(album.idOf('new.jpg'));
    await album.write('new.jpg', 103);
    await album.shows('new.jpg');
    // It is shown a moment before it is owed no more, and told of as failed no more.
    const owedNow = () => client.get('/v1/changes', changesView);
    await until(async () => (await owedNow()).owed === 0, 'changes stay owed');
    expect(await owedNow()).toEqual({ owed: 0, oldest_seconds: null });
    await until(async () => (await failuresOf()).length === 0, 'what was mended is still told of as failed');
    const metrics = await (await fetch(`${client.url}/metrics`)).text();
    // What was written before the folder was watched came by another look through it.
    expect(Number(/sightline_freshness_seconds_count\S* (\d+)/.exec(metrics)?.[1])).toBeGreaterThanOrEqual(3);
  },
  TIMEOUT_MS,
);

test(
  'what changed while the stack was down, killed or not, is found after its next start',
  async () => {
    const dir = scratch();
    const album = new Album(join(dir, 'album'));
    for (let n = 0; n < 10; n++) await album.write(`${n}.jpg`, n);
    const first = await start(join(dir, 'data'));
    album.client = first.client;
    await untilCompleted(first.client, await ingest(first.client, album.folder));
    await first.stack.kill();
    await album.write('0.jpg', 100);
    await album.write('new.jpg', 101);
    await album.remove('1.jpg');
    album.client = (await start(join(dir, 'data'))).client;
    await album.shows('0.jpg', 'new.jpg', '1.jpg', '2.jpg');
  },
  TIMEOUT_MS,
);

test(
  'changes overtake a bulk ingestion: they are shown while it still goes',
  async () => {
    const dir = scratch();
    const album = new Album(join(dir, 'album'));
    await album.write('first.jpg', 1);
    const bulk = new Album(join(dir, 'bulk'));
    for (let n = 0; n < 1_500; n++) await bulk.write(`${n}.jpg`, 1_000 + n);
    const { client } = await start(join(dir, 'data'));
    album.client = client;
    await untilCompleted(client, await ingest(client, album.folder));
    await album.write('watched.jpg', 2);
    await album.shows('watched.jpg');

    const self = await ingest(client, bulk.folder);
    while ((await client.get(self, ingestionView)).counts.indexed === 0) await sleep(20);
    await album.write('new.jpg', 3);
    await album.write('first.jpg', 4);
    await album.remove('watched.jpg');
    await album.shows('new.jpg', 'first.jpg', 'watched.jpg');
    const { status, counts } = await client.get(self, ingestionView);
    expect(['planning', 'running']).toContain(status);
    expect(counts.indexed).toBeLessThan(1_500);
  },
  TIMEOUT_MS,
);
