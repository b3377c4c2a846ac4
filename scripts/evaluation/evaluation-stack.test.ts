import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { shuffledManifest } from './evaluation-stack.ts';
import { readSet } from './question-set.ts';

const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

async function setOf(families: Record<string, number>, pictures = 1): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sightline-set-'));
  folders.push(dir);
  await mkdir(join(dir, 'images'));
  const items = Object.entries(families).flatMap(([family, count]) =>
    Array.from({ length: count }, (_, i) => ({
      item_id: `${family}-${i}`,
      title: `${family} ${i}`,
      attributes: { family },
      images: Array.from({ length: pictures }, (__, n) => `images/${family}-${i}${n === 0 ? '' : `-${n}`}.png`),
    })),
  );
  for (const { item_id: id, images } of items)
    for (const [n, path] of images.entries()) await writeFile(join(dir, path), `picture of ${id}${n === 0 ? '' : `, ${n}`}`);
  await writeFile(join(dir, 'manifest.jsonl'), items.map((item) => `${JSON.stringify(item)}\n`).join(''));
  await writeFile(join(dir, 'questions.jsonl'), '');
  return dir;
}

test('shuffled, every item keeps its record and its place and shows what another of its family shows', async () => {
  const dir = await setOf({ plate: 5, cooler: 2, alone: 1 });
  const set = await readSet(dir);
  const { manifest, moved, remove } = await shuffledManifest(set, 7);
  try {
    expect(moved).toBe(7);
    expect(await readFile(manifest, 'utf8')).toBe(await readFile(join(dir, 'manifest.jsonl'), 'utf8'));
    const seen = new Map<string, string>();
    for (const { item_id: id, images } of set.items.values())
      seen.set(id, (await readFile(join(dirname(manifest), images[0] ?? ''), 'utf8')).replace('picture of ', ''));
    for (const [id, shown] of seen) {
      expect(shown.split('-')[0]).toBe(id.split('-')[0]);
      expect(shown === id).toBe(id === 'alone-0');
    }
    expect(new Set(seen.values()).size).toBe(8);
    const again = await shuffledManifest(set, 7);
    expect(await readFile(join(dirname(again.manifest), 'images/plate-0.png'), 'utf8')).toBe(`picture of ${seen.get('plate-0')}`);
    await again.remove();
  } finally {
    await remove();
  }
  await expect(readFile(manifest)).rejects.toThrow();
});

test('shuffled, an item with several pictures has all of them from one other', async () => {
  const set = await readSet(await setOf({ plate: 3 }, 2));
  const { manifest, moved, remove } = await shuffledManifest(set, 7);
  try {
    expect(moved).toBe(3);
    for (const { item_id: id, images } of set.items.values()) {
      const [first, second] = await Promise.all(images.map((path) => readFile(join(dirname(manifest), path), 'utf8')));
      expect(first).not.toBe(`picture of ${id}`);
      expect(second).toBe(`${first}, 1`);
    }
  } finally {
    await remove();
  }
});

test('the pictures of the set stay as they are, for whoever serves them meanwhile', async () => {
  const dir = await setOf({ plate: 2 });
  const changedAt = async (): Promise<bigint> => (await stat(join(dir, 'images/plate-0.png'), { bigint: true })).ctimeNs;
  const before = await changedAt();
  const { remove } = await shuffledManifest(await readSet(dir), 7);
  await remove();
  expect(await changedAt()).toBe(before);
});

test('a picture outside the set is not taken along', async () => {
  const dir = await setOf({ plate: 2 });
  const item = { item_id: 'x', title: 'x', attributes: { family: 'plate' }, images: ['../outside.png'] };
  await writeFile(join(dir, 'manifest.jsonl'), `${JSON.stringify(item)}\n`);
  await expect(shuffledManifest(await readSet(dir), 1)).rejects.toThrow('outside the set');
});
