/** A labelled set in a folder: see docs/evaluation.md. */
import { createHash } from 'node:crypto';
import { readFile, realpath } from 'node:fs/promises';
import { isAbsolute, join, relative } from 'node:path';
import { filter } from '@sightline/shared/contracts/filter';
import { z } from 'zod';
import { labelLine } from '../labelled-queries.ts';

export const KINDS = ['picture', 'text', 'mixed'] as const;
const id = z.string().min(1).max(200);
const corner = z.number().finite();

const questionLine = z
  .strictObject({
    id,
    /** What it takes to answer: a picture, the record's words, or both. */
    kind: z.enum(KINDS),
    question: z.string().min(1).max(2_000),
    question_zh: z.string().min(1).max(2_000).optional(),
    answer: z.string().min(1).max(2_000).optional(),
    answer_zh: z.string().min(1).max(2_000).optional(),
    /** Other answers that are right, in any language. */
    accepted: z.array(z.string().min(1).max(2_000)).max(20).default([]),
    /** The item that has the answer. */
    item_id: z.string().min(1).optional(),
    /** The picture that shows it, relative to the set. */
    image: z.string().min(1).optional(),
    /** Where: [left, top, right, bottom] in pixels of the picture as stored. */
    boxes: z
      .array(z.strictObject({ label: z.string(), xyxy: z.tuple([corner, corner, corner, corner]) }))
      .max(100)
      .default([]),
    /** What kind of thing is asked about; else the item's `family` or `kind` attribute. */
    family: z.string().min(1).max(100).optional(),
    split: z.string().min(1).max(100).optional(),
    /** Nothing in the catalogue answers it. */
    unanswerable: z.boolean().default(false),
    filter: filter.optional(),
    show_steps: z.boolean().default(false),
  })
  .refine((line) => line.unanswerable !== (line.answer !== undefined), {
    message: 'either an answer or "unanswerable": true',
    path: ['answer'],
  })
  .refine((line) => line.unanswerable || line.item_id !== undefined, {
    message: 'a question with an answer names its item',
    path: ['item_id'],
  })
  .refine((line) => line.boxes.every(({ xyxy: [left, top, right, bottom] }) => left < right && top < bottom), {
    message: 'a box is [left, top, right, bottom] and not empty',
    path: ['boxes'],
  });
export type SetQuestion = Omit<z.infer<typeof questionLine>, 'family'> & { family: string };

const itemLine = z.looseObject({
  item_id: z.string().min(1),
  title: z.string().default(''),
  attributes: z.record(z.string(), z.unknown()).default({}),
  images: z.array(z.string()).default([]),
});
export type SetItem = z.infer<typeof itemLine>;

export type SetQuery = z.infer<typeof labelLine>;

export interface QuestionSet {
  dir: string;
  items: Map<string, SetItem>;
  /** With those of refusals.jsonl. */
  questions: SetQuestion[];
  /** Of recall.jsonl: what each finds is known. */
  queries: SetQuery[];
  /** Of absent.jsonl: nothing answers them. */
  absent: SetQuery[];
  /** sha256 over the files. */
  digest: string;
}

/** Reads JSON Lines; null where there is no such file. An error names the file, the line and the field. */
async function readLines<T>(dir: string, name: string, schema: z.ZodType<T>): Promise<{ text: string; lines: T[] } | null> {
  const text = await readFile(join(dir, name), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (text === null) return null;
  const lines = text.split('\n').flatMap((line, i) => {
    if (line.trim() === '') return [];
    try {
      return [schema.parse(JSON.parse(line))];
    } catch (error) {
      throw new Error(`${name}:${i + 1}: ${reasonOf(error)}`, { cause: error });
    }
  });
  return { text, lines };
}

function reasonOf(error: unknown): string {
  if (error instanceof z.ZodError)
    return error.issues.map(({ path, message }) => (path.length > 0 ? `${path.join('.')}: ${message}` : message)).join('; ');
  return error instanceof Error ? error.message : String(error);
}

/**
 * A set's questions, queries and items. Errors name the file and the line: what does not parse, an id twice, an item that the manifest does
 * not have, a picture that is not the item's. Without manifest.jsonl items are taken as they are named.
 */
export async function readSet(dir: string): Promise<QuestionSet> {
  const [manifest, asked, refusals, recall, absent] = await Promise.all([
    readLines(dir, 'manifest.jsonl', itemLine),
    readLines(dir, 'questions.jsonl', questionLine),
    readLines(dir, 'refusals.jsonl', questionLine),
    readLines(dir, 'recall.jsonl', labelLine),
    readLines(dir, 'absent.jsonl', labelLine),
  ]);
  if (!asked && !recall) throw new Error(`${dir} is no set: it has neither questions.jsonl nor recall.jsonl.`);
  const items = new Map((manifest?.lines ?? []).map((item) => [item.item_id, item]));
  const seen = new Set<string>();
  const questions: SetQuestion[] = [];
  for (const [name, file] of [['questions.jsonl', asked] as const, ['refusals.jsonl', refusals] as const]) {
    for (const line of file?.lines ?? []) {
      if (seen.has(line.id)) throw new Error(`${name}: the id ${line.id} is there twice.`);
      seen.add(line.id);
      questions.push({ ...line, family: familyOf(line, itemOf(name, line, items)) });
    }
  }
  const queries = (recall?.lines ?? []).filter(({ relevant }) => relevant.length > 0);
  const digest = createHash('sha256');
  for (const file of [manifest, asked, refusals, recall, absent]) digest.update(`${file?.text.length ?? 0}\n${file?.text ?? ''}`);
  return { dir, items, questions, queries, absent: absent?.lines ?? [], digest: digest.digest('hex') };
}

function itemOf(name: string, line: z.infer<typeof questionLine>, items: Map<string, SetItem>): SetItem | null {
  if (line.item_id === undefined || items.size === 0) return null;
  const item = items.get(line.item_id);
  if (!item) throw new Error(`${name}: ${line.id} names the item ${line.item_id}, which manifest.jsonl does not have.`);
  if (line.image !== undefined && !item.images.includes(line.image))
    throw new Error(`${name}: ${line.id} names the picture ${line.image}, which is not one of ${line.item_id}.`);
  return item;
}

function familyOf({ family, kind }: z.infer<typeof questionLine>, item: SetItem | null): string {
  return family ?? (item && familyOfItem(item)) ?? kind;
}

/** What kind of thing an item is, by its attributes; null where they do not say. */
export function familyOfItem({ attributes: { family, kind } }: SetItem): string | null {
  return [family, kind].find((one): one is string => typeof one === 'string' && one !== '') ?? null;
}

/** What is right, in any language. */
export function answersOf({ answer, answer_zh: zh, accepted }: SetQuestion): string[] {
  return [answer, zh, ...accepted].filter((one) => one !== undefined);
}

/** A file of the set as a data URL, null where it is not there. Error: a path that leads out of the set. */
export async function pictureOfSet(dir: string, image: string): Promise<string | null> {
  const [root, file] = await Promise.all([realpath(dir), realpath(join(dir, image)).catch(() => null)]);
  if (file === null) return null;
  const inside = relative(root, file);
  if (inside.startsWith('..') || isAbsolute(inside)) throw new Error(`The picture ${image} lies outside the set.`);
  return `data:image/unknown;base64,${(await readFile(file)).toString('base64')}`;
}
