import { Histogram, type Registry } from 'prom-client';
import type { BatchReport } from './core/batch-scheduler.ts';

/** What the encoder's own process is given and how long it takes: the bound on what an interactive batch waits behind. */
export function openBatchMetrics(registry: Registry): (report: BatchReport) => void {
  const observe = opened.get(registry) ?? newBatchMetrics(registry);
  opened.set(registry, observe);
  return observe;
}

/** While the index is migrated, one process may have two encoders, which count together. */
const opened = new WeakMap<Registry, (report: BatchReport) => void>();

function newBatchMetrics(registry: Registry): (report: BatchReport) => void {
  const registers = [registry];
  const labelNames = ['graph', 'lane'];
  const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
  const sizes = new Histogram({
    name: 'sightline_encoder_batch_inputs',
    help: 'Inputs of a computed batch.',
    labelNames,
    buckets: [1, 2, 4, 8, 16, 32, 64],
    registers,
  });
  const compute = new Histogram({
    name: 'sightline_encoder_batch_seconds',
    help: 'How long a batch was computed.',
    labelNames,
    buckets,
    registers,
  });
  const wait = new Histogram({
    name: 'sightline_encoder_wait_seconds',
    help: "How long a batch's first input had waited.",
    labelNames,
    buckets,
    registers,
  });
  return ({ group, lane, count, computeMs, waitMs }) => {
    sizes.observe({ graph: group, lane }, count);
    compute.observe({ graph: group, lane }, computeMs / 1000);
    wait.observe({ graph: group, lane }, waitMs / 1000);
  };
}
