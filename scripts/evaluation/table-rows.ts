import type { KINDS } from './question-set.ts';
import type { EvaluationRun, Metric } from './run.ts';

/** A system's line of the table; null where something was not measured or does not apply. */
export interface TableRow {
  name: string;
  title: string;
  about: string;
  accuracy: Record<(typeof KINDS)[number] | 'all', Metric | null>;
  /** How far the whole pipeline is above it on the same questions. */
  gain: Record<(typeof KINDS)[number] | 'all', Metric | null>;
  boxIou50: Metric | null;
  refusal: Metric | null;
  /** Of what has an answer, refused all the same. */
  falseRefusal: Metric | null;
  /** Milliseconds, p50. */
  retrieveMs: number | null;
  firstMs: number | null;
  againMs: number | null;
  memoryBytes: number | null;
  costPer10000: number | null;
}

/** The table of a run, a line a system, in the order that they were asked. */
export function tableRows({ systems, metrics, figures }: EvaluationRun): TableRow[] {
  return systems.map(({ name, title, about }) => {
    const metric = (measure: string): Metric | null => metrics[`table.${name}.${measure}`] ?? null;
    const figure = (measure: string): number | null => figures[`table.${name}.${measure}`] ?? null;
    return {
      name,
      title,
      about,
      accuracy: byKind((kind) => metric(`${kind}.accuracy`)),
      gain: byKind((kind) => metric(`${kind}.gain`)),
      boxIou50: metric('all.box_iou50'),
      refusal: metric('refusal'),
      falseRefusal: metric('all.false_refusal'),
      retrieveMs: metric('latency.retrieve.p50')?.value ?? null,
      firstMs: metric('latency.total.p50')?.value ?? null,
      againMs: metric('latency_again.total.p50')?.value ?? null,
      memoryBytes: figure('memory_bytes'),
      costPer10000: figure('cost_per_10000'),
    };
  });
}

function byKind<T>(of: (kind: string) => T): Record<(typeof KINDS)[number] | 'all', T> {
  return { picture: of('picture'), text: of('text'), mixed: of('mixed'), all: of('all') };
}

/** `57.3 (45-69)`: a share and its interval in per cent. */
export function percentOf(metric: Metric | null): string {
  if (!metric) return '-';
  const percent = (value: number) => (value * 100).toFixed(0);
  const to = metric.low < 0 ? ' to ' : '-';
  return `${(metric.value * 100).toFixed(1)} (${percent(metric.low)}${to}${percent(metric.high)})`;
}
