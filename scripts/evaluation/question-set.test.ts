import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';
import { pictureOfSet, readSet } from './question-set.ts';

const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

async function setOf(files: Record<string, (object | string)[]>): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sightline-set-'));
  folders.push(dir);
  for (const [name, lines] of Object.entries(files))
    await writeFile(join(dir, name), lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join(''));
  return dir;
}

const question = { id: 'q1', kind: 'picture', question: 'How many?', answer: '4', item_id: 'a' };
const item = { item_id: 'a', title: 'A', attributes: { family: 'connector' }, images: ['images/a.png'] };

test('the sample is a set: every item and picture of its questions is in its manifest', async () => {
  const set = await readSet(fileURLToPath(new URL('../../sample', import.meta.url)));
  expect(set.items.size).toBe(937);
  expect(set.questions.filter(({ unanswerable }) => !unanswerable)).toHaveLength(282);
  expect(set.questions.find(({ id }) => id === 'drawing-cooler-00-q1')?.family).toBe('cpu-cooler');
  expect([set.queries.length, set.absent.length]).toEqual([2_599, 448]);
});

test('what is left out has its default, and refusals are questions without an answer', async () => {
  const refusal = { id: 'r1', kind: 'picture', question: 'How many has Z?', unanswerable: true };
  const dir = await setOf({ 'manifest.jsonl': [item], 'questions.jsonl': [question, ''], 'refusals.jsonl': [refusal] });
  const { questions, digest } = await readSet(dir);
  expect(questions).toMatchObject([
    { id: 'q1', family: 'connector', boxes: [], accepted: [], unanswerable: false },
    { id: 'r1', family: 'picture', unanswerable: true },
  ]);
  expect(digest).toMatch(/^[0-9a-f]{64}$/);
});

test.each<[string, Record<string, (object | string)[]>, string]>([
  ['no file at all', {}, 'neither questions.jsonl nor recall.jsonl'],
  ['no JSON', { 'questions.jsonl': [question, '{'] }, 'questions.jsonl:2: '],
  ['a field of another kind', { 'questions.jsonl': [{ ...question, kind: 'sound' }] }, 'questions.jsonl:1: kind: '],
  ['a field that there is not', { 'questions.jsonl': [{ ...question, anwser: '4' }] }, 'anwser'],
  ['neither an answer nor none', { 'questions.jsonl': [{ ...question, answer: undefined }] }, 'either an answer or'],
  ['an answer to what has none', { 'questions.jsonl': [{ ...question, unanswerable: true }] }, 'either an answer or'],
  ['an answer of no item', { 'questions.jsonl': [{ ...question, item_id: undefined }] }, 'names its item'],
  ['a box inside out', { 'questions.jsonl': [{ ...question, boxes: [{ label: '', xyxy: [5, 0, 1, 9] }] }] }, 'left, top, right'],
  ['an id twice', { 'questions.jsonl': [question, question] }, 'the id q1 is there twice'],
  ['an unknown item', { 'manifest.jsonl': [{ ...item, item_id: 'b' }], 'questions.jsonl': [question] }, 'does not have'],
  ["a picture of another's", { 'manifest.jsonl': [item], 'questions.jsonl': [{ ...question, image: 'x.png' }] }, 'not one of a'],
])('%s is said with its place', async (_, files, message) => {
  await expect(readSet(await setOf(files))).rejects.toThrow(message);
});

test('a picture is read from within the set alone', async () => {
  const dir = await setOf({ 'questions.jsonl': [question] });
  await mkdir(join(dir, 'images'));
  await writeFile(join(dir, 'images/a.png'), 'abc');
  await symlink('/etc/hostname', join(dir, 'images/link.png'));
  expect(await pictureOfSet(dir, 'images/a.png')).toBe('data:image/unknown;base64,YWJj');
  expect(await pictureOfSet(dir, 'images/none.png')).toBeNull();
  await expect(pictureOfSet(dir, '../../etc/hostname')).rejects.toThrow('outside the set');
  await expect(pictureOfSet(dir, 'images/link.png')).rejects.toThrow('outside the set');
});
