import { newId } from '@sightline/shared/contracts/ids';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import type { RunningService } from '@sightline/shared/runtime/lifecycle';
import type { QueueEngine } from '@sightline/shared/ports/queue-engine';
import { sleep } from '@sightline/shared/runtime/sleep';
import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import { openSqliteExpectedSet } from './adapters/sqlite-expected-set.ts';
import { openSqliteItemLines } from './adapters/sqlite-item-lines.ts';
import type { ChunkRef, PlanDeps } from './core/plan-deps.ts';
import { startSweeper } from './sweeper.ts';
import { ingestHandlers } from './worker.ts';

export interface IngestWorkerConfig {
  /** Ingestions that are planned at once. */
  concurrency: number;
  /** Chunks (of 64 objects) that may be owed before planning pauses. */
  highWaterChunks: number;
  sweepEveryMs: number;
  sweepChunksEveryMs: number;
  sweepChunksOlderThanMs: number;
  /** How long finished ingestions and their failures are kept. */
  keepIngestionsMs: number;
  /** How long the index keeps tombstones of what no user removed. */
  keepTombstonesMs: number;
  drainMs: number;
}

const DEFAULTS: IngestWorkerConfig = {
  concurrency: 4,
  highWaterChunks: 256,
  // What an ingestion waits for at its end; a look is one small query of the ledger.
  sweepEveryMs: 250,
  sweepChunksEveryMs: 30_000,
  sweepChunksOlderThanMs: 60_000,
  keepIngestionsMs: 30 * 24 * 3_600_000,
  keepTombstonesMs: 30 * 24 * 3_600_000,
  // A listing goes on from its cursor at the next start: to wait for its end would only use the deadline up.
  drainMs: 2_000,
};

export interface IngestWorkerDeps {
  store: ObjectStore;
  index: VectorIndex;
  ledger: Ledger;
  queue: QueueEngine;
  logger: Logger;
  registry: Registry;
  /** What is left out has its default. */
  config: Partial<IngestWorkerConfig>;
}

/** Starts planning and finishing ingestions, and the sweep that makes the ledger's word good. */
export async function startIngestWorker(deps: IngestWorkerDeps): Promise<RunningService> {
  const { store, index, ledger, queue, logger } = deps;
  const config: IngestWorkerConfig = { ...DEFAULTS, ...deps.config };
  const enqueueChunk = async ({ tenant, ingestionId, chunkNo }: ChunkRef, traceId: string): Promise<void> => {
    const fingerprints = { image: index.spec.image.fingerprint, text: index.spec.text.fingerprint };
    const data = { tenant, ingestionId, chunkNo, fingerprints, traceId };
    await queue.add('encode', data, { lane: 'bulk', jobId: `${ingestionId}-${chunkNo}` });
  };
  const planDeps: PlanDeps = {
    store,
    index,
    ledger,
    logger,
    enqueueChunk,
    openItemLines: openSqliteItemLines,
    openExpectedSet: openSqliteExpectedSet,
    now: Date.now,
    sleep,
    highWaterChunks: config.highWaterChunks,
  };
  gaugeLedger(deps.registry, ledger);
  const worker = await queue.work('plan', ingestHandlers(planDeps).plan, { concurrency: config.concurrency });
  const sweeper = startSweeper(
    {
      ledger,
      index,
      enqueuePlan: ({ tenant, ingestionId }) =>
        queue.add('plan', { tenant, ingestionId, traceId: newId() }, { lane: 'event', jobId: `plan-${ingestionId}` }),
      enqueueChunk: (chunk) => enqueueChunk(chunk, newId()),
      now: Date.now,
    },
    {
      everyMs: config.sweepEveryMs,
      chunksEveryMs: config.sweepChunksEveryMs,
      chunksOlderThanMs: config.sweepChunksOlderThanMs,
      keepIngestionsMs: config.keepIngestionsMs,
      keepTombstonesMs: config.keepTombstonesMs,
    },
    logger,
  );
  return {
    name: 'ingest-worker',
    ready: async () => {
      await queue.ping();
      await ledger.countOutstandingChunks();
    },
    close: async () => {
      await sweeper.stop();
      await worker.close(config.drainMs);
    },
  };
}

function gaugeLedger(registry: Registry, ledger: Ledger): void {
  const owed = new Gauge({
    name: 'sightline_ledger_outstanding_chunks',
    help: 'Chunks that are owed, in the queue or not.',
    registers: [registry],
    collect: async () => {
      // A ledger that does not answer leaves the value out.
      owed.reset();
      const count = await ledger.countOutstandingChunks().catch(() => null);
      if (count !== null) owed.set(count);
    },
  });
}
