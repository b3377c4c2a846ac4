import type { ErrorCode } from '@sightline/shared/runtime/errors';
import { Counter, Histogram, type Registry } from 'prom-client';
import type { Settled } from './core/encode-deps.ts';
import type { CopyOutcome } from './core/migration/migration-deps.ts';
import type { Stage } from './core/picture-feed.ts';

/** What the encode worker measures. */
export interface EncodeMetrics {
  count: (outcome: Settled | 'failed', code?: ErrorCode) => void;
  observe: (stage: Stage, seconds: number) => void;
  observeBatch: (size: number) => void;
  /** Points copied to another version of the index, by what became of them. */
  countCopies: (outcome: CopyOutcome, points: number) => void;
  observeFreshness: (seconds: number) => void;
}

const STAGE_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const FRESHNESS_SECONDS = [0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300, 1_800, 3_600, 6 * 3_600, 24 * 3_600];

/** While the index is migrated, one process may have the workers of two packs, which count together. */
const opened = new WeakMap<Registry, EncodeMetrics>();

export function openEncodeMetrics(registry: Registry): EncodeMetrics {
  const metrics = opened.get(registry) ?? newEncodeMetrics(registry);
  opened.set(registry, metrics);
  return metrics;
}

function newEncodeMetrics(registry: Registry): EncodeMetrics {
  const registers = [registry];
  const images = new Counter({
    name: 'sightline_images_total',
    help: 'Listed things dealt with, by what became of them.',
    labelNames: ['outcome'],
    registers,
  });
  const failures = new Counter({
    name: 'sightline_image_failures_total',
    help: 'Failures that were recorded, by code.',
    labelNames: ['code'],
    registers,
  });
  const batches = new Histogram({
    name: 'sightline_encode_batch_pictures',
    help: 'Pictures handed to the encoder at once.',
    buckets: [1, 2, 4, 8, 16, 32, 64],
    registers,
  });
  const stages = new Histogram({
    name: 'sightline_encode_stage_seconds',
    help: 'Time of one picture in a stage (fetch, decode, encode with its wait) or of one write.',
    labelNames: ['stage'],
    buckets: STAGE_SECONDS,
    registers,
  });
  const copies = new Counter({
    name: 'sightline_migration_points_total',
    help: 'Points looked at for another version of the index, by what became of them.',
    labelNames: ['outcome'],
    registers,
  });
  const freshness = new Histogram({
    name: 'sightline_freshness_seconds',
    help: "From the writing of an object or record, by its source's clock, to its being found, for changes that were told of.",
    buckets: FRESHNESS_SECONDS,
    registers,
  });
  return {
    countCopies: (outcome, points) => copies.inc({ outcome }, points),
    count: (outcome, code) => {
      images.inc({ outcome });
      if (code !== undefined) failures.inc({ code });
    },
    observe: (stage, seconds) => stages.observe({ stage }, seconds),
    observeBatch: (size) => batches.observe(size),
    observeFreshness: (seconds) => freshness.observe(seconds),
  };
}
