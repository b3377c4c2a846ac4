import { basename, resolve } from 'node:path';
import { indexView } from '@sightline/shared/contracts/http';
import { seeded } from '@sightline/shared/testing/seeded';
import { ApiClient } from '../api-client.ts';
import type { Answered, Asking, AskOptions } from './ask-set.ts';
import type { Prices } from './cost.ts';
import { openEvaluationStack, shuffledManifest } from './evaluation-stack.ts';
import { gainsOf } from './gains.ts';
import { assertOther } from './judge.ts';
import { judgeAnswers, type JudgeAnswersOptions } from './judge-answers.ts';
import { majorityAnswers } from './majority-answer.ts';
import { measureAgain, measureAnswers, type AnswerSink } from './measure-answers.ts';
import { measureRetrieval } from './measure-retrieval.ts';
import type { Progress } from './progress.ts';
import { matchesNormalised } from './answer-match.ts';
import { answersOf, type QuestionSet, type SetQuestion } from './question-set.ts';
import { Measures, newRun, type EvaluationRun } from './run.ts';
import { filterOfAll, SYSTEMS, type System } from './systems.ts';

const MAJORITY = {
  name: 'majority',
  title: 'The majority answer',
  about: 'The commonest answer to questions of the same form; nothing is looked at.',
};
const ASKED_AGAIN = 20;

export interface EvaluateOptions {
  set: QuestionSet;
  /** A running stack that has the set; null: one of its own, for as long as it takes. */
  against: { url: string; apiKey: string | undefined } | null;
  /** All systems side by side, not the whole pipeline alone. */
  table: boolean;
  /** Questions of this split alone; null: all. */
  split: string | null;
  /** Questions of each kind, and queries of each group, at most. */
  limits: { questions: number; queries: number };
  languages: readonly ('en' | 'zh')[];
  parts: { retrieval: boolean; answers: boolean };
  atOnce: number;
  seed: number;
  prices: Prices | null;
  judge: Pick<JudgeAnswersOptions, 'judge' | 'labels'> | null;
  progress: Progress;
  signal: AbortSignal;
  now: () => Date;
}

/** Measures a set against a stack, and says what was not measured and why. Whatever it started is gone when it returns or throws. */
export async function evaluate(options: EvaluateOptions): Promise<EvaluationRun> {
  const { set, table, seed, progress, signal, atOnce } = options;
  const questions = chosen(set.questions, options);
  const sink: AnswerSink = { measures: new Measures(), figures: {}, answers: [], prices: options.prices };
  const notes: string[] = [];
  const systems = table ? SYSTEMS : SYSTEMS.filter(({ isWhole }) => isWhole);
  const { client, pid, close } = await stackOf(options);
  const asking: AskOptions = { atOnce, progress, seed, signal, pid, everything: filterOfAll(set.items) };
  const answered: Answered[] = [];
  let index;
  try {
    index = await client.get('/v1/index', indexView);
    if (options.parts.retrieval)
      await measureRetrieval(client, set, questions, sink.measures, { limit: options.limits.queries, atOnce, progress });
    for (const system of options.parts.answers ? systems.filter(({ stack }) => stack === 'set') : []) {
      const askings = askingsOf(system, questions, options.languages);
      const here = await measureAnswers(client, system, askings, asking, sink);
      // Before more is asked.
      if (options.judge) assertOther(options.judge.judge.model, modelsOf(here));
      if (system.isWhole) answered.push(...here);
      const again = askings.filter(({ question, language }) => !question.unanswerable && language === 'en').slice(0, ASKED_AGAIN);
      if (system.name !== 'given') await measureAgain(client, system, again, asking, sink.measures);
    }
  } finally {
    await close();
  }
  if (options.parts.answers && table) {
    addMajority(set, questions, sink.measures);
    notes.push(...(await measureShuffled(options, questions, asking, sink)));
  }
  notes.push(...(await judged(options, answered, sink)));
  if (!options.prices) notes.push('No cost: no price file was given (--prices).');
  if (pid === null) notes.push('No memory: the stack runs elsewhere.');
  const told = systems.filter(({ name }) => sink.answers.some(({ system }) => system === name));
  const all = [
    ...told.map(({ name, title, about }) => ({ name, title, about })),
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
      languages: options.languages.join(','),
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

/** The other language is asked of the whole pipeline, and what has no answer in the first alone. */
function askingsOf(system: System, questions: readonly SetQuestion[], languages: readonly ('en' | 'zh')[]): Asking[] {
  return (system.isWhole ? languages : languages.slice(0, 1)).flatMap((language) =>
    questions
      .filter(({ unanswerable }) => !unanswerable || (system.mayRefuse && language === languages[0]))
      .filter(({ question_zh: zh }) => language === 'en' || zh !== undefined)
      .map((question): Asking => ({ question, language })),
  );
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
  { set, against, seed }: EvaluateOptions,
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
      await measureAnswers(client, system, askingsOf(system, questions, ['en']), { ...asking, pid }, sink);
    } finally {
      await close();
    }
  } finally {
    await remove();
  }
  return moved === set.items.size ? [] : [`Shuffled: ${moved} of ${set.items.size} items have another's picture.`];
}

async function judged({ judge, atOnce, progress }: EvaluateOptions, answered: Answered[], sink: AnswerSink): Promise<string[]> {
  if (!judge) return ['No grades: no judge was named (--judge-url, --judge-model).'];
  const { ungraded } = await judgeAnswers(answered, sink, { ...judge, atOnce, progress });
  return ungraded === 0 ? [] : [`${ungraded} answers have no grades: the judge gave none that could be read.`];
}
