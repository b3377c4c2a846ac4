import { z } from 'zod';
import type { EvaluationRun } from './run.ts';

/**
 * What a run must keep to: `{"answers.picture.accuracy": {"min": 0.6}, "latency.total.p95": {"max": 4000}}`. `min_low` and `max_high` hold the
 * ends of the 95 % interval instead of the value: they pass only what is sure.
 */
export const boundsFile = z.record(
  z.string(),
  z
    .strictObject({
      min: z.number().optional(),
      max: z.number().optional(),
      min_low: z.number().optional(),
      max_high: z.number().optional(),
    })
    .refine((bound) => Object.values(bound).some((value) => value !== undefined), 'a bound needs min, max, min_low or max_high'),
);
export type Bounds = z.infer<typeof boundsFile>;

/** What does not keep to the bounds, a sentence each. A measure that the run does not have does not: a bound that nobody measures guards nothing. */
export function broken({ metrics, figures }: Pick<EvaluationRun, 'metrics' | 'figures'>, bounds: Bounds): string[] {
  return Object.entries(bounds).flatMap(([name, { min, max, min_low: minLow, max_high: maxHigh }]) => {
    const metric = metrics[name];
    const value = metric?.value ?? figures[name];
    if (value === undefined) return [`${name} was not measured.`];
    const found: string[] = [];
    if (min !== undefined && !(value >= min)) found.push(`${name} is ${told(value)}, below ${min}.`);
    if (max !== undefined && !(value <= max)) found.push(`${name} is ${told(value)}, above ${max}.`);
    if (!metric && (minLow !== undefined || maxHigh !== undefined)) found.push(`${name} has no interval.`);
    if (metric && minLow !== undefined && !(metric.low >= minLow))
      found.push(`${name} may be as low as ${told(metric.low)}, below ${minLow}.`);
    if (metric && maxHigh !== undefined && !(metric.high <= maxHigh))
      found.push(`${name} may be as high as ${told(metric.high)}, above ${maxHigh}.`);
    return found;
  });
}

function told(value: number): string {
  return String(Math.round(value * 10_000) / 10_000);
}
