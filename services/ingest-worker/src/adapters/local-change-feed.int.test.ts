import { appendFile, mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { changeFeedContract, eventually, type OpenedFeed } from '../testing/change-feed-contract.ts';
import { keysOf } from '../testing/change-feed-keys.ts';
import { LocalChangeFeed, type LocalChangeFeedOptions } from './local-change-feed.ts';

const FAST = { lookEveryMs: 50, settledMs: 100, retryMs: 50, logger: pino({ level: 'silent' }) };

async function write(root: string, key: string, content = key): Promise<void> {
  await mkdir(dirname(join(root, key)), { recursive: true });
  await writeFile(join(root, key), content);
}

async function openFolder(): Promise<OpenedFeed> {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-feed-'));
  let writes = 0;
  return {
    feed: new LocalChangeFeed({ ...FAST, folders: async () => [folder], dataDir: join(folder, '.data') }),
    bucket: folder,
    change: (key) => write(folder, key, `${key} ${writes++}`),
    close: () => rm(folder, { recursive: true, force: true }),
  };
}

describe('over a folder', () => {
  changeFeedContract(openFolder);
});

let folder: string;
let feed: LocalChangeFeed | null;
let got: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-feed-'));
  feed = null;
  got = [];
});

afterEach(async () => {
  await feed?.close();
  await rm(folder, { recursive: true, force: true });
});

async function started(options: Partial<LocalChangeFeedOptions> = {}): Promise<LocalChangeFeed> {
  feed = new LocalChangeFeed({ ...FAST, folders: async () => [folder], dataDir: join(folder, 'data'), ...options });
  await feed.start(async (noticed) => void got.push(...keysOf(noticed)));
  return feed;
}

const heard = (...keys: string[]): Promise<void> => eventually(() => keys.every((key) => got.includes(key)), keys.join());

/** Long enough for what would come to have come. */
const aWhile = (): Promise<void> => sleep(700);

test('what lay there before is not told of; creating, overwriting, deleting and renaming is', async () => {
  await write(folder, 'old.png');
  await started();
  await aWhile();
  expect(got).toEqual([]);
  await write(folder, 'new.png');
  await heard('new.png');
  got = [];
  await write(folder, 'old.png', 'others, and more');
  await heard('old.png');
  got = [];
  await rename(join(folder, 'old.png'), join(folder, 'renamed.png'));
  await heard('old.png', 'renamed.png');
  got = [];
  await rm(join(folder, 'new.png'));
  await heard('new.png');
});

test('files in folders that are new, deep, moved in or moved away are told of', async () => {
  const outside = await mkdtemp(join(tmpdir(), 'sightline-feed-outside-'));
  try {
    await write(outside, 'album/1.png');
    await write(outside, 'album/deep/2.png');
    await started();
    await write(folder, 'a/b/c/d.png');
    await heard('a/b/c/d.png');
    await rename(join(outside, 'album'), join(folder, 'album'));
    await heard('album/1.png', 'album/deep/2.png');
    got = [];
    await write(folder, 'album/deep/3.png');
    await heard('album/deep/3.png');
    got = [];
    await rename(join(folder, 'album'), join(outside, 'album'));
    await heard('album/1.png', 'album/deep/2.png', 'album/deep/3.png');
    got = [];
    await rm(join(folder, 'a'), { recursive: true });
    await heard('a/b/c/d.png');
  } finally {
    await rm(outside, { recursive: true, force: true });
  }
});

test('a file that is written slowly is told of once it is whole', async () => {
  await started({ settledMs: 300 });
  const sizes: number[] = [];
  for (let part = 0; part < 10; part++) {
    await appendFile(join(folder, 'slow.png'), 'x'.repeat(1_000));
    await sleep(80);
    sizes.push(got.length);
  }
  expect(sizes.at(-2)).toBe(0);
  await heard('slow.png');
  await aWhile();
  expect(got).toEqual(['slow.png']);
});

test('hidden files and the data folder are not told of', async () => {
  await write(folder, 'data/index.db');
  await started();
  for (const key of ['.hidden.png', '.git/config', 'sub/.thumbs/a.png', 'data/index.db', 'data/new/a.png', 'sub/b.png'])
    await write(folder, key, 'changed');
  await heard('sub/b.png');
  await aWhile();
  expect(got).toEqual(['sub/b.png']);
});

test('a link is told of, what it leads to is not followed', async () => {
  const outside = await mkdtemp(join(tmpdir(), 'sightline-feed-outside-'));
  try {
    await write(outside, 'far.png');
    await write(folder, 'near.png');
    await started();
    await symlink(join(folder, 'near.png'), join(folder, 'link.png'));
    await symlink(outside, join(folder, 'linked-folder'));
    await heard('link.png');
    await write(outside, 'far.png', 'changed');
    await aWhile();
    expect(got.some((key) => key.endsWith('far.png'))).toBe(false);
  } finally {
    await rm(outside, { recursive: true, force: true });
  }
});

test('a folder that is a link itself is watched, and told of by the name that it is known by', async () => {
  const real = await mkdtemp(join(tmpdir(), 'sightline-feed-real-'));
  const link = join(folder, 'source');
  try {
    await symlink(real, link);
    const buckets: string[] = [];
    feed = new LocalChangeFeed({ ...FAST, folders: async () => [link], dataDir: join(folder, 'data') });
    await feed.start(async (noticed) => {
      for (const one of noticed) if (one.kind === 'object') buckets.push(one.bucket);
    });
    await write(real, 'a.png');
    await eventually(() => buckets.length > 0, 'the file');
    expect(buckets).toEqual([link]);
  } finally {
    await rm(real, { recursive: true, force: true });
  }
});

test('a folder that becomes a source is watched from then on, one that is none any more is not', async () => {
  const [one, two] = [join(folder, 'one'), join(folder, 'two')];
  await write(one, 'a.png');
  await write(two, 'b.png');
  let folders = [one];
  await started({ folders: async () => folders });
  folders = [two];
  await sleep(300);
  await write(one, 'a.png', 'changed');
  await write(two, 'b.png', 'changed');
  await heard('b.png');
  await aWhile();
  expect(got).toEqual(['b.png']);
});

test('a folder that goes and comes back is watched again, and looked through once it is there', async () => {
  const source = join(folder, 'mount');
  await write(source, 'a.png');
  const watched: string[] = [];
  await started({ folders: async () => [source], tellAfterMs: 100, onWatched: async (path) => void watched.push(path) });
  await eventually(() => watched.length === 1, 'the first look');
  await rename(source, `${source}-away`);
  await aWhile();
  await feed?.ping();
  await rename(`${source}-away`, source);
  await eventually(() => watched.length === 2, 'the second look');
  await write(source, 'b.png');
  await heard('b.png');
});

test('another folder in the place of one is watched in its stead', async () => {
  const source = join(folder, 'source');
  await write(source, 'a.png');
  await write(folder, 'other/b.png');
  const watched: string[] = [];
  await started({ folders: async () => [source], tellAfterMs: 0, onWatched: async (path) => void watched.push(path) });
  await eventually(() => watched.length === 1, 'the first look');
  await rename(source, join(folder, 'old'));
  await rename(join(folder, 'other'), source);
  await eventually(() => watched.length === 2, 'the second look');
  await write(source, 'c.png');
  await heard('c.png');
});

test('a folder that is not there yet is watched once it is', async () => {
  const source = join(folder, 'later');
  const watched: string[] = [];
  await started({ folders: async () => [source], tellAfterMs: 100, onWatched: async (path) => void watched.push(path) });
  await sleep(200);
  expect(watched).toEqual([]);
  await write(source, 'a.png');
  await eventually(() => watched.length === 1, 'the look');
  await write(source, 'b.png');
  await heard('b.png');
});

test('who cannot say which folders there are, or look one through, is asked again', async () => {
  let refusals = 3;
  const looked: string[] = [];
  const refused = async (): Promise<void> => {
    if (refusals-- > 0) throw new Error('the ledger is away');
  };
  await started({
    folders: async () => {
      await refused();
      return [folder];
    },
    tellAfterMs: 0,
    onWatched: async (path) => {
      if (looked.push(path) === 1) throw new Error('the ledger is away');
    },
  });
  await eventually(() => looked.length >= 2, 'the second look');
  await aWhile();
  expect(looked).toHaveLength(2);
  await write(folder, 'a.png');
  await heard('a.png');
});

test('more changes than are kept have the folder looked through instead', async () => {
  const looked: string[] = [];
  let isHeld = true;
  feed = new LocalChangeFeed({
    ...FAST,
    folders: async () => [folder],
    dataDir: join(folder, 'data'),
    tellAfterMs: 300,
    maxGathered: 20,
    onWatched: async (path) => void looked.push(path),
  });
  await feed.start(async (noticed) => {
    if (isHeld) throw new Error('too much is owed');
    got.push(...keysOf(noticed));
  });
  await eventually(() => looked.length === 1, 'the first look');
  for (let n = 0; n < 60; n++) await write(folder, `${n}.png`);
  await eventually(() => looked.length === 2, 'the second look');
  isHeld = false;
  await write(folder, 'after.png');
  await heard('after.png');
  expect(got.length).toBeLessThanOrEqual(60);
});
