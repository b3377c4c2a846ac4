import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { boundsFile, broken } from './bounds.ts';
import { compareRuns } from './compare-runs.ts';
import { costOf10000, priceFile } from './cost.ts';
import { readRun } from './run.ts';
import { runOf } from './testing/run-builder.ts';

const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

const each = (n: number, value: (i: number) => number) =>
  Object.fromEntries(Array.from({ length: n }, (_, i) => [`q${i}`, value(i)]));

test('a run gives each measure its mean and interval, and times their quantiles', () => {
  const { metrics } = runOf({
    'answers.all.accuracy': each(10, (i) => (i < 8 ? 1 : 0)),
    'latency.total': each(5, (i) => i * 10),
  });
  expect(metrics['answers.all.accuracy']).toMatchObject({ value: 0.8, n: 10 });
  expect(metrics['latency.total.p50']).toMatchObject({ value: 20, n: 5 });
  expect(metrics['latency.total.p95']?.value).toBeCloseTo(38, 9);
  expect(metrics['latency.total']).toBeUndefined();
});

test('a run is read again as it was written, and what is none is said', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-run-'));
  folders.push(folder);
  const run = runOf({ 'answers.all.accuracy': { q1: 1 } });
  await writeFile(join(folder, 'run.json'), JSON.stringify(run));
  expect(await readRun(join(folder, 'run.json'))).toEqual(run);
  await writeFile(join(folder, 'none.json'), '{"format":"other"}');
  await expect(readRun(join(folder, 'none.json'))).rejects.toThrow('none.json is no run of npm run eval');
});

test('two runs are compared question by question: what is better, what is worse, what cannot be told', () => {
  const before = runOf({
    'answers.all.accuracy': each(60, (i) => (i % 3 === 0 ? 1 : 0)),
    'latency.total': each(60, (i) => 100 + i),
    'retrieval.words.all.recall_10': each(60, (i) => (i % 2 === 0 ? 1 : 0)),
    'answers.text.accuracy': { q1: 1 },
    gone: { q1: 1 },
  });
  const after = runOf({
    'answers.all.accuracy': each(60, (i) => (i % 3 < 2 ? 1 : 0)),
    'latency.total': each(60, (i) => 150 + i),
    'retrieval.words.all.recall_10': each(60, (i) => (i % 2 === 1 ? 1 : 0)),
    'answers.text.accuracy': { q2: 1 },
  });
  const { rows, only, warnings } = compareRuns(before, after);
  const row = (name: string) => rows.find((one) => one.name === name);
  expect(row('answers.all.accuracy')).toMatchObject({ n: 60, verdict: 'better' });
  expect(row('answers.all.accuracy')?.difference).toBeCloseTo(1 / 3, 12);
  expect(row('latency.total.p50')).toMatchObject({ difference: 50, verdict: 'worse' });
  expect(row('retrieval.words.all.recall_10')).toMatchObject({ difference: 0, verdict: 'not told apart' });
  expect(only).toEqual([
    { name: 'answers.text.accuracy', side: 'neither' },
    { name: 'gone', side: 'before' },
  ]);
  expect(warnings).toEqual([]);
  const gain = (value: number) => ({ 'table.text_only.all.gain': { value, low: 0, high: 1, n: 60 } });
  const costly = { ...before, figures: { cost: 2, old: 1 }, metrics: { ...before.metrics, ...gain(0.25) } };
  const cheap = { ...before, figures: { cost: 1 }, metrics: { ...before.metrics, ...gain(0.5) } };
  const compared = compareRuns(costly, cheap);
  expect(compared.figures).toEqual([
    { name: 'cost', before: 2, after: 1 },
    { name: 'table.text_only.all.gain', before: 0.25, after: 0.5 },
  ]);
  expect(compared.only).toEqual([{ name: 'old', side: 'before' }]);
  expect(compareRuns(before, { ...after, set: { ...after.set, digest: 'other' } }).warnings).toHaveLength(1);
});

test('bounds hold the value or the end of its interval, and what was not measured breaks them', () => {
  const run = runOf({ 'answers.picture.accuracy': each(10, (i) => (i < 8 ? 1 : 0)) }, { figures: { cost: 7 } });
  const of = (bounds: unknown) => broken(run, boundsFile.parse(bounds));
  expect(of({ 'answers.picture.accuracy': { min: 0.8 }, cost: { max: 7 } })).toEqual([]);
  expect(of({ 'answers.picture.accuracy': { min: 0.81, max: 0.79 } })).toEqual([
    'answers.picture.accuracy is 0.8, below 0.81.',
    'answers.picture.accuracy is 0.8, above 0.79.',
  ]);
  expect(of({ 'answers.picture.accuracy': { min_low: 0.5 } })).toEqual([
    'answers.picture.accuracy may be as low as 0.4902, below 0.5.',
  ]);
  expect(of({ nothing: { min: 0 } })).toEqual(['nothing was not measured.']);
  expect(of({ cost: { min_low: 1 } })).toEqual(['cost has no interval.']);
  expect(boundsFile.safeParse({ cost: {} }).success).toBe(false);
});

test('ten thousand questions cost their machine time and their tokens', () => {
  const consumption = { questions: 100, wallMs: 36_000, promptTokens: 200_000, completionTokens: 5_000 };
  // 36 s of an hour at 3.6 are 0.036; 0.2 M tokens at 0.5 are 0.1; 5,000 at 2 a million are 0.01: 0.146 for 100.
  const prices = priceFile.parse({
    currency: 'EUR',
    per_machine_hour: 3.6,
    per_million_prompt_tokens: 0.5,
    per_million_completion_tokens: 2,
  });
  expect(costOf10000(prices, consumption)).toBeCloseTo(14.6, 9);
  expect(costOf10000({ currency: 'EUR', per_machine_hour: 3.6 }, consumption)).toBeCloseTo(3.6, 9);
  expect(costOf10000(prices, { ...consumption, questions: 0 })).toBeNull();
  expect(priceFile.safeParse({ currency: 'EUR' }).success).toBe(false);
});
