import type { QuestionView } from '@sightline/shared/contracts/question-http';
import type { ApiClient } from '../api-client.ts';
import { askSet, type Answered, type Asking, type AskOptions } from './ask-set.ts';
import { costOf10000, type Prices } from './cost.ts';
import { answersOf } from './question-set.ts';
import type { EvaluatedAnswer, Measures } from './run.ts';
import { scoreAnswer, type AnswerScores } from './score-answer.ts';
import type { System } from './systems.ts';

const LOWER: ReadonlySet<string> = new Set(['false_refusal', 'failed']);
const TIME = { better: 'lower' as const, statistics: ['p50' as const, 'p95' as const] };

/** Where what is measured goes. */
export interface AnswerSink {
  measures: Measures;
  figures: Record<string, number>;
  answers: EvaluatedAnswer[];
  prices: Prices | null;
}

/**
 * Asks a system all questions and adds `table.<system>.*`; of the whole pipeline `answers.*` in all its slices and `latency.*` too. Answers
 * what was answered, for the judge.
 */
export async function measureAnswers(
  client: ApiClient,
  system: System,
  askings: readonly Asking[],
  options: AskOptions,
  sink: AnswerSink,
): Promise<Answered[]> {
  // Systems are compared by time and cost over the same questions; what only some are asked comes after.
  const [compared, others] = [askings.filter(isCompared), askings.filter((one) => !isCompared(one))];
  const consumed = await askSet(client, system, compared, { ...options, what: system.title });
  addConsumption(sink, system, consumed);
  const more = others.length === 0 ? [] : (await askSet(client, system, others, { ...options, what: system.title })).answered;
  const answered = [...consumed.answered, ...more];
  for (const one of answered) {
    const scores = scoreAnswer(one.question, one.view);
    sink.answers.push(evaluatedAnswer(system, one, scores));
    addScores(sink.measures, system, one, scores);
    addTimes(sink.measures, system, one);
  }
  return answered;
}

/** Asks some of the questions again, for what a repeated question takes. */
export async function measureAgain(
  client: ApiClient,
  system: System,
  askings: readonly Asking[],
  options: AskOptions,
  measures: Measures,
): Promise<void> {
  const { answered } = await askSet(client, system, askings, { ...options, what: `${system.title}, again` });
  for (const one of answered) {
    measures.add(`table.${system.name}.latency_again.total`, idOf(one), one.clientMs, TIME);
    if (one.view.timings_ms)
      measures.add(`table.${system.name}.latency_again.retrieve`, idOf(one), one.view.timings_ms.retrieve, TIME);
  }
}

/** Asked of every system. */
export function isCompared({ question: { unanswerable }, language }: Asking): boolean {
  return language === 'en' && !unanswerable;
}

function idOf({ question, language }: Asking): string {
  return language === 'en' ? question.id : `${question.id} ${language}`;
}

/** A question in its second language, or without an answer, stands in those slices alone, so that none counts twice. */
function slicesOf({ question: { kind, family, split, unanswerable }, language }: Asking): string[] {
  if (unanswerable) return [language === 'en' ? 'unanswerable' : `language.${language}.unanswerable`];
  if (language !== 'en') return [`language.${language}`, `language.${language}.${kind}`];
  return ['all', kind, `family.${family}`, `language.${language}`, ...(split === undefined ? [] : [`split.${split}`])];
}

function addScores(measures: Measures, system: System, asking: Asking, scores: AnswerScores): void {
  const slices = slicesOf(asking);
  for (const [score, value] of Object.entries(scores)) {
    const about = { better: LOWER.has(score) ? ('lower' as const) : ('higher' as const) };
    if (score === 'refusal' && asking.language === 'en') measures.add(`table.${system.name}.refusal`, idOf(asking), value, about);
    for (const slice of slices) {
      if (system.isWhole) measures.add(`answers.${slice}.${score}`, idOf(asking), value, about);
      measures.add(`table.${system.name}.${slice}.${score}`, idOf(asking), value, about);
    }
  }
}

/** Of answers that a model gave to what every system is asked: who is not asked is not fast. */
function addTimes(measures: Measures, system: System, answered: Answered): void {
  const { view, clientMs } = answered;
  if (!isCompared(answered) || view.status !== 'answered' || !view.timings_ms) return;
  const id = idOf(answered);
  measures.add(`table.${system.name}.latency.retrieve`, id, view.timings_ms.retrieve, TIME);
  if (view.no_match) return;
  measures.add(`table.${system.name}.latency.total`, id, clientMs, TIME);
  if (!system.isWhole) return;
  for (const [stage, ms] of Object.entries(view.timings_ms)) if (ms !== null) measures.add(`latency.${stage}`, id, ms, TIME);
  measures.add('latency.client', id, clientMs, TIME);
}

function addConsumption(
  { figures, prices }: AnswerSink,
  { name }: System,
  { answered, wallMs, memoryPeakBytes }: Awaited<ReturnType<typeof askSet>>,
): void {
  const usages = answered.flatMap(({ view }) => view.usage ?? []);
  const total = (of: keyof NonNullable<QuestionView['usage']>) => usages.reduce((sum, usage) => sum + usage[of], 0);
  if (answered.length === 0) return;
  figures[`table.${name}.questions_per_second`] = answered.length / (wallMs / 1000);
  figures[`table.${name}.prompt_tokens_per_question`] = total('prompt_tokens') / answered.length;
  figures[`table.${name}.completion_tokens_per_question`] = total('completion_tokens') / answered.length;
  figures[`table.${name}.images_per_question`] = total('images') / answered.length;
  if (memoryPeakBytes !== null) figures[`table.${name}.memory_bytes`] = memoryPeakBytes;
  const consumption = {
    questions: answered.length,
    wallMs,
    promptTokens: total('prompt_tokens'),
    completionTokens: total('completion_tokens'),
  };
  const cost = prices && costOf10000(prices, consumption);
  if (cost !== null) figures[`table.${name}.cost_per_10000`] = cost;
}

function evaluatedAnswer(system: System, { question, language, view }: Answered, scores: AnswerScores): EvaluatedAnswer {
  const objectOf = (image: number) => {
    const citationId = view.images.find(({ n }) => n === image)?.citation_id;
    return view.citations.find(({ citation_id: id }) => id === citationId)?.object?.key ?? null;
  };
  return {
    system: system.name,
    id: question.id,
    language,
    asked: (language === 'zh' ? question.question_zh : null) ?? question.question,
    kind: question.kind,
    family: question.family,
    split: question.split ?? null,
    expected: question.unanswerable ? [] : answersOf(question),
    answer: view.answer,
    error: view.error?.code ?? (view.status === 'cancelled' ? 'cancelled' : null),
    cited: view.citations.map(({ item_id: item, asset_id: asset }) => item ?? asset),
    item_id: question.item_id ?? null,
    image: question.image ?? null,
    boxes: {
      expected: question.boxes.map(({ xyxy }) => xyxy),
      given: view.boxes.map(({ image, pixels }) => ({ key: objectOf(image), pixels })),
    },
    scores: Object.fromEntries(Object.entries(scores).filter((entry): entry is [string, number] => entry[1] !== undefined)),
    judged: null,
  };
}
