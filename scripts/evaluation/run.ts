/** What an evaluation leaves: for each measure its value of each question, and what follows from them. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { intervalOf, statisticOf, type Statistic } from './statistics.ts';

const FORMAT = 'sightline-evaluation-1';

const statistic = z.enum(['mean', 'p50', 'p95']);
const series = z.strictObject({
  /** What is told of it: `mean` under the series' own name, the others as `<name>.p50`. */
  statistics: z.array(statistic).min(1),
  better: z.enum(['higher', 'lower']),
  /** By what was asked: a question, with its language where that is not the first, or a query. */
  values: z.record(z.string(), z.number()),
});
export type Series = z.infer<typeof series>;

const metric = z.strictObject({
  value: z.number(),
  /** 95 %. */
  low: z.number(),
  high: z.number(),
  n: z.int(),
});
export type Metric = z.infer<typeof metric>;

const box = z.tuple([z.number(), z.number(), z.number(), z.number()]);

/** An answer, as the report shows it. */
const givenAnswer = z.strictObject({
  system: z.string(),
  /** Of the question in the set. */
  id: z.string(),
  language: z.enum(['en', 'zh']),
  asked: z.string(),
  kind: z.string(),
  family: z.string(),
  split: z.string().nullable(),
  expected: z.array(z.string()),
  answer: z.string().nullable(),
  error: z.string().nullable(),
  cited: z.array(z.string()),
  item_id: z.string().nullable(),
  image: z.string().nullable(),
  boxes: z.strictObject({ expected: z.array(box), given: z.array(z.strictObject({ key: z.string().nullable(), pixels: box })) }),
  scores: z.record(z.string(), z.number()),
  judged: z.record(z.string(), z.strictObject({ score: z.number(), reason: z.string() })).nullable(),
});
export type EvaluatedAnswer = z.infer<typeof givenAnswer>;

const evaluationRun = z.strictObject({
  format: z.literal(FORMAT),
  made_at: z.iso.datetime(),
  set: z.strictObject({ name: z.string(), digest: z.string(), questions: z.int(), queries: z.int() }),
  options: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
  stack: z.strictObject({
    url: z.string().nullable(),
    assets: z.int(),
    encoder: z.strictObject({ image: z.string(), text: z.string() }),
    models: z.array(z.string()),
    prompt_versions: z.array(z.string()),
  }),
  systems: z.array(z.strictObject({ name: z.string(), title: z.string(), about: z.string() })),
  series: z.record(z.string(), series),
  metrics: z.record(z.string(), metric),
  /** Measures that are one number of the whole run: memory in bytes, cost, agreement. */
  figures: z.record(z.string(), z.number()),
  answers: z.array(givenAnswer),
  /** What was not measured, and why. */
  notes: z.array(z.string()),
  /** What was asked for and broke on the way, with its error: what of it was measured before is of fewer questions. */
  broken_off: z.array(z.string()).default([]),
});
export type EvaluationRun = z.infer<typeof evaluationRun>;

/** Reads a run's JSON. The error says what is wrong with it. */
export async function readRun(file: string): Promise<EvaluationRun> {
  const text = await readFile(file, 'utf8');
  const parsed = evaluationRun.safeParse(jsonOf(text));
  if (!parsed.success) throw new Error(`${file} is no run of npm run eval: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Values by what was asked, gathered while they are measured. */
export class Measures {
  readonly series: Record<string, Series> = {};

  add(name: string, id: string, value: number, about: { better?: Series['better']; statistics?: Statistic[] } = {}): void {
    const { better = 'higher', statistics = ['mean'] } = about;
    (this.series[name] ??= { statistics, better, values: {} }).values[id] = value;
  }

  /** Each statistic of each series, with its interval drawn from the seed. */
  metrics(seed: number): Record<string, Metric> {
    return Object.fromEntries(
      Object.entries(this.series).flatMap(([name, { statistics, values }]) => {
        const all = Object.values(values);
        return statistics.map((one) => [
          metricName(name, one),
          { value: statisticOf(all, one), ...intervalOf(all, one, seed), n: all.length },
        ]);
      }),
    );
  }
}

export function metricName(series: string, one: Statistic): string {
  return one === 'mean' ? series : `${series}.${one}`;
}

export function newRun(parts: Omit<EvaluationRun, 'format'>): EvaluationRun {
  return { format: FORMAT, ...parts };
}
