import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { openQueueEngine } from '../adapters/bullmq-queue-engine.ts';
import type { QueuePlace } from '../adapters/bullmq-backends.ts';
import { LocalObjectStore } from '../adapters/local-object-store.ts';
import type { SkipReason } from '../adapters/local-walk.ts';
import { SqliteLedger } from '../adapters/sqlite-ledger.ts';
import { openSqliteVectorIndex } from '../adapters/sqlite-vector-index.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { IndexSpec, VectorIndex } from '../ports/vector-index.ts';
import { SightlineError } from './errors.ts';
import type { Closer } from './lifecycle.ts';
import { gaugeQueues } from './metrics.ts';
import type { QueueEngine } from '../ports/queue-engine.ts';

export interface Engines {
  store: ObjectStore;
  ledger: Ledger;
  index: VectorIndex;
  queue: QueueEngine;
}

export interface EnginesConfig {
  /** Index, ledger, thumbnails and the queries' pictures lie here; every service of one stack names the same. */
  dataDir: string;
  queue: QueuePlace;
  /** What the index is opened for; absent in services without an encoder, which take the index as they find it. */
  indexSpec?: IndexSpec;
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
export async function openEngines(
  config: EnginesConfig,
  deps: { logger: Logger; registry: Registry; closer: Closer },
): Promise<Engines> {
  const { logger, registry, closer } = deps;
  const files = dataFiles(config.dataDir);
  mkdirSync(files.root, { recursive: true });
  const store = new LocalObjectStore({
    dataDir: files.root,
    onSkip: (ref, reason) => logger[MISSED.has(reason) ? 'warn' : 'debug']({ ...ref, reason }, 'left out of the listing'),
  });
  closer.push('object store', () => store.close());
  const ledger = await SqliteLedger.open({ file: files.ledger });
  closer.push('ledger', () => ledger.close());
  const index = config.indexSpec
    ? await openSqliteVectorIndex({ file: files.index, spec: config.indexSpec })
    : await waitForIndex(files.index, logger);
  closer.push('index', () => index.close());
  const queue = await openQueueEngine(config.queue, { logger, registry });
  closer.push('queue', () => queue.close());
  gaugeQueues(registry, queue);
  return { store, ledger, index, queue };
}

/** The encode worker makes the index, with its pack's fingerprints; who starts before it waits. Error: `index_unavailable`. */
async function waitForIndex(file: string, logger: Logger): Promise<VectorIndex> {
  for (const startedAt = performance.now(); ; await sleep(INDEX_LOOK_EVERY_MS)) {
    try {
      return await openSqliteVectorIndex({ file });
    } catch (error) {
      const mayPass = error instanceof SightlineError && error.code === 'index_unavailable';
      if (!mayPass || performance.now() - startedAt > INDEX_WAIT_MS) throw error;
      logger.info({ file }, 'waiting for an encode worker to make the index');
    }
  }
}
