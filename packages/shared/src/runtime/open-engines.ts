import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleepFor } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { openQueueEngine } from '../adapters/bullmq-queue-engine.ts';
import type { QueuePlace } from '../adapters/bullmq-backends.ts';
import { InProcessEventLog } from '../adapters/in-process-event-log.ts';
import type { KafkaPlace } from '../adapters/kafka-client.ts';
import { openKafkaEventLog } from '../adapters/kafka-event-log.ts';
import { LocalObjectStore } from '../adapters/local-object-store.ts';
import type { SkipReason } from '../adapters/local-walk.ts';
import { qdrantIndexVersions } from '../adapters/qdrant-index-versions.ts';
import type { QdrantIndexOptions } from '../adapters/qdrant-vector-index.ts';
import { RedisLedger } from '../adapters/redis-ledger.ts';
import type { S3Place } from '../adapters/s3-object-store-client.ts';
import { openS3ObjectStore } from '../adapters/s3-object-store.ts';
import { SqliteLedger } from '../adapters/sqlite-ledger.ts';
import { sqliteIndexVersions } from '../adapters/sqlite-index-versions.ts';
import { ServingIndex } from '../migration/serving-index.ts';
import type { EventLog } from '../ports/event-log.ts';
import type { IndexVersions } from '../ports/index-versions.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { QueueEngine } from '../ports/queue-engine.ts';
import type { IndexSpec } from '../ports/vector-index.ts';
import { SightlineError } from './errors.ts';
import type { Closer } from './lifecycle.ts';
import { gaugeQueues } from './metrics.ts';
import { sleep } from './sleep.ts';

export interface Engines {
  store: ObjectStore;
  ledger: Ledger;
  versions: IndexVersions;
  /** The version that serves, followed. */
  index: ServingIndex;
  events: EventLog;
  queue: QueueEngine;
}

/** Where the engines are; null is the embedded twin. Every service of one stack names the same. */
export interface EnginePlaces {
  /** What is embedded keeps its files here; so do pulled packs and the log. */
  dataDir: string;
  ledger: { url: string; prefix: string } | null;
  s3: S3Place | null;
  qdrant: QdrantIndexOptions | null;
  kafka: KafkaPlace | null;
}

export interface EnginesConfig extends EnginePlaces {
  queue: QueuePlace;
  /** What an index is made for where there is none; absent in services without an encoder, which take the index as they find it. */
  indexSpec?: IndexSpec;
}

export interface EnginesDeps {
  logger: Logger;
  registry: Registry;
  closer: Closer;
}

const INDEX_WAIT_MS = 120_000;
const INDEX_LOOK_EVERY_MS = 1_000;

/** Where the stack keeps what, below the data directory. */
export function dataFiles(dataDir: string) {
  const root = resolve(dataDir);
  return {
    root,
    index: join(root, 'index.db'),
    ledger: join(root, 'ledger.db'),
    packs: join(root, 'packs'),
    log: join(root, 'sightline.log'),
  };
}

/** What somebody may have meant to be found: an operator has to hear of it. */
const MISSED: ReadonlySet<SkipReason> = new Set(['unreadable_folder', 'unreadable_file', 'key_too_long', 'name_not_utf8']);

/** Opens the ports by configuration, cheapest first; each goes onto the closer. */
export async function openEngines(config: EnginesConfig, deps: EnginesDeps): Promise<Engines> {
  const { logger, registry, closer } = deps;
  mkdirSync(dataFiles(config.dataDir).root, { recursive: true });
  const store = await openObjectStore(config, deps);
  const ledger = await openLedger(config, deps);
  const versions = openIndexVersions(config, deps);
  const index = await openIndex(versions, { ...config, ledger }, deps);
  const events = config.kafka ? await openKafkaEventLog(config.kafka, { logger, registry }) : new InProcessEventLog({ logger });
  closer.push('event log', () => events.close());
  const queue = await openQueueEngine(config.queue, { logger, registry });
  closer.push('queue', () => queue.close());
  gaugeQueues(registry, queue);
  return { store, ledger, versions, index, events, queue };
}

export async function openObjectStore(
  { dataDir, s3 }: Pick<EnginePlaces, 'dataDir' | 's3'>,
  { logger, closer }: Omit<EnginesDeps, 'registry'>,
): Promise<ObjectStore> {
  const store = s3
    ? await openS3ObjectStore(s3, {
        sleep,
        random: Math.random,
        now: Date.now,
        onSkip: (ref, reason) => logger.warn({ ...ref, reason }, 'left out of the listing'),
      })
    : new LocalObjectStore({
        dataDir: dataFiles(dataDir).root,
        onSkip: (ref, reason) => logger[MISSED.has(reason) ? 'warn' : 'debug']({ ...ref, reason }, 'left out of the listing'),
      });
  closer.push('object store', () => store.close());
  return store;
}

export async function openLedger(
  { dataDir, ledger: place }: Pick<EnginePlaces, 'dataDir' | 'ledger'>,
  { logger, closer }: Omit<EnginesDeps, 'registry'>,
): Promise<Ledger> {
  const ledger = place
    ? await RedisLedger.open({ ...place, logger: logger.child({ component: 'ledger' }) })
    : await SqliteLedger.open({ file: dataFiles(dataDir).ledger });
  closer.push('ledger', () => ledger.close());
  return ledger;
}

export function openIndexVersions(
  { dataDir, qdrant }: Pick<EnginePlaces, 'dataDir' | 'qdrant'>,
  { closer }: Pick<EnginesDeps, 'closer'>,
): IndexVersions {
  const versions = qdrant ? qdrantIndexVersions(qdrant) : sqliteIndexVersions({ file: dataFiles(dataDir).index });
  closer.push('index versions', () => versions.close());
  return versions;
}

/** The version that serves. Without a spec the encode worker makes the first one, and who starts before waits. */
export async function openIndex(
  versions: IndexVersions,
  { ledger, indexSpec }: { ledger: Ledger; indexSpec?: IndexSpec },
  { logger, closer }: Omit<EnginesDeps, 'registry'>,
  { waitMs = INDEX_WAIT_MS }: { waitMs?: number } = {},
): Promise<ServingIndex> {
  const open = async (): Promise<ServingIndex> => {
    if (indexSpec) await versions.found(indexSpec);
    return ServingIndex.open({ versions, ledger, logger, now: Date.now, sleep });
  };
  const index = await whenThere(open, waitMs, logger);
  closer.push('index', () => index.close());
  return index;
}

/** Error: `index_unavailable` after `waitMs` of it. */
async function whenThere(open: () => Promise<ServingIndex>, waitMs: number, logger: Logger): Promise<ServingIndex> {
  for (const startedAt = performance.now(); ; await sleepFor(INDEX_LOOK_EVERY_MS)) {
    try {
      return await open();
    } catch (error) {
      const mayPass = error instanceof SightlineError && error.code === 'index_unavailable';
      if (!mayPass || performance.now() - startedAt >= waitMs) throw error;
      logger.info({ err: error }, 'waiting for the index');
    }
  }
}
