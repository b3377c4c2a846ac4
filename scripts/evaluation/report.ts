import { writeFile } from 'node:fs/promises';
import { RRF_K } from '@sightline/shared/retrieval/reciprocal-rank-fusion';
import { KINDS } from './question-set.ts';
import { intervalChart, latencyChart, sweepChart } from './report-charts.ts';
import { failuresSection } from './report-failures.ts';
import { escaped, page, table } from './report-html.ts';
import type { EvaluationRun, Metric } from './run.ts';
import { WHOLE } from './systems.ts';
import { percentOf, tableRows } from './table-rows.ts';

const SCORES = ['recall_1', 'recall_5', 'recall_10', 'ndcg_10', 'mrr'] as const;
/** Of a search with a picture and words, where nothing is said. */
const DEFAULT_ALPHA = '0.7';

/** Writes the run as one HTML file that loads nothing. `dir`: the set's, for its pictures. */
export async function writeReport(run: EvaluationRun, dir: string, file: string): Promise<void> {
  await writeFile(file, await reportOf(run, dir));
}

export async function reportOf(run: EvaluationRun, dir: string): Promise<string> {
  const whole = run.answers.filter(({ system }) => system === WHOLE);
  const sections = [
    headSection(run),
    systemsSection(run),
    retrievalSection(run),
    familiesSection(run),
    judgeSection(run),
    latencySection(run),
    ...(whole.length > 0 ? [`<h2>What went wrong</h2>\n${await failuresSection(whole, dir)}`] : []),
    `<h2>All measures</h2><details><summary>${Object.keys(run.metrics).length} measures</summary>${everything(run)}</details>`,
  ];
  return page(`Evaluation of ${run.set.name}`, sections.filter((section) => section !== '').join('\n'));
}

function headSection({ set, stack, made_at: madeAt, options, notes }: EvaluationRun): string {
  const told = Object.entries(options).flatMap(([name, value]) => (value === null ? [] : [`${name} ${value}`]));
  const list = notes.length === 0 ? '' : `<ul class="soft">${notes.map((note) => `<li>${escaped(note)}</li>`).join('')}</ul>`;
  return `<h1>Evaluation of ${escaped(set.name)}</h1>
<p class="soft">${escaped(madeAt.slice(0, 16).replace('T', ' '))} UTC. ${set.questions} questions, ${stack.assets} assets in the index. Model: ${escaped(stack.models.join(', ') || 'none was asked')}; wording ${escaped(stack.prompt_versions.join(', ') || '-')}; encoder ${escaped(stack.encoder.image.slice(0, 12))}. ${escaped(told.join(', '))}. Set ${escaped(set.digest.slice(0, 12))}.</p>
<p class="soft">Ranges are 95 % intervals: Wilson's for shares of right and wrong, the percentile bootstrap's for the rest.</p>
${list}`;
}

function systemsSection(run: EvaluationRun): string {
  const rows = tableRows(run);
  if (rows.length === 0) return '';
  const ms = (value: number | null) => (value === null ? '-' : `${value.toFixed(0)} ms`);
  const cells = rows.map((row) => [
    `${escaped(row.title)}<br><small>${escaped(row.about)}</small>`,
    ...[...KINDS.map((kind) => row.accuracy[kind]), row.boxIou50, row.refusal, row.falseRefusal].map(percentOf),
    ms(row.retrieveMs),
    ms(row.firstMs),
    ms(row.againMs),
    row.memoryBytes === null ? '-' : `${(row.memoryBytes / 1e6).toFixed(0)} MB`,
    row.costPer10000 === null ? '-' : row.costPer10000.toFixed(2),
  ]);
  const heads = [
    '',
    ...KINDS.map((kind) => `${kind}, %`),
    'box IoU@0.5, %',
    'refused rightly, %',
    'refused wrongly, %',
    'retrieval',
    'answer, first',
    'answer, again',
    'memory',
    'cost of 10,000',
  ];
  const charts = KINDS.flatMap((kind) => {
    const lines = rows.map(({ name, title, accuracy }) => ({ label: title, metric: accuracy[kind], isMain: name === WHOLE }));
    return lines.some(({ metric }) => metric) ? [intervalChart(`Accuracy of ${kind} questions`, lines)] : [];
  });
  const gains = rows
    .filter(({ gain }) => gain.all)
    .map(({ title, gain }) => [escaped(title), ...KINDS.map((kind) => percentOf(gain[kind])), percentOf(gain.all)]);
  const gained =
    gains.length === 0
      ? ''
      : table(
          ['the whole pipeline above', ...KINDS, 'all'],
          gains,
          'Points of accuracy on the same questions, with 95 % intervals of the paired bootstrap: without 0 in it, it is more than chance.',
        );
  return `<h2>Side by side</h2>
${table(heads, cells, 'Accuracy by what it takes to answer (picture, text, mixed), with 95 % intervals; times are medians.')}
${gained}
<div class="plots">${charts.join('')}</div>`;
}

function retrievalSection({ metrics }: EvaluationRun): string {
  const names = Object.keys(metrics).flatMap((name) => /^retrieval\.(.+)\.ndcg_10$/.exec(name)?.[1] ?? []);
  const groups = names.filter((name) => !name.startsWith('sweep.'));
  if (groups.length === 0) return '';
  const heads = ['queries, leg', 'n', 'R@1', 'R@5', 'R@10', 'nDCG@10', 'MRR'];
  const row = (name: string) => {
    const scores = SCORES.map((score) => metrics[`retrieval.${name}.${score}`]);
    return [
      escaped(name.replaceAll('_', ' ').replace('.', ', ')),
      String(scores[0]?.n ?? 0),
      ...scores.map((one) => percentOf(one ?? null)),
    ];
  };
  const isMain = (name: string) => /^(?:words|picture|both|questions)\./.test(name);
  const article = (['visual_relevance', 'text_relevance', 'alignment'] as const).flatMap((score) => {
    const metric = metrics[`retrieval.article.${score}`];
    return metric
      ? [
          [
            score.replace('_', ' '),
            metric.value.toFixed(3),
            `${metric.low.toFixed(3)} to ${metric.high.toFixed(3)}`,
            String(metric.n),
          ],
        ]
      : [];
  });
  const matches = (['present', 'absent'] as const).flatMap((group) => {
    const metric = metrics[`retrieval.${group}.no_match`];
    return metric
      ? [`<li>"Nothing matches" is said of ${percentOf(metric)} % of ${metric.n} queries for what is ${group}.</li>`]
      : [];
  });
  return `<h2>Retrieval</h2>
${table(heads, groups.filter(isMain).map(row), 'Per cent, with 95 % intervals. "all": the fused order; each leg alone as it ranked.')}
<ul>${matches.join('')}</ul>
<div class="plots">${sweepOf(metrics, 'alpha', 'alpha; searches with picture and words; large: the default', DEFAULT_ALPHA)}${sweepOf(metrics, 'rrf_k', 'k of the rank fusion; searches by words; large: the default', String(RRF_K))}</div>
${article.length === 0 ? '' : table(['first five results', 'mean', '95 %', 'n'], article, 'CLIPScore of query and pictures, cosine of query and records, share of the alignment softmax.')}
<details><summary>By group of queries</summary>${table(heads, groups.filter((name) => !isMain(name)).map(row))}</details>`;
}

function sweepOf(metrics: Record<string, Metric>, what: string, xName: string, mark: string): string {
  const points = Object.entries(metrics)
    .flatMap(([name, metric]) => {
      const at =
        name.startsWith(`retrieval.sweep.${what}.`) && name.endsWith('.ndcg_10')
          ? name.slice(`retrieval.sweep.${what}.`.length, -'.ndcg_10'.length)
          : null;
      return at === null ? [] : [{ at, metric }];
    })
    .sort((a, b) => Number(a.at) - Number(b.at));
  return points.length === 0 ? '' : sweepChart('nDCG@10, %', xName, points, mark);
}

function familiesSection({ metrics }: EvaluationRun): string {
  const slices = Object.keys(metrics).flatMap((name) => /^answers\.(.+)\.accuracy$/.exec(name)?.[1] ?? []);
  if (slices.length === 0) return '';
  const scores = ['accuracy', 'exact', 'box_iou50', 'citation_precision', 'citation_recall', 'false_refusal', 'failed'] as const;
  const rows = slices.map((slice) => [
    escaped(slice.replace('.', ': ')),
    String(metrics[`answers.${slice}.accuracy`]?.n ?? 0),
    ...scores.map((score) => percentOf(metrics[`answers.${slice}.${score}`] ?? null)),
  ]);
  const refusal = metrics['answers.unanswerable.refusal'];
  return `<h2>Answers of the whole pipeline</h2>
${table(['', 'n', 'accuracy', 'exact', 'box IoU@0.5', 'citation precision', 'citation recall', 'refused wrongly', 'failed'], rows, 'Per cent, with 95 % intervals.')}
${refusal ? `<p>Of ${refusal.n} questions that have no answer it refused ${percentOf(refusal)} %.</p>` : ''}`;
}

function judgeSection({ metrics, figures }: EvaluationRun): string {
  const rows = (['accuracy', 'completeness', 'verifiability'] as const).flatMap((aspect) => {
    const metric = metrics[`judge.${aspect}`];
    if (!metric) return [];
    const [kappa, same, labelled] = ['kappa', 'same', 'labelled'].map((name) => figures[`judge.${aspect}.${name}`]);
    return [
      [
        aspect,
        `${metric.value.toFixed(2)} (${metric.low.toFixed(2)}-${metric.high.toFixed(2)})`,
        String(metric.n),
        kappa === undefined ? '-' : kappa.toFixed(2),
        same === undefined ? '-' : `${(same * 100).toFixed(0)} % of ${labelled ?? 0}`,
      ],
    ];
  });
  if (rows.length === 0) return '';
  return `<h2>Grades by the judge</h2>${table(['', 'mean, 1 to 5', 'n', 'weighted kappa with people', 'same grade'], rows)}`;
}

function latencySection({ metrics }: EvaluationRun): string {
  const timesOf = (prefix: string, stages: readonly string[]) =>
    stages.flatMap((stage) => {
      const [p50, p95] = [metrics[`${prefix}${stage}.p50`], metrics[`${prefix}${stage}.p95`]];
      return p50 && p95 ? [{ label: stage.replaceAll('_', ' '), p50Ms: p50.value, p95Ms: p95.value }] : [];
    });
  const answers = timesOf('latency.', ['queue', 'retrieve', 'prompt', 'first_token', 'generate', 'ground', 'total', 'client']);
  const searches = timesOf('latency.search.', ['encode', 'index', 'fuse', 'total']);
  const charts = [
    ...(answers.length > 0
      ? [latencyChart('An answer by its stages, p50 / p95; "first token" is part of "generate"', answers)]
      : []),
    ...(searches.length > 0 ? [latencyChart('A search by its stages, p50 / p95', searches)] : []),
  ];
  return charts.length === 0 ? '' : `<h2>Time</h2><div class="plots">${charts.join('')}</div>`;
}

function everything({ metrics, figures }: EvaluationRun): string {
  const number = (value: number) => String(Math.round(value * 10_000) / 10_000);
  const rows = Object.entries(metrics).map(([name, { value, low, high, n }]) => [
    escaped(name),
    number(value),
    number(low),
    number(high),
    String(n),
  ]);
  const more = Object.entries(figures).map(([name, value]) => [escaped(name), number(value), '', '', '']);
  return table(['measure', 'value', 'low', 'high', 'n'], [...rows, ...more]);
}
