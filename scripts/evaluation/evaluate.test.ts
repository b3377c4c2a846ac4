import { afterEach, expect, test } from '@jest/globals';
import { openScriptedModelServer } from '@sightline/generate-worker/testing/scripted-model-server';
import { evaluate, type EvaluateOptions } from './evaluate.ts';
import { openJudge } from './judge.ts';
import { measureRetrieval } from './measure-retrieval.ts';
import type { QuestionSet } from './question-set.ts';
import { Measures } from './run.ts';
import { openScriptedStack, type Told } from './testing/scripted-stack.ts';
import { newQuestion } from './testing/set-builder.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

const progress = { begin: () => ({ done: () => {}, end: () => {} }) };
const right: Told = { answer: '4' };

function setOf(more: Partial<QuestionSet> = {}): QuestionSet {
  const questions = ['a', 'b', 'c'].map((id) =>
    newQuestion({ id, question: `${id}?`, question_zh: `${id}？`, split: 'heldout' }),
  );
  return { dir: '.', items: new Map(), questions, queries: [], absent: [], digest: 'd', ...more };
}

async function stackOf(told: (nth: number) => Told | Promise<Told> = () => right) {
  const stack = await openScriptedStack(told);
  cleanups.push(stack.close);
  return stack;
}

function optionsOf(url: string, more: Partial<EvaluateOptions> = {}): EvaluateOptions {
  return {
    set: setOf(),
    against: { url, apiKey: undefined },
    table: false,
    split: null,
    limits: { questions: 100, queries: 100, second: 100 },
    languages: ['en'],
    adapter: null,
    parts: { retrieval: false, answers: true },
    atOnce: 1,
    seed: 1,
    prices: null,
    judge: null,
    progress,
    signal: new AbortController().signal,
    now: () => new Date(0),
    ...more,
  };
}

test('who stops it gets no run, and nothing more is asked', async () => {
  const stop = new AbortController();
  const { url, requests } = await stackOf((nth) => {
    if (nth === 1) stop.abort(new Error('Stopped.'));
    return right;
  });
  await expect(evaluate(optionsOf(url, { signal: stop.signal }))).rejects.toThrow('Stopped.');
  expect(requests).toHaveLength(2);
});

test('a question that the stack refuses has failed, and the others are measured', async () => {
  const { url } = await stackOf((nth) => (nth === 1 ? { status: 400, code: 'request_invalid' } : right));
  const run = await evaluate(optionsOf(url));
  expect(run.series['answers.all.accuracy']?.values).toEqual({ a: 1, b: 0, c: 1 });
  expect(run.series['answers.all.failed']?.values).toEqual({ a: 0, b: 1, c: 0 });
  expect(run.answers.map(({ error }) => error)).toEqual([null, 'request_invalid', null]);
  expect(run.broken_off).toEqual([]);
});

test('a stack that dies late leaves what was measured before, and it is said what broke', async () => {
  // Three questions of the first system, and the same again.
  const { url } = await stackOf((nth) => (nth < 6 ? right : 'cut'));
  const run = await evaluate(optionsOf(url, { table: true }));
  expect(run.series['table.text_only.all.accuracy']?.values).toEqual({ a: 1, b: 1, c: 1 });
  expect(run.series['table.whole.all.accuracy']).toBeUndefined();
  expect(run.broken_off.map((told) => told.split(':')[0])).toContain('The whole pipeline');
});

test('a judge that does not answer is found out before anything is asked', async () => {
  const { url, requests } = await stackOf();
  const judge = await openScriptedModelServer({ always: { status: 400 }, models: ['scripted-judge'] });
  cleanups.push(() => judge.close());
  const named = { judge: openJudge({ baseUrl: judge.baseUrl, model: 'scripted-judge' }), labels: null };
  await expect(evaluate(optionsOf(url, { judge: named }))).rejects.toThrow('The judge scripted-judge does not answer');
  expect(requests).toEqual([]);
});

test('a judge that fails later leaves answers without grades', async () => {
  const { url } = await stackOf();
  const grade = { score: 4, reason: 'So.' };
  const good = { text: JSON.stringify({ accuracy: grade, completeness: grade, verifiability: grade }) };
  // The first is the trial before anything is asked.
  const judge = await openScriptedModelServer({ rota: [good, good, { status: 400 }, good], models: ['scripted-judge'] });
  cleanups.push(() => judge.close());
  const named = { judge: openJudge({ baseUrl: judge.baseUrl, model: 'scripted-judge' }), labels: null };
  const run = await evaluate(optionsOf(url, { judge: named }));
  expect(run.series['judge.accuracy']?.values).toEqual({ a: 4, c: 4 });
  expect(run.notes).toContainEqual(expect.stringContaining('1 answers have no grades'));
});

test('a split that no question has is an error that names those there are', async () => {
  const { url } = await stackOf();
  await expect(evaluate(optionsOf(url, { split: 'typo' }))).rejects.toThrow('no questions of the split typo; it has heldout');
});

test('an adapter answers for every system, and one that is refused ends it', async () => {
  const good = await stackOf();
  await evaluate(optionsOf(good.url, { table: true, adapter: 'cat' }));
  expect(new Set(good.requests.map(({ body }) => body['adapter']))).toEqual(new Set(['cat']));
  const bad = await stackOf(() => ({ status: 422, code: 'generator_refused' }));
  await expect(evaluate(optionsOf(bad.url, { table: true, adapter: 'cat' }))).rejects.toThrow('the adapter cat');
  expect(bad.requests).toHaveLength(3);
});

test('a drawn part is asked in the second language, and systems are compared over what all are asked', async () => {
  const questions = [...setOf().questions, newQuestion({ id: 'd', question: 'd?', unanswerable: true, answer: undefined })];
  const { url, requests } = await stackOf((nth) => ({ answer: '4', promptTokens: nth < 3 ? 10 : 1_000 }));
  const run = await evaluate(
    optionsOf(url, { set: setOf({ questions }), languages: ['en', 'zh'], limits: { questions: 100, queries: 100, second: 1 } }),
  );
  const asked = requests.map(({ body }) => String(body['question']));
  expect(asked.filter((words) => words.endsWith('？'))).toHaveLength(1);
  expect(Object.keys(run.series['answers.language.zh.accuracy']?.values ?? {})).toHaveLength(1);
  expect(run.figures['table.whole.prompt_tokens_per_question']).toBe(10);
  expect(run.series['answers.unanswerable.failed']?.values).toEqual({ d: 0 });
});

test('a search that is refused for now is asked again, and the same words for another thing are another query', async () => {
  const { client, requests } = await stackOf((nth) => (nth === 0 ? { status: 429, code: 'rate_limited' } : right));
  const queries = ['x', 'y'].map((id) => ({ query: 'tools', relevant: [id] }));
  const measures = new Measures();
  const options = { limit: 10, atOnce: 1, progress, signal: new AbortController().signal, waitMs: 1 };
  await measureRetrieval(client, setOf({ queries }), [], measures, options);
  expect(requests).toHaveLength(3);
  expect(Object.keys(measures.series['retrieval.present.no_match']?.values ?? {})).toHaveLength(2);
});
