import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';
import { openScriptedModelServer } from '@sightline/generate-worker/testing/scripted-model-server';
import { evaluate, type EvaluateOptions } from '../../scripts/evaluation/evaluate.ts';
import { openJudge } from '../../scripts/evaluation/judge.ts';
import { readSet } from '../../scripts/evaluation/question-set.ts';
import { reportOf } from '../../scripts/evaluation/report.ts';
import { tableRows } from '../../scripts/evaluation/table-rows.ts';

const SAMPLE = fileURLToPath(new URL('../../sample/', import.meta.url));
const ITEMS = new Set(['drawing-cooler-00', 'drawing-cooler-01', 'drawing-plate-00', 'product-0001']);
const TIMEOUT_MS = 240_000;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A few items of the sample with their questions, a query with words, one with a picture, and a question that has no answer. */
function smallSet(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-set-'));
  cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
  const read = (name: string) =>
    readFileSync(join(SAMPLE, name), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { item_id: string; images: string[]; kind: string });
  const write = (name: string, lines: unknown[]) =>
    writeFileSync(join(dir, name), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const items = read('manifest.jsonl').filter(({ item_id: id }) => ITEMS.has(id));
  for (const path of items.flatMap(({ images }) => images)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    cpSync(join(SAMPLE, path), join(dir, path));
  }
  write('manifest.jsonl', items);
  write(
    'questions.jsonl',
    read('questions.jsonl').filter(
      ({ item_id: id, kind }) => id.startsWith('drawing-cooler') && ITEMS.has(id) && kind === 'picture',
    ),
  );
  write('refusals.jsonl', read('refusals.jsonl').slice(0, 1));
  write('recall.jsonl', [
    { query: '2nd place medal', relevant: ['product-0001'], use: 'test' },
    { image: items[0]?.images[0], relevant: [items[0]?.item_id], use: 'test' },
  ]);
  return dir;
}

test(
  'a set is measured on a stack of its own: the systems side by side, rankings, grades and a report; nothing is left of it',
  async () => {
    // Fake model and judge: one says yes to all and marks a place, the other grades all alike.
    const model = await openScriptedModelServer({ always: { text: 'Yes [1] [[0,0,1000,1000]].' }, models: ['scripted-model'] });
    cleanups.push(() => model.close());
    const grade = { score: 4, reason: 'So.' };
    const judge = await openScriptedModelServer({
      always: { text: JSON.stringify({ accuracy: grade, completeness: grade, verifiability: grade }) },
      models: ['scripted-judge'],
    });
    cleanups.push(() => judge.close());
    const { VLM_BASE_URL: before } = process.env;
    process.env['VLM_BASE_URL'] = model.baseUrl;
    cleanups.push(() => (before === undefined ? delete process.env['VLM_BASE_URL'] : (process.env['VLM_BASE_URL'] = before)));
    const dirs = () =>
      readdirSync(tmpdir())
        .filter((name) => /^sightline-(?:evaluation|shuffled)-/.test(name))
        .sort();
    const present = dirs();
    const set = await readSet(smallSet());
    const options: EvaluateOptions = {
      set,
      against: null,
      table: true,
      split: null,
      limits: { questions: 100, queries: 100, second: 100 },
      adapter: null,
      languages: ['en', 'zh'],
      parts: { retrieval: true, answers: true },
      atOnce: 2,
      seed: 1,
      prices: { currency: 'EUR', per_million_prompt_tokens: 1 },
      judge: {
        judge: openJudge({ baseUrl: judge.baseUrl, model: 'scripted-judge' }),
        labels: new Map(set.questions.map(({ id }, i) => [id, { id, accuracy: i % 2 === 0 ? 4 : 2 }])),
      },
      progress: { begin: () => ({ done: () => {}, end: () => {} }) },
      signal: new AbortController().signal,
      now: () => new Date(0),
    };
    const run = await evaluate(options);
    expect(dirs()).toEqual(present);

    const asked = set.questions.filter(({ unanswerable }) => !unanswerable);
    const yes = asked.filter(({ answer }) => answer?.startsWith('Yes')).length / asked.length;
    expect(yes).toBeGreaterThan(0);
    const rows = new Map(tableRows(run).map((row) => [row.name, row]));
    expect([...rows.keys()]).toEqual(['text_only', 'clip_text', 'whole', 'withheld', 'given', 'shuffled', 'majority']);
    for (const name of ['whole', 'given', 'shuffled'])
      expect([name, rows.get(name)?.accuracy.picture]).toMatchObject([name, { value: yes, n: asked.length }]);
    expect(rows.get('given')?.gain.picture).toMatchObject({ value: 0, low: 0, high: 0, n: asked.length });
    expect(rows.get('whole')?.gain.all).toBeNull();
    expect(rows.get('whole')).toMatchObject({ refusal: { n: 1 } });
    expect(rows.get('whole')?.memoryBytes ?? Infinity).toBeGreaterThan(0);
    expect(run.metrics['answers.language.zh.accuracy']).toMatchObject({ n: asked.length });
    expect(run.metrics['answers.all.citation_recall']?.value).toBeGreaterThan(0);
    expect(run.figures['table.given.images_per_question']).toBe(1);
    for (const name of ['text_only', 'clip_text', 'withheld']) expect(run.figures[`table.${name}.images_per_question`]).toBe(0);
    expect(run.metrics['latency.total.p50']?.value).toBeGreaterThan(0);

    // What is worked out from ranks alone is what the product made of them.
    expect(run.metrics['retrieval.picture.all.recall_1']).toMatchObject({ value: 1, n: 1 });
    const [product, worked] = ['retrieval.questions.all.ndcg_10', 'retrieval.sweep.rrf_k.60.ndcg_10'].map(
      (name) => run.series[name]?.values ?? {},
    );
    const ids = Object.keys(product ?? {});
    expect(ids).toHaveLength(asked.length);
    expect(ids.map((id) => worked?.[id])).toEqual(ids.map((id) => product?.[id]));

    expect(run.metrics['judge.accuracy']).toMatchObject({ value: 4, n: asked.length });
    expect(run.figures['judge.accuracy.same']).toBeGreaterThan(0);
    expect(run.notes.some((note) => note.startsWith('Shuffled: 2 of 4'))).toBe(true);
    const html = await reportOf(run, set.dir);
    expect(html).toContain('The whole pipeline');
    expect(html).toContain('<use href="#picture-1"');
  },
  TIMEOUT_MS,
);
