import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { chmod, link, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { objectStoreContract } from '../../testing/object-store-contract.ts';
import { LocalObjectStore } from './local-object-store.ts';
import type { SkipReason } from './local-walk.ts';

const PNG = { contentType: 'image/png' };

let folder: string;
let source: string;
let store: LocalObjectStore;
let skipped: Record<string, SkipReason>;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-store-'));
  source = join(folder, 'source');
  await mkdir(join(folder, 'data'));
  await mkdir(source);
  skipped = {};
  store = new LocalObjectStore({
    dataDir: join(folder, 'data'),
    onSkip: ({ key }, reason) => {
      skipped[key] = reason;
    },
  });
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function keys(bucket = source): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of store.list({ bucket, prefix: '' })) found.push(key);
  return found;
}

objectStoreContract(async () => ({ store, bucket: source, close: async () => {} }));

test('a named bucket lies under the data folder', async () => {
  await store.put({ bucket: 'sightline', key: 'queries/a' }, Buffer.from('x'), PNG);
  expect(await keys('sightline')).toEqual(['queries/a']);
  expect(await readdir(join(folder, 'data', 'objects', 'sightline', 'queries'))).toEqual(['a']);
  await expect(store.head({ bucket: '../data', key: 'a' })).rejects.toMatchObject({ code: 'source_not_found' });
});

test('no link and no key leads into the data folder: opening and closing a database there would drop its locks', async () => {
  await writeFile(join(folder, 'data', 'index.db'), 'secret');
  await writeFile(join(folder, 'a'), 'x');
  await symlink(join(folder, 'data', 'index.db'), join(folder, 'link'));
  expect(await keys(folder)).toEqual(['a']);
  expect(skipped).toEqual({ link: 'link_to_data' });
  for (const key of ['link', 'data/index.db']) {
    await expect(store.head({ bucket: folder, key })).rejects.toMatchObject({ code: 'key_outside_source' });
    await expect(store.get({ bucket: folder, key }, { maxBytes: 99 })).rejects.toMatchObject({ code: 'key_outside_source' });
  }
});

test('a path that is longer than a key can be is left out, and ends no listing', async () => {
  const deep = join(source, ...Array.from({ length: 60 }, () => 'd'.repeat(20)));
  await mkdir(deep, { recursive: true });
  await writeFile(join(deep, 'x'), 'x');
  await writeFile(join(source, 'e'), 'x');
  expect(await keys()).toEqual(['e']);
  expect(Object.values(skipped)).toEqual(['key_too_long']);
});

test('the data folder is no source and is left out of a listing around it', async () => {
  await writeFile(join(folder, 'data', 'ledger.db'), 'secret');
  await writeFile(join(source, 'a'), 'x');
  expect(await keys(folder)).toEqual(['source/a']);
  await symlink(join(folder, 'data'), join(folder, 'way-in'));
  for (const bucket of [join(folder, 'data'), join(folder, 'data', 'objects'), join(folder, 'way-in')]) {
    await mkdir(join(folder, 'data', 'objects'), { recursive: true });
    await expect(keys(bucket)).rejects.toMatchObject({ code: 'source_not_allowed' });
    await expect(store.get({ bucket, key: 'ledger.db' }, { maxBytes: 99 })).rejects.toMatchObject({ code: 'source_not_allowed' });
  }
});

test('hidden files and folders are not objects', async () => {
  await mkdir(join(source, '.git'));
  await writeFile(join(source, '.git', 'a.png'), 'x');
  await writeFile(join(source, '.b.png'), 'x');
  await writeFile(join(source, 'c.png'), 'x');
  expect(await keys()).toEqual(['c.png']);
  expect(await store.head({ bucket: source, key: '.git/a.png' })).toBeNull();
  await expect(store.get({ bucket: source, key: '.b.png' }, { maxBytes: 9 })).rejects.toMatchObject({ code: 'object_not_found' });
});

test('links within the source are followed to files; links out, to folders, in rings and to nothing are not', async () => {
  await writeFile(join(folder, 'secret'), 'secret');
  await mkdir(join(source, 'sub'));
  await writeFile(join(source, 'sub', 'real'), 'real');
  await symlink(join(folder, 'secret'), join(source, 'out'));
  await symlink('../..', join(source, 'sub', 'up'));
  await symlink('sub/real', join(source, 'in'));
  await symlink('sub', join(source, 'folder'));
  await symlink('ring', join(source, 'ring'));
  await symlink('nothing', join(source, 'dangling'));
  expect(await keys()).toEqual(['in', 'sub/real']);
  expect(skipped).toEqual({ out: 'link_outside', 'sub/up': 'link_outside', folder: 'link_to_folder' });
  expect((await store.get({ bucket: source, key: 'in' }, { maxBytes: 9 })).bytes.toString()).toBe('real');
  for (const key of ['out', 'sub/up/secret']) {
    await expect(store.get({ bucket: source, key }, { maxBytes: 9 })).rejects.toMatchObject({ code: 'key_outside_source' });
    await expect(store.head({ bucket: source, key })).rejects.toMatchObject({ code: 'key_outside_source' });
  }
  await expect(store.put({ bucket: source, key: 'sub/up/new' }, Buffer.from('x'), PNG)).rejects.toMatchObject({
    code: 'key_outside_source',
  });
  await expect(store.delete({ bucket: source, key: 'sub/up/secret' })).rejects.toMatchObject({ code: 'key_outside_source' });
  expect(await readdir(folder)).toContain('secret');
  expect(await store.head({ bucket: source, key: 'ring' })).toBeNull();
});

test('pipes and folders are not objects, and no pipe is waited for', async () => {
  execFileSync('mkfifo', [join(source, 'pipe')]);
  await mkdir(join(source, 'sub'));
  expect(await keys()).toEqual([]);
  expect(skipped).toEqual({ pipe: 'not_a_file' });
  for (const key of ['pipe', 'sub']) {
    expect(await store.head({ bucket: source, key })).toBeNull();
    await expect(store.get({ bucket: source, key }, { maxBytes: 9 })).rejects.toMatchObject({ code: 'object_not_found' });
  }
});

test('a name that is not UTF-8 is left out with its reason', async () => {
  await writeFile(Buffer.concat([Buffer.from(`${source}/bad-`), Buffer.from([0xff, 0xfe])]), 'x');
  await writeFile(join(source, 'good'), 'x');
  expect(await keys()).toEqual(['good']);
  expect(Object.values(skipped)).toEqual(['name_not_utf8']);
});

test('what may not be read is forbidden, and a folder that may not be read does not end the listing', async () => {
  await mkdir(join(source, 'a-locked'));
  await writeFile(join(source, 'b'), 'x');
  await chmod(join(source, 'a-locked'), 0);
  await chmod(join(source, 'b'), 0);
  // Root may read everything: then there is nothing to see.
  const isRoot = process.getuid?.() === 0;
  try {
    expect(await keys()).toEqual(['b']);
    if (isRoot) return;
    expect(skipped).toEqual({ 'a-locked/': 'unreadable_folder' });
    await expect(store.get({ bucket: source, key: 'b' }, { maxBytes: 9 })).rejects.toMatchObject({ code: 'object_forbidden' });
  } finally {
    await chmod(join(source, 'a-locked'), 0o700);
  }
});

test('absolute keys and empty segments are refused: a path has none', async () => {
  for (const key of ['/etc/passwd', 'a//b', 'a/']) {
    await expect(store.head({ bucket: source, key })).rejects.toMatchObject({ code: 'key_outside_source' });
    await expect(store.put({ bucket: source, key }, Buffer.from('x'), PNG)).rejects.toMatchObject({ code: 'key_outside_source' });
  }
});

test('a put leaves no half file and no temporary one', async () => {
  await mkdir(join(source, 'sub'));
  await expect(store.put({ bucket: source, key: 'sub' }, Buffer.from('x'), PNG)).rejects.toMatchObject({
    code: expect.any(String),
  });
  await store.put({ bucket: source, key: 'a' }, Buffer.from('x'), PNG);
  const broken = (async function* () {
    yield Buffer.from('x');
    throw new Error('the source broke');
  })();
  await expect(store.putStream({ bucket: source, key: 'b' }, broken, PNG)).rejects.toMatchObject({ message: 'the source broke' });
  expect((await readdir(source)).sort()).toEqual(['a', 'sub']);
});

test('an edit of the same length in the same moment moves the eTag', async () => {
  await writeFile(join(source, 'a'), 'one');
  const before = await store.head({ bucket: source, key: 'a' });
  await writeFile(join(source, 'a'), 'two');
  expect((await store.head({ bucket: source, key: 'a' }))?.eTag).not.toBe(before?.eTag);
});

test('a hard link is an object of its own', async () => {
  await writeFile(join(source, 'a'), 'x');
  await link(join(source, 'a'), join(source, 'b'));
  expect(await keys()).toEqual(['a', 'b']);
});

test('a file that grows under a stream is object_changed', async () => {
  await writeFile(join(source, 'a'), Buffer.alloc(600_000));
  const { body } = await store.stream({ bucket: source, key: 'a' }, {});
  const reading = (async () => {
    for await (const part of body) {
      expect(part.length).toBeGreaterThan(0);
      await writeFile(join(source, 'a'), Buffer.alloc(700_000));
    }
  })();
  await expect(reading).rejects.toMatchObject({ code: 'object_changed' });
});

test('in a folder that went away nothing is said to be absent', async () => {
  await writeFile(join(source, 'a'), 'x');
  expect(await store.head({ bucket: source, key: 'a' })).not.toBeNull();
  await rm(source, { recursive: true });
  await expect(store.head({ bucket: source, key: 'a' })).rejects.toMatchObject({ code: 'source_not_found' });
  await expect(store.get({ bucket: source, key: 'a' }, { maxBytes: 9 })).rejects.toMatchObject({ code: 'source_not_found' });
});
