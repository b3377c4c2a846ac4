/**
 * `npm run eval -- --set <dir> | --sample`: measures retrieval, answers, boxes, latency and cost over a labelled set, and writes a run (JSON)
 * and a report (HTML). `npm run eval -- compare before.json after.json` tells what changed. docs/evaluation.md has the formats.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { questionRequest } from '@sightline/shared/contracts/question-http';
import { z } from 'zod';
import { boundsFile, broken, type Bounds } from './evaluation/bounds.ts';
import { compareRuns, type Comparison } from './evaluation/compare-runs.ts';
import { priceFile } from './evaluation/cost.ts';
import { evaluate, type EvaluateOptions } from './evaluation/evaluate.ts';
import { openJudge, readHumanLabels } from './evaluation/judge.ts';
import { printRun } from './evaluation/print-run.ts';
import { terminalProgress } from './evaluation/progress.ts';
import { readSet } from './evaluation/question-set.ts';
import { writeReport } from './evaluation/report.ts';
import { readRun, type EvaluationRun } from './evaluation/run.ts';
import { runCommand } from './run-command.ts';

const USAGE = `usage: npm run eval -- --set <dir> [options]
       npm run eval -- --sample [options]
       npm run eval -- compare <before.json> <after.json> [--all]
       npm run eval -- check <run.json> --bounds <file>

  --set <dir>          a labelled set (docs/evaluation.md)
  --sample             the sample's held-out questions, with --table
  --against <url>      a running stack that has the set (SIGHTLINE_API_KEY); else one is started for it, and goes with it
  --table              side by side: text only, CLIP with answers from text, the whole, and what tells why
  --split <name>       questions of this split alone
  --limit <n>          questions of each kind, and queries of each group, at most
  --languages <list>   en, or en,zh: the second of the whole pipeline alone (en,zh)
  --limit-zh <n>       questions that are asked in Chinese too, drawn by the seed (40)
  --adapter <name>     the LoRA adapter that answers, of every system
  --only <part>        retrieval or answers
  --at-once <n>        questions in flight (1)
  --seed <n>           of what is drawn (1)
  --prices <file>      what answering costs: {"currency", "per_machine_hour", "per_million_prompt_tokens", "per_million_completion_tokens"}
  --bounds <file>      {"answers.picture.accuracy": {"min": 0.6}, ...}: exit code 3 where the run does not keep to them
  --judge-url <url>    an OpenAI-compatible server whose model grades the answers (JUDGE_API_KEY), with
  --judge-model <name> another one than is judged, and
  --labels <file>      grades that people gave, for the judge's agreement with them
  --out <dir>          where run.json and report.html go (evaluation/<time>)`;

const DEFAULT_LIMIT = 1_000;
/** Queries of each group of the sample: enough for intervals of ten points, and searched within a minute. */
const SAMPLE_QUERIES = 60;
const SECOND_LANGUAGE = 40;
const BELOW_BOUNDS = 3;

const fromHere = (path: string): string => resolve(process.env['INIT_CWD'] ?? process.cwd(), path);

async function readJson<T>(path: string, schema: z.ZodType<T>): Promise<T> {
  const file = fromHere(path);
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new Error(`${file} cannot be read as JSON: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  const result = schema.safeParse(parsed);
  if (!result.success) throw new Error(`${file}: ${z.prettifyError(result.error)}`);
  return result.data;
}

const wholeNumber = (name: string, value: string): number => {
  const number = Number(value);
  if (!Number.isInteger(number) || number < 1) throw new Error(`--${name} is a whole number from 1.`);
  return number;
};

function languagesOf(list: string): ('en' | 'zh')[] {
  if (list === 'en') return ['en'];
  if (list === 'en,zh') return ['en', 'zh'];
  throw new Error('--languages is en or en,zh: the second is asked besides the first.');
}

function adapterOf(name: string): string {
  const parsed = questionRequest.safeParse({ question: 'x', adapter: name });
  if (!parsed.success) throw new Error(`--adapter: ${z.prettifyError(parsed.error)}`);
  return name;
}

function printComparison({ rows, figures, only, warnings }: Comparison, all: boolean): void {
  for (const warning of warnings) console.log(`! ${warning}`);
  const shown = all ? rows : rows.filter(({ name }) => !/^retrieval\.(?:sweep|words_|picture_|both_)|\.family\./.test(name));
  const width = Math.max(10, ...[...shown, ...figures].map(({ name }) => name.length));
  const told = (value: number) => (Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(3)).padStart(9);
  console.log(
    `${'measure'.padEnd(width)} ${'n'.padStart(5)} ${'before'.padStart(9)} ${'after'.padStart(9)} ${'change'.padStart(9)}  95 % interval`,
  );
  for (const { name, n, before, after, difference, low, high, verdict } of shown)
    console.log(
      `${name.padEnd(width)} ${String(n).padStart(5)} ${told(before)} ${told(after)} ${told(difference)}  [${told(low).trim()}, ${told(high).trim()}]  ${verdict}`,
    );
  for (const { name, before, after } of figures)
    console.log(`${name.padEnd(width)} ${''.padStart(5)} ${told(before)} ${told(after)} ${told(after - before)}  no interval`);
  const clear = shown.filter(({ verdict }) => verdict !== 'not told apart').length;
  console.log(`${clear} of ${shown.length} measures differ by more than chance; at 95 %, one in twenty does so by chance alone.`);
  if (only.length > 0)
    console.log(`${only.length} measures could not be compared: only one run has them, or they share no question.`);
}

async function compare(files: string[], all: boolean): Promise<number> {
  const [before, after] = files;
  if (!before || !after || files.length > 2) {
    console.error(USAGE);
    return 2;
  }
  printComparison(compareRuns(await readRun(fromHere(before)), await readRun(fromHere(after))), all);
  return 0;
}

/** Says what does not keep to the bounds; the exit code. */
function held(run: EvaluationRun, bounds: Bounds): number {
  const below = broken(run, bounds);
  for (const one of below) console.error(`out of bounds: ${one}`);
  return below.length > 0 ? BELOW_BOUNDS : 0;
}

async function check(files: string[], bounds: string | undefined): Promise<number> {
  const [file] = files;
  if (!file || files.length > 1 || bounds === undefined) {
    console.error(USAGE);
    return 2;
  }
  return held(await readRun(fromHere(file)), await readJson(bounds, boundsFile));
}

const OPTIONS = {
  set: { type: 'string' },
  sample: { type: 'boolean', default: false },
  against: { type: 'string' },
  table: { type: 'boolean', default: false },
  split: { type: 'string' },
  limit: { type: 'string' },
  languages: { type: 'string', default: 'en,zh' },
  'limit-zh': { type: 'string', default: String(SECOND_LANGUAGE) },
  adapter: { type: 'string' },
  only: { type: 'string' },
  'at-once': { type: 'string', default: '1' },
  seed: { type: 'string', default: '1' },
  prices: { type: 'string' },
  bounds: { type: 'string' },
  'judge-url': { type: 'string' },
  'judge-model': { type: 'string' },
  labels: { type: 'string' },
  out: { type: 'string' },
  all: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS; allowPositionals: true }>>['values'];

async function judgeOf(values: Values): Promise<EvaluateOptions['judge']> {
  const { 'judge-url': baseUrl, 'judge-model': model, labels } = values;
  if (baseUrl === undefined && model === undefined) {
    if (labels !== undefined) throw new Error('--labels are held against a judge: name one with --judge-url and --judge-model.');
    return null;
  }
  if (baseUrl === undefined || model === undefined)
    throw new Error('A judge is named by --judge-url and --judge-model together.');
  const judge = openJudge({ baseUrl, model, apiKey: process.env['JUDGE_API_KEY'] });
  return { judge, labels: labels === undefined ? null : await readHumanLabels(fromHere(labels)) };
}

async function optionsOf(values: Values, signal: AbortSignal): Promise<EvaluateOptions> {
  const { sample, set, only } = values;
  if (only !== undefined && only !== 'retrieval' && only !== 'answers') throw new Error('--only is retrieval or answers.');
  const dir = sample ? fileURLToPath(new URL('../sample', import.meta.url)) : fromHere(set ?? '');
  return {
    set: await readSet(dir),
    against: values.against === undefined ? null : { url: values.against, apiKey: process.env['SIGHTLINE_API_KEY'] },
    table: values.table || sample,
    split: values.split ?? (sample ? 'heldout' : null),
    limits: {
      questions: wholeNumber('limit', values.limit ?? String(DEFAULT_LIMIT)),
      queries: wholeNumber('limit', values.limit ?? String(sample ? SAMPLE_QUERIES : DEFAULT_LIMIT)),
      second: wholeNumber('limit-zh', values['limit-zh']),
    },
    languages: languagesOf(values.languages),
    adapter: values.adapter === undefined ? null : adapterOf(values.adapter),
    parts: { retrieval: only !== 'answers', answers: only !== 'retrieval' },
    atOnce: wholeNumber('at-once', values['at-once']),
    seed: wholeNumber('seed', values.seed),
    prices: values.prices === undefined ? null : await readJson(values.prices, priceFile),
    judge: await judgeOf(values),
    progress: terminalProgress,
    signal,
    now: () => new Date(),
  };
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: OPTIONS });
  const [command, ...files] = positionals;
  if (command === 'compare' && !values.help) return compare(files, values.all);
  if (command === 'check' && !values.help) return check(files, values.bounds);
  if (values.help || positionals.length > 0 || values.sample === (values.set !== undefined)) {
    console.error(USAGE);
    return 2;
  }
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort(new Error('Stopped.')));
  const startedMs = performance.now();
  // Whatever is wrong with the files is said before anything is started.
  const bounds = values.bounds === undefined ? {} : await readJson(values.bounds, boundsFile);
  const options = await optionsOf(values, stop.signal);
  const run = await evaluate(options);
  const out = fromHere(values.out ?? join('evaluation', run.made_at.replaceAll(/[:.]/g, '-')));
  await mkdir(out, { recursive: true });
  await writeFile(join(out, 'run.json'), `${JSON.stringify(run)}\n`);
  await writeReport(run, options.set.dir, join(out, 'report.html'));
  printRun(run, options.prices?.currency ?? '');
  console.log(
    `\n${((performance.now() - startedMs) / 1000).toFixed(0)} s. Written: ${join(out, 'run.json')}, ${join(out, 'report.html')}`,
  );
  // A part that broke leaves a run to look at, and no success.
  return held(run, bounds) || (run.broken_off.length > 0 ? 1 : 0);
}

if (import.meta.main) await runCommand(main);
