import { metricName, type EvaluationRun } from './run.ts';
import { pairedDifference, statisticOf } from './statistics.ts';

export interface Comparison {
  rows: {
    name: string;
    /** Of the questions that both have. */
    before: number;
    after: number;
    difference: number;
    low: number;
    high: number;
    n: number;
    verdict: 'better' | 'worse' | 'not told apart';
  }[];
  /** One number of each whole run, or what follows from several measures: without an interval of the difference. */
  figures: { name: string; before: number; after: number }[];
  /** Measures that one of the two alone has, or that share no question. */
  only: { name: string; side: 'before' | 'after' | 'neither' }[];
  warnings: string[];
}

const SEED = 1;

/** What changed from one run to another, over the questions that both asked: differences with paired bootstrap intervals. */
export function compareRuns(before: EvaluationRun, after: EvaluationRun): Comparison {
  const comparison: Comparison = { rows: [], figures: [], only: [], warnings: [] };
  if (before.set.digest !== after.set.digest)
    comparison.warnings.push('The two runs are of different sets: only questions of the same id are compared.');
  for (const name of [...new Set([...Object.keys(before.series), ...Object.keys(after.series)])].sort()) {
    const [first, second] = [before.series[name], after.series[name]];
    if (!first || !second) {
      comparison.only.push({ name, side: first ? 'before' : 'after' });
      continue;
    }
    const pairs = Object.entries(first.values).flatMap(([id, a]) => {
      const b = second.values[id];
      return b === undefined ? [] : [[a, b] as const];
    });
    if (pairs.length === 0) {
      comparison.only.push({ name, side: 'neither' });
      continue;
    }
    for (const one of second.statistics) {
      const { difference, low, high, significant } = pairedDifference(pairs, one, SEED);
      const rises = second.better === 'higher' ? difference > 0 : difference < 0;
      comparison.rows.push({
        name: metricName(name, one),
        before: statistic(pairs, 0, one),
        after: statistic(pairs, 1, one),
        difference,
        low,
        high,
        n: pairs.length,
        verdict: significant ? (rises ? 'better' : 'worse') : 'not told apart',
      });
    }
  }
  const [first, second] = [figuresOf(before), figuresOf(after)];
  for (const name of [...new Set([...first.keys(), ...second.keys()])].sort()) {
    const [a, b] = [first.get(name), second.get(name)];
    if (a !== undefined && b !== undefined) comparison.figures.push({ name, before: a, after: b });
    else comparison.only.push({ name, side: a === undefined ? 'after' : 'before' });
  }
  return comparison;
}

/** The figures, and metrics that are of no series of their own, such as gains. */
function figuresOf({ figures, metrics, series }: EvaluationRun): Map<string, number> {
  const ofSeries = new Set(
    Object.entries(series).flatMap(([name, { statistics }]) => statistics.map((one) => metricName(name, one))),
  );
  const others = Object.entries(metrics).flatMap(([name, { value }]) => (ofSeries.has(name) ? [] : [[name, value] as const]));
  return new Map([...Object.entries(figures), ...others]);
}

function statistic(
  pairs: readonly (readonly [number, number])[],
  side: 0 | 1,
  one: Parameters<typeof pairedDifference>[1],
): number {
  return statisticOf(
    pairs.map((pair) => pair[side]),
    one,
  );
}
