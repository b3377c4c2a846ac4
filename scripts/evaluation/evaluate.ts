import { basename, resolve } from 'node:path';
import { indexView } from '@sightline/shared/contracts/http';
import { seeded } from '@sightline/shared/testing/seeded';
import { ApiClient } from '../api-client.ts';
import { matchesNormalised } from './answer-match.ts';
import type { Answered, Asking, AskOptions } from './ask-set.ts';
import type { Prices } from './cost.ts';
import { openEvaluationStack, shuffledManifest } from './evaluation-stack.ts';
import { gainsOf } from './gains.ts';
import { assertJudges, assertOther } from './judge.ts';
import { judgeAnswers, type JudgeAnswersOptions } from './judge-answers.ts';
import { majorityAnswers } from './majority-answer.ts';
import { isCompared, measureAgain, measureAnswers, type AnswerSink } from './measure-answers.ts';
import { measureRetrieval } from './measure-retrieval.ts';
import type { Progress } from './progress.ts';
import { answersOf, type QuestionSet, type SetQuestion } from './question-set.ts';
import { Measures, newRun, type EvaluationRun } from './run.ts';
import { filterOfAll, SYSTEMS, type System } from './systems.ts';

const MAJORITY = {
  name: 'majority',
  title: 'The majority answer',
  about: 'The commonest answer to questions of the same form; nothing is looked at.',
};
const ASKED_AGAIN = 8;

export interface EvaluateOptions {
  set: QuestionSet;
  /** A running stack that has the set; null: one of its own, for as long as it takes. */
  against: { url: string; apiKey: string | undefined } | null;
  /** All systems side by side, not the whole pipeline alone. */
  table: boolean;
  /** Questions of this split alone; null: all. */
  split: string | null;
  /** Questions of each kind, queries of each group, and questions that are asked in the second language too, at most. */
  limits: { questions: number; queries: number; second: number };
  languages: readonly ('en' | 'zh')[];
  /** The LoRA adapter that answers, of every system; null: the model as it is. */
  adapter: string | null;
  parts: { retrieval: boolean; answers: boolean };
  atOnce: number;
  seed: number;
  prices: Prices | null;
  judge: Pick<JudgeAnswersOptions, 'judge' | 'labels'> | null;
  progress: Progress;
  signal: AbortSignal;
  now: () => Date;
}

/**
 * Measures a set against a stack, and says what was not measured and why. What breaks on the way is named in `broken_off`, and what was
 * measured before it is kept. Whatever was started is gone at the end. Errors: a split without questions, a judge that does not answer or
 * is the judged model, an adapter that is refused, a stack that does not start; why it was aborted.
 */
export async function evaluate(options: EvaluateOptions): Promise<EvaluationRun> {
  const { set, table, seed, progress, signal, atOnce, adapter } = options;
  const questions = chosen(set.questions, options);
  assertSplit(set.questions, questions, options.split);
  if (options.judge) await assertJudges(options.judge.judge);
  const sink: AnswerSink = { measures: new Measures(), figures: {}, answers: [], prices: options.prices };
  const notes: string[] = [];
  const systems = table ? SYSTEMS : SYSTEMS.filter(({ isWhole }) => isWhole);
  const { client, pid, close } = await stackOf(options);
  const asking: AskOptions = { atOnce, progress, seed, signal, pid, adapter, everything: filterOfAll(set.items) };
  const answered: Answered[] = [];
  const brokenOff: string[] = [];
  const unlessBroken = async <T>(what: string, measure: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await measure();
    } catch (error) {
      signal.throwIfAborted();
      brokenOff.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  };
  let index;
  try {
    index = await client.get('/v1/index', indexView);
    if (options.parts.retrieval)
      await unlessBroken('Retrieval', () =>
        measureRetrieval(client, set, questions, sink.measures, { limit: options.limits.queries, atOnce, progress, signal }),
      );
    for (const system of options.parts.answers ? systems.filter(({ stack }) => stack === 'set') : []) {
      const askings = askingsOf(system, questions, options);
      const here = await unlessBroken(system.title, () => measureAnswers(client, system, askings, asking, sink));
      if (!here) continue;
      assertWorthwhile(here, options);
      if (system.isWhole) answered.push(...here);
      const again = askings.filter(isCompared).slice(0, ASKED_AGAIN);
      if (system.name !== 'given')
        await unlessBroken(`${system.title}, again`, () => measureAgain(client, system, again, asking, sink.measures));
    }
  } finally {
    await close();
  }
  if (options.parts.answers && table) {
    addMajority(set, questions, sink.measures);
    const told = await unlessBroken('Pictures shuffled', () => measureShuffled(options, questions, asking, sink));
    notes.push(...(told ?? []));
  }
  notes.push(...(await judged(options, answered, sink)));
  if (!options.prices) notes.push('No cost: no price file was given (--prices).');
  if (pid === null) notes.push('No memory: the stack runs elsewhere.');
  const measured = systems.filter(({ name }) => sink.answers.some(({ system }) => system === name));
  const all = [
    ...measured.map(({ name, title, about }) => ({ name, title, about })),
    ...(table && options.parts.answers ? [MAJORITY] : []),
  ];
  return newRun({
    made_at: options.now().toISOString(),
    set: {
      name: basename(resolve(set.dir)),
      digest: set.digest,
      questions: questions.length,
      queries: set.queries.length + set.absent.length,
    },
    options: {
      split: options.split,
      limit_questions: options.limits.questions,
      limit_queries: options.limits.queries,
      limit_second: options.limits.second,
      languages: options.languages.join(','),
      adapter,
      seed,
      at_once: atOnce,
      table,
    },
    stack: {
      url: options.against?.url ?? null,
      assets: index.assets,
      encoder: index.encoder,
      models: modelsOf(answered),
      prompt_versions: [...new Set(answered.flatMap(({ view }) => view.prompt_version ?? []))],
    },
    systems: all,
    series: sink.measures.series,
    metrics: {
      ...sink.measures.metrics(seed),
      ...gainsOf(
        sink.measures.series,
        all.map(({ name }) => name),
        seed,
      ),
    },
    figures: sink.figures,
    answers: sink.answers,
    notes,
    broken_off: brokenOff,
  });
}

function modelsOf(answered: readonly Answered[]): string[] {
  return [...new Set(answered.flatMap(({ view }) => view.model ?? []))];
}

async function stackOf({
  set,
  against,
}: EvaluateOptions): Promise<{ client: ApiClient; pid: number | null; close: () => Promise<void> }> {
  if (against) return { client: new ApiClient(against.url, against.apiKey), pid: null, close: async () => {} };
  if (set.items.size === 0) throw new Error(`${set.dir} has no manifest.jsonl: name a stack that has its items with --against.`);
  return openEvaluationStack(resolve(set.dir, 'manifest.jsonl'));
}

/** Those of the split, drawn by the seed where there are more of a kind than are asked for, in the set's order. */
function chosen(
  questions: readonly SetQuestion[],
  { split, limits: { questions: limit }, seed }: EvaluateOptions,
): SetQuestion[] {
  const possible = questions.filter((question) => split === null || question.split === split);
  const groups = Map.groupBy(possible, ({ kind, unanswerable }) => `${kind} ${unanswerable}`);
  const kept = new Set(
    [...groups.values()].flatMap((group) => (group.length <= limit ? group : seeded(seed).shuffled(group).slice(0, limit))),
  );
  return possible.filter((question) => kept.has(question));
}

/** The second language is asked of the whole pipeline alone, some questions that the seed draws; what has no answer in the first alone. */
function askingsOf(
  system: System,
  questions: readonly SetQuestion[],
  { languages, limits, seed }: Pick<EvaluateOptions, 'languages' | 'limits' | 'seed'>,
): Asking[] {
  const first = questions
    .filter(({ unanswerable }) => !unanswerable || system.mayRefuse)
    .map((question): Asking => ({ question, language: 'en' }));
  if (!system.isWhole || !languages.includes('zh')) return first;
  const possible = questions.filter(({ unanswerable, question_zh: zh }) => !unanswerable && zh !== undefined);
  const drawn = new Set(seeded(seed).shuffled(possible).slice(0, limits.second));
  const second = possible.filter((one) => drawn.has(one)).map((question): Asking => ({ question, language: 'zh' }));
  return [...first, ...second];
}

function assertSplit(all: readonly SetQuestion[], questions: readonly SetQuestion[], split: string | null): void {
  if (split === null || questions.length > 0) return;
  const known = [...new Set(all.flatMap((question) => question.split ?? []))].sort();
  throw new Error(`The set has no questions of the split ${split}; it has ${known.join(', ') || 'no splits'}.`);
}

/** Before more is asked that would tell nothing. */
function assertWorthwhile(answered: readonly Answered[], { judge, adapter }: EvaluateOptions): void {
  if (judge) assertOther(judge.judge.model, modelsOf(answered));
  if (adapter !== null && answered.length > 0 && answered.every(({ view }) => view.error?.code === 'generator_refused'))
    throw new Error(`The model server refuses every question: it may not serve the adapter ${adapter}.`);
}

function addMajority(set: QuestionSet, questions: readonly SetQuestion[], measures: Measures): void {
  const asked = questions.filter(({ unanswerable }) => !unanswerable);
  const ids = new Set(asked.map(({ id }) => id));
  const others = set.questions.filter(({ id }) => !ids.has(id));
  const answers = majorityAnswers(asked, others.some(({ answer }) => answer !== undefined) ? others : asked, set.items);
  for (const question of asked) {
    const answer = answers.get(question.id) ?? '';
    const value = matchesNormalised(answer, { question: question.question, answers: answersOf(question) }) ? 1 : 0;
    for (const slice of ['all', question.kind, `family.${question.family}`])
      measures.add(`table.${MAJORITY.name}.${slice}.accuracy`, question.id, value);
  }
}

/** Into a stack of its own: a stack that is used is not written to. */
async function measureShuffled(
  { set, against, seed, limits }: EvaluateOptions,
  questions: readonly SetQuestion[],
  asking: AskOptions,
  sink: AnswerSink,
): Promise<string[]> {
  const system = SYSTEMS.find(({ stack }) => stack === 'shuffled');
  if (!system) return [];
  if (against || set.items.size === 0)
    return ['No shuffled pictures: nothing is written to a stack that was named with --against.'];
  const { manifest, moved, remove } = await shuffledManifest(set, seed);
  try {
    const { client, pid, close } = await openEvaluationStack(manifest);
    try {
      await measureAnswers(
        client,
        system,
        askingsOf(system, questions, { languages: ['en'], limits, seed }),
        { ...asking, pid },
        sink,
      );
    } finally {
      await close();
    }
  } finally {
    await remove();
  }
  return moved === set.items.size ? [] : [`Shuffled: ${moved} of ${set.items.size} items have another's picture.`];
}

async function judged(
  { judge, atOnce, progress, signal }: EvaluateOptions,
  answered: Answered[],
  sink: AnswerSink,
): Promise<string[]> {
  if (!judge) return ['No grades: no judge was named (--judge-url, --judge-model).'];
  const { ungraded, reason } = await judgeAnswers(answered, sink, { ...judge, atOnce, progress, signal });
  if (ungraded === 0) return [];
  return [
    `${ungraded} answers have no grades: the judge gave none that could be read${reason === null ? '' : `, or failed (${reason})`}.`,
  ];
}
