import { Measures, newRun, type EvaluationRun } from '../run.ts';

/** A run with these values: by series, by question. */
export function runOf(values: Record<string, Record<string, number>>, more: Partial<EvaluationRun> = {}): EvaluationRun {
  const measures = new Measures();
  for (const [name, of] of Object.entries(values)) {
    const isTime = name.startsWith('latency.');
    for (const [id, value] of Object.entries(of))
      measures.add(name, id, value, isTime ? { better: 'lower', statistics: ['p50', 'p95'] } : {});
  }
  return newRun({
    made_at: '2026-11-30T00:00:00.000Z',
    set: { name: 'set', digest: 'd', questions: 1, queries: 0 },
    options: {},
    stack: { url: null, assets: 1, encoder: { image: 'i', text: 't' }, models: [], prompt_versions: [] },
    systems: [],
    series: measures.series,
    metrics: measures.metrics(1),
    figures: {},
    answers: [],
    notes: [],
    broken_off: [],
    ...more,
  });
}
