import { KINDS } from './question-set.ts';
import type { EvaluationRun } from './run.ts';
import { percentOf, tableRows } from './table-rows.ts';

const SHOWN = ['all', ...KINDS] as const;

/** A run for people at a terminal: the table, retrieval, answers by kind, what was not measured. */
export function printRun(run: EvaluationRun, currency: string): void {
  const { set, stack, metrics, notes, broken_off: brokenOff } = run;
  console.log(`\n${set.questions} questions of ${set.name}, ${stack.assets} assets, model ${stack.models.join(', ') || '-'}`);
  const rows = tableRows(run);
  if (rows.length > 0) {
    const width = Math.max(...rows.map(({ title }) => title.length));
    const heads = [
      ...SHOWN.map((kind) => (kind === 'all' ? 'accuracy % (95 %)' : kind)),
      'IoU@0.5',
      'refused rightly',
      'wrongly',
    ];
    const ends = ['retrieve', 'first', 'again', 'memory', `${currency || 'cost'}/10k`];
    console.log(
      `\n${''.padEnd(width)} ${heads.map((head) => head.padStart(17)).join('')}${ends.map((head) => head.padStart(10)).join('')}`,
    );
    for (const row of rows) {
      const shares = [...SHOWN.map((kind) => row.accuracy[kind]), row.boxIou50, row.refusal, row.falseRefusal].map((metric) =>
        percentOf(metric).padStart(17),
      );
      const ms = (value: number | null) => (value === null ? '-' : `${value.toFixed(0)} ms`).padStart(10);
      const memory = (row.memoryBytes === null ? '-' : `${(row.memoryBytes / 1e6).toFixed(0)} MB`).padStart(10);
      const cost = (row.costPer10000 === null ? '-' : row.costPer10000.toFixed(2)).padStart(10);
      console.log(
        `${row.title.padEnd(width)} ${shares.join('')}${ms(row.retrieveMs)}${ms(row.firstMs)}${ms(row.againMs)}${memory}${cost}`,
      );
    }
  }
  for (const { title, gain } of rows.filter((row) => row.gain.all))
    console.log(
      `above "${title}", points: ${SHOWN.flatMap((kind) => (gain[kind] ? [`${kind} ${percentOf(gain[kind])}`] : [])).join(', ')}`,
    );
  const legs = Object.keys(metrics).flatMap(
    (name) => /^retrieval\.((?:words|picture|both|questions)\.\w+)\.ndcg_10$/.exec(name)?.[1] ?? [],
  );
  if (legs.length > 0) {
    console.log(
      `\n${'retrieval, %'.padEnd(24)}${['n', 'R@1', 'R@5', 'R@10', 'nDCG@10', 'MRR'].map((head) => head.padStart(9)).join('')}`,
    );
    for (const leg of legs) {
      const scores = ['recall_1', 'recall_5', 'recall_10', 'ndcg_10', 'mrr'].map((score) => metrics[`retrieval.${leg}.${score}`]);
      console.log(
        `${leg.replace('.', ', ').padEnd(24)}${String(scores[0]?.n ?? 0).padStart(9)}${scores.map((one) => ((one?.value ?? 0) * 100).toFixed(1).padStart(9)).join('')}`,
      );
    }
  }
  for (const name of [
    'answers.language.zh.accuracy',
    'answers.all.citation_precision',
    'answers.all.citation_recall',
    'answers.all.false_refusal',
  ])
    if (metrics[name]) console.log(`${name.padEnd(32)} ${percentOf(metrics[name])} % of ${metrics[name].n}`);
  for (const aspect of ['accuracy', 'completeness', 'verifiability']) {
    const metric = metrics[`judge.${aspect}`];
    if (metric)
      console.log(
        `${`judge.${aspect}`.padEnd(32)} ${metric.value.toFixed(2)} of 5 (${metric.low.toFixed(2)}-${metric.high.toFixed(2)})`,
      );
  }
  for (const note of notes) console.log(`  ${note}`);
  for (const broken of brokenOff) console.log(`! broken off: ${broken}`);
}
