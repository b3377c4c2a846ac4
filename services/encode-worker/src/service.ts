import { newId } from '@sightline/shared/contracts/ids';
import type { Lane } from '@sightline/shared/contracts/jobs';
import { FailureStorms, STORM_DEFAULTS, type StormLimits } from '@sightline/shared/ingestion/failure-storms';
import { fencedIndex } from '@sightline/shared/ingestion/tenant-fence';
import type { EventLog } from '@sightline/shared/ports/event-log';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { RunningService } from '@sightline/shared/runtime/lifecycle';
import type { JobWorker, QueueEngine } from '@sightline/shared/ports/queue-engine';
import { sleep } from '@sightline/shared/runtime/sleep';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { ownedCores } from './adapters/owned-cores.ts';
import type { Encoder } from './core/encoder.ts';
import { PictureBatcher } from './core/picture-batcher.ts';
import { PictureFeed } from './core/picture-feed.ts';
import { openEncodeMetrics } from './metrics.ts';
import { encodeHandlers } from './worker.ts';

export interface EncodeWorkerConfig {
  /** `interactive` serves queries, `event` changes, `bulk` the chunks of ingestions. */
  lanes: Lane[];
  /** Chunks at once: two or more, so that one is fetched and decoded while another is written. */
  concurrency: number;
  /** Queries at once. */
  queryConcurrency: number;
  /** Batches of changes at once. */
  changeConcurrency: number;
  /** Pictures in one call of the encoder; the encoder cuts that to what it can take. */
  maxBatch: number;
  maxPictureBytes: number;
  bytesInFlight: number;
  decodeConcurrency: number;
  decodedAhead: number;
  leaseTtlMs: number;
  /** When failures are more than single objects' own. */
  storm: StormLimits;
  /** How long closing waits for running jobs before it hands them back. */
  drainMs: number;
}

export const ENCODE_WORKER_DEFAULTS: Readonly<EncodeWorkerConfig> = {
  lanes: ['interactive', 'event', 'bulk'],
  concurrency: 3,
  queryConcurrency: 8,
  changeConcurrency: 2,
  maxBatch: 32,
  maxPictureBytes: 64 * 1024 * 1024,
  bytesInFlight: 256 * 1024 * 1024,
  // One more than there are cores: between two pictures a decoder waits for the event loop, and its core would idle.
  decodeConcurrency: ownedCores() + 1,
  decodedAhead: 96,
  leaseTtlMs: 15_000,
  storm: STORM_DEFAULTS,
  drainMs: 20_000,
};

/** Of the feed for changes, beside that for bulk work: enough for one batch. */
const EVENT_LIMITS = { bytesInFlight: 128 * 1024 * 1024, decodeConcurrency: 2, decodedAhead: 32 };

export interface EncodeWorkerDeps {
  store: ObjectStore;
  index: VectorIndex;
  ledger: Ledger;
  events: EventLog;
  queue: QueueEngine;
  encoder: Encoder;
  logger: Logger;
  registry: Registry;
  /** What is left out has its default. */
  config: Partial<EncodeWorkerConfig>;
}

/** Starts working the lanes. Errors: `index_encoder_mismatch` when index and encoder are of different packs. */
export async function startEncodeWorker(deps: EncodeWorkerDeps): Promise<RunningService> {
  const { store, ledger, events, queue, encoder, logger } = deps;
  const index = fencedIndex(deps.index, ledger);
  const config: EncodeWorkerConfig = { ...ENCODE_WORKER_DEFAULTS, ...deps.config };
  assertSamePack(index, encoder);
  const metrics = openEncodeMetrics(deps.registry);
  const observe = metrics.observe;
  const batcher = new PictureBatcher(encoder, { lane: 'bulk', maxBatch: config.maxBatch, onBatch: metrics.observeBatch });
  const feed = new PictureFeed({ store, index, encoder, batcher, observe }, config);
  const chunk = {
    store,
    index,
    ledger,
    events,
    encoder,
    feed,
    storms: new FailureStorms(config.storm),
    logger,
    now: Date.now,
    sleep,
    leaseTtlMs: config.leaseTtlMs,
    lane: 'bulk' as const,
    observe,
    count: metrics.count,
  };
  // Of its own all the way to the encoder, so that a change waits for one batch of bulk work at most.
  const eventBatcher = new PictureBatcher(encoder, { lane: 'event', maxBatch: config.maxBatch, onBatch: metrics.observeBatch });
  const eventFeed = new PictureFeed({ store, index, encoder, batcher: eventBatcher, observe }, { ...config, ...EVENT_LIMITS });
  const handlers = encodeHandlers({
    chunk,
    changes: { ...chunk, feed: eventFeed, lane: 'event', observeFreshness: metrics.observeFreshness, workerId: newId() },
    queue,
    query: { store, encoder, now: Date.now, maxPictureBytes: config.maxPictureBytes },
  });
  const workers: JobWorker[] = [];
  try {
    if (config.lanes.includes('interactive')) {
      workers.push(await queue.work('encode-query', handlers['encode-query'], { concurrency: config.queryConcurrency }));
    }
    if (config.lanes.includes('event')) {
      workers.push(await queue.work('encode-changes', handlers['encode-changes'], { concurrency: config.changeConcurrency }));
    }
    if (config.lanes.includes('bulk')) {
      workers.push(await queue.work('encode', handlers.encode, { concurrency: config.concurrency }));
    }
  } catch (error) {
    await Promise.allSettled(workers.map((worker) => worker.close(0)));
    throw error;
  }
  return {
    name: 'encode-worker',
    ready: async () => {
      await queue.ping();
      const [encoded] = await encoder.encodeTexts(['ready?'], { space: 'image', purpose: 'query', lane: 'interactive' });
      if (!encoded?.vector.some((value) => value !== 0)) throw new SightlineError('encoder_failed', 'The encoder answers zeros.');
    },
    close: async () => {
      await Promise.all(workers.map((worker) => worker.close(config.drainMs)));
    },
  };
}

function assertSamePack(index: VectorIndex, encoder: Encoder): void {
  for (const space of ['image', 'text'] as const) {
    if (index.spec[space].fingerprint === encoder.spec[space].fingerprint) continue;
    throw new SightlineError(
      'index_encoder_mismatch',
      `The ${space} vectors of the index are not those of the pack ${encoder.packName}: start with the pack that made them, or ingest again into a new DATA_DIR.`,
    );
  }
}
