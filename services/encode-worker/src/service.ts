import { newId } from '@sightline/shared/contracts/ids';
import { encodeQueryResult, type JobData, type Lane } from '@sightline/shared/contracts/jobs';
import { FailureStorms, STORM_DEFAULTS, type StormLimits } from '@sightline/shared/ingestion/failure-storms';
import { CHANGES_A_JOB } from '@sightline/shared/ingestion/drive-changes';
import { fencedIndex } from '@sightline/shared/ingestion/tenant-fence';
import { latestMigration } from '@sightline/shared/migration/change-migration';
import { assertSameSpec, isSameSpec } from '@sightline/shared/migration/same-spec';
import type { EventLog } from '@sightline/shared/ports/event-log';
import type { IndexVersions } from '@sightline/shared/ports/index-versions';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { IndexSpec, VectorIndex } from '@sightline/shared/ports/vector-index';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { RunningService } from '@sightline/shared/runtime/lifecycle';
import type { JobWorker, QueueEngine } from '@sightline/shared/ports/queue-engine';
import { sleep } from '@sightline/shared/runtime/sleep';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { ownedCores } from '@sightline/shared/runtime/owned-cores';
import { encodeQuery } from './core/encode-query.ts';
import type { Encoder } from './core/encoder.ts';
import { PictureBatcher } from './core/picture-batcher.ts';
import { PictureFeed } from './core/picture-feed.ts';
import { openChunkService } from './chunk-service.ts';
import { MIGRATION_SETTINGS, type MigrationSettings } from './core/migration/migration-deps.ts';
import { roleIn } from './core/migration/migration-role.ts';
import { openEncodeMetrics, type EncodeMetrics } from './metrics.ts';
import { OpenVersions, startMigrator } from './migrator.ts';
import { QueryPeers } from './query-peers.ts';
import { encodeHandlers, type EncodeHandlers } from './worker.ts';

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
  migration: MigrationSettings;
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
  migration: MIGRATION_SETTINGS,
};

/** Of the feed for changes, beside that for bulk work: enough for one batch. */
const EVENT_LIMITS = { bytesInFlight: 128 * 1024 * 1024, decodeConcurrency: 2, decodedAhead: 32 };

export interface EncodeWorkerDeps {
  store: ObjectStore;
  index: VectorIndex;
  /** With it the worker has a part in migrations of the index from its pack and to it. */
  versions?: IndexVersions;
  ledger: Ledger;
  events: EventLog;
  queue: QueueEngine;
  encoder: Encoder;
  /** Workers of other packs in the same process, who are given their queries at once. */
  peers?: QueryPeers;
  /** The name that the pack was asked for by, such as ENCODER_PACK; its own name when left out. */
  pack?: string;
  logger: Logger;
  registry: Registry;
  /** What is left out has its default. */
  config: Partial<EncodeWorkerConfig>;
}

/**
 * Starts working the lanes. Errors: `index_encoder_mismatch` when index and encoder are of different packs, and no migration is going
 * from or to this one.
 */
export async function startEncodeWorker(deps: EncodeWorkerDeps): Promise<RunningService> {
  const { store, ledger, events, queue, encoder, logger, versions } = deps;
  const config: EncodeWorkerConfig = { ...ENCODE_WORKER_DEFAULTS, ...deps.config };
  const pack = deps.pack ?? encoder.packName;
  const migration = versions ? await latestMigration(ledger) : null;
  if (!migration || roleIn(migration, encoder, pack) === null) assertSameSpec(deps.index.spec, encoder.spec);
  const metrics = openEncodeMetrics(deps.registry);
  const { observe } = metrics;
  const batcher = new PictureBatcher(encoder, { lane: 'bulk', maxBatch: config.maxBatch, onBatch: metrics.observeBatch });
  const feedOf = (index: VectorIndex): PictureFeed => new PictureFeed({ store, index, encoder, batcher, observe }, config);
  // Of its own all the way to the encoder, so that a change waits for one batch of bulk work at most.
  const eventBatcher = new PictureBatcher(encoder, { lane: 'event', maxBatch: config.maxBatch, onBatch: metrics.observeBatch });
  const { fingerprint: image } = encoder.spec.image;
  const { fingerprint: text } = encoder.spec.text;
  const workerId = newId();
  const handlersFor = (version: VectorIndex): EncodeHandlers => {
    const index = fencedIndex(version, ledger);
    const chunk = {
      store,
      index,
      ledger,
      events,
      encoder,
      feed: feedOf(index),
      storms: new FailureStorms(config.storm),
      logger,
      now: Date.now,
      sleep,
      leaseTtlMs: config.leaseTtlMs,
      // A job names objects and no vectors: across a cut-over it is worked by whom the version that serves belongs to.
      accepts: (asked: { image: string; text: string }) =>
        versions !== undefined || (asked.image === image && asked.text === text),
      lane: 'bulk' as const,
      observe,
      count: metrics.count,
    };
    const eventFeed = new PictureFeed({ store, index, encoder, batcher: eventBatcher, observe }, { ...config, ...EVENT_LIMITS });
    return encodeHandlers({
      chunk,
      changes: { ...chunk, feed: eventFeed, lane: 'event', observeFreshness: metrics.observeFreshness, workerId },
      queue,
      query: { store, encoder, now: Date.now, maxPictureBytes: config.maxPictureBytes },
    });
  };
  const closing: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => void (await Promise.all(closing.splice(0).map((one) => one())));
  try {
    if (config.lanes.includes('interactive')) {
      const own = handlersFor(deps.index)['encode-query'];
      const peers = deps.peers ?? new QueryPeers();
      closing.push(peers.add(encoder.spec, own));
      const worker = await queue.work('encode-query', peers.handlerBeside(own), { concurrency: config.queryConcurrency });
      closing.push(() => worker.close(config.drainMs));
    }
    if (config.lanes.includes('event') || config.lanes.includes('bulk')) {
      const work = (index: VectorIndex) => workLanes(queue, config, handlersFor(index));
      const chunks = await openChunkService({ ...deps, spec: encoder.spec, work, drainMs: config.drainMs, sleep });
      closing.push(() => chunks.close());
      if (versions) closing.push(openMigrations({ ...deps, versions, pack, feedOf, config, count: metrics.countCopies }));
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    name: 'encode-worker',
    ready: async () => {
      await queue.ping();
      const [encoded] = await encoder.encodeTexts(['ready?'], { space: 'image', purpose: 'query', lane: 'interactive' });
      if (!encoded?.vector.some((value) => value !== 0)) throw new SightlineError('encoder_failed', 'The encoder answers zeros.');
    },
    close,
  };
}

/** Works changes and chunks. Answers its workers. */
async function workLanes(queue: QueueEngine, config: EncodeWorkerConfig, handlers: EncodeHandlers): Promise<JobWorker[]> {
  const workers: JobWorker[] = [];
  try {
    if (config.lanes.includes('event'))
      workers.push(await queue.work('encode-changes', handlers['encode-changes'], { concurrency: config.changeConcurrency }));
    if (config.lanes.includes('bulk'))
      workers.push(await queue.work('encode', handlers.encode, { concurrency: config.concurrency }));
  } catch (error) {
    await Promise.allSettled(workers.map((worker) => worker.close(0)));
    throw error;
  }
  return workers;
}

/** The worker's part in migrations. Answers what ends it. */
function openMigrations({
  versions,
  ledger,
  store,
  encoder,
  queue,
  logger,
  pack,
  feedOf,
  config,
  count,
}: EncodeWorkerDeps & {
  versions: IndexVersions;
  pack: string;
  feedOf: (index: VectorIndex) => PictureFeed;
  config: EncodeWorkerConfig;
  count: EncodeMetrics['countCopies'];
}): () => Promise<void> {
  const opened = new OpenVersions(versions);
  const feeds = new WeakMap<VectorIndex, PictureFeed>();
  const migrator = startMigrator({
    ledger,
    versions,
    store,
    encoder,
    pack,
    open: (version, spec) => opened.open(version, spec),
    feedOf: (index) => {
      const feed = feeds.get(index) ?? feedOf(index);
      feeds.set(index, feed);
      return feed;
    },
    encodeQuery: async (spec, tenant, query) => {
      const job = queryJob(spec, tenant, query, config.migration.queryTimeoutMs);
      const { maxPictureBytes } = config;
      if (isSameSpec(spec, encoder.spec))
        return encodeQuery({ store, encoder, now: Date.now, maxPictureBytes }, job, new AbortController().signal);
      // Behind the searches that somebody waits for.
      const options = { lane: 'bulk' as const, timeoutMs: config.migration.queryTimeoutMs };
      return encodeQueryResult.parse(await queue.request('encode-query', job, options));
    },
    liveWork: async () => {
      const owed = (await ledger.owedChanges(Date.now())).reduce((sum, tenant) => sum + tenant.owed, 0);
      return (await ledger.countOutstandingChunks()) + Math.floor(owed / CHANGES_A_JOB);
    },
    count,
    logger: logger.child({ component: 'migration' }),
    now: Date.now,
    sleep,
    settings: config.migration,
  });
  return async () => {
    await migrator.close();
    await opened.close();
  };
}

function queryJob(spec: IndexSpec, tenant: string, query: string, timeoutMs: number): JobData<'encode-query'> {
  return {
    tenant,
    fingerprints: { image: spec.image.fingerprint, text: spec.text.fingerprint },
    query,
    traceId: newId(),
    expiresAt: Date.now() + timeoutMs,
  };
}
