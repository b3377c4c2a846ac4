import { KINDS } from './question-set.ts';
import type { Metric, Series } from './run.ts';
import { pairedDifference } from './statistics.ts';
import { WHOLE } from './systems.ts';

/**
 * By how much the whole pipeline's accuracy is above each other system's, on the same questions, with the paired bootstrap's interval:
 * `table.<system>.<kind>.gain` of the whole pipeline over that system. From -1 to 1.
 */
export function gainsOf(
  series: Readonly<Record<string, Series>>,
  systems: readonly string[],
  seed: number,
): Record<string, Metric> {
  const gains: Record<string, Metric> = {};
  for (const system of systems.filter((name) => name !== WHOLE))
    for (const slice of ['all', ...KINDS]) {
      const whole = series[`table.${WHOLE}.${slice}.accuracy`]?.values ?? {};
      const other = series[`table.${system}.${slice}.accuracy`]?.values ?? {};
      const pairs = Object.entries(other).flatMap(([id, value]) => {
        const of = whole[id];
        return of === undefined ? [] : [[value, of] as const];
      });
      if (pairs.length === 0) continue;
      const { difference, low, high } = pairedDifference(pairs, 'mean', seed);
      gains[`table.${system}.${slice}.gain`] = { value: difference, low, high, n: pairs.length };
    }
  return gains;
}
