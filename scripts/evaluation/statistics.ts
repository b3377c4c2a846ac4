import { seeded } from '@sightline/shared/testing/seeded';

export interface Interval {
  low: number;
  high: number;
}

/** Two-sided 95 %. */
const Z = 1.959963984540054;
const LOW = 0.025;
const ROUNDS = 2_000;

export type Statistic = 'mean' | 'p50' | 'p95';

/** NaN of nothing. */
function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/**
 * The value below which a share `q` of the values lies, interpolated linearly between the two nearest (type 7 of Hyndman and Fan, "Sample
 * Quantiles in Statistical Packages", The American Statistician 50(4), 1996). NaN of nothing.
 */
export function quantile(values: ArrayLike<number>, q: number): number {
  const sorted = Float64Array.from(values).sort();
  const at = (sorted.length - 1) * q;
  const below = sorted[Math.floor(at)];
  const above = sorted[Math.ceil(at)];
  return below === undefined || above === undefined ? Number.NaN : below + (above - below) * (at - Math.floor(at));
}

export function statisticOf(values: readonly number[], statistic: Statistic): number {
  return statistic === 'mean' ? mean(values) : quantile(values, statistic === 'p50' ? 0.5 : 0.95);
}

/**
 * Wilson's score interval of a share, 95 %: it stays within 0 and 1 and is not empty where all or none are right. Source: Wilson, "Probable
 * Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
 */
export function wilsonInterval(successes: number, n: number): Interval {
  if (n === 0) return { low: 0, high: 1 };
  const share = successes / n;
  const middle = (share + Z ** 2 / (2 * n)) / (1 + Z ** 2 / n);
  const half = (Z / (1 + Z ** 2 / n)) * Math.sqrt((share * (1 - share)) / n + Z ** 2 / (4 * n ** 2));
  return { low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}

/**
 * Of a mean of zeros and ones Wilson's interval, of anything else the percentile bootstrap's (Efron and Tibshirani, "An Introduction to the
 * Bootstrap", 1993, chapter 13): 2,000 samples of the values with replacement, drawn from `seed`. 95 %.
 */
export function intervalOf(values: readonly number[], statistic: Statistic, seed: number): Interval {
  if (statistic === 'mean' && values.every((value) => value === 0 || value === 1))
    return wilsonInterval(
      values.reduce<number>((sum, value) => sum + value, 0),
      values.length,
    );
  return bootstrap(values.length, seed, (drawn) => drawnStatistic(drawn, values, statistic));
}

/**
 * The difference b - a of a statistic of the same questions in two runs, with the paired bootstrap's interval, 95 %: questions are drawn,
 * and both runs' values of each drawn one are taken, so that what makes a question hard for both falls out. `significant`: 0 lies
 * outside the interval. Source: Koehn, "Statistical Significance Tests for Machine Translation Evaluation", EMNLP 2004.
 */
export function pairedDifference(
  pairs: readonly (readonly [a: number, b: number])[],
  statistic: Statistic,
  seed: number,
): { difference: number; significant: boolean } & Interval {
  const [before, after] = [pairs.map(([a]) => a), pairs.map(([, b]) => b)];
  const { low, high } = bootstrap(
    pairs.length,
    seed,
    (drawn) => drawnStatistic(drawn, after, statistic) - drawnStatistic(drawn, before, statistic),
  );
  const difference = statisticOf(after, statistic) - statisticOf(before, statistic);
  return { difference, low, high, significant: low > 0 || high < 0 };
}

/** Of the values at the drawn places; without copies for a mean, since this is done thousands of times. */
function drawnStatistic(drawn: Uint32Array, values: readonly number[], statistic: Statistic): number {
  if (statistic !== 'mean')
    return statisticOf(
      Array.from(drawn, (i) => values[i] ?? 0),
      statistic,
    );
  let sum = 0;
  for (const i of drawn) sum += values[i] ?? 0;
  return sum / drawn.length;
}

function bootstrap(n: number, seed: number, statistic: (drawn: Uint32Array) => number): Interval {
  if (n === 0) return { low: Number.NaN, high: Number.NaN };
  const { next } = seeded(seed);
  const drawn = new Uint32Array(n);
  const told = Float64Array.from({ length: ROUNDS }, () => {
    for (let i = 0; i < n; i++) drawn[i] = Math.floor(next() * n);
    return statistic(drawn);
  });
  return { low: quantile(told, LOW), high: quantile(told, 1 - LOW) };
}
