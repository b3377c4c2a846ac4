import { Counter, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';

export type JobOutcome = 'completed' | 'failed' | 'retried' | 'handed_back';

export interface JobMetrics {
  waited(queue: string, ms: number): void;
  finished(queue: string, outcome: JobOutcome, ms: number): void;
}

const SECONDS = [0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300];

/** Counts what workers do with jobs; without a registry nothing is counted. */
export function openJobMetrics(registry: Registry | undefined): JobMetrics {
  if (!registry) return { waited: () => undefined, finished: () => undefined };
  const registers = [registry];
  const wait = new Histogram({
    name: 'sightline_job_wait_seconds',
    help: 'From adding a job to its start.',
    labelNames: ['queue'],
    buckets: SECONDS,
    registers,
  });
  const duration = new Histogram({
    name: 'sightline_job_duration_seconds',
    help: 'How long a job ran.',
    labelNames: ['queue'],
    buckets: SECONDS,
    registers,
  });
  const total = new Counter({
    name: 'sightline_jobs_total',
    help: 'Jobs by outcome.',
    labelNames: ['queue', 'outcome'],
    registers,
  });
  return {
    waited: (queue, ms) => wait.observe({ queue }, ms / 1000),
    finished: (queue, outcome, ms) => {
      duration.observe({ queue }, ms / 1000);
      total.inc({ queue, outcome });
    },
  };
}
