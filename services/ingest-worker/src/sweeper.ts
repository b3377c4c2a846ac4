import { setTimeout as sleepFor } from 'node:timers/promises';
import { SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { Logger } from 'pino';
import { sweepAudits, type SweepAuditDeps } from './core/due-audits.ts';
import {
  purgeTombstones,
  sweepChanges,
  sweepChunks,
  sweepIngestions,
  type PurgeDeps,
  type SweepChangesDeps,
  type SweepDeps,
} from './core/sweep.ts';

export interface SweeperConfig {
  /** Between two looks at the ingestions. */
  everyMs: number;
  /** Between two looks at the chunks that are owed. */
  chunksEveryMs: number;
  /** Between two looks at the changes that are owed. */
  changesEveryMs: number;
  /** Younger chunks are surely in the queue still. */
  chunksOlderThanMs: number;
  /** Between two looks at the audits that are not over. */
  auditsEveryMs: number;
  /** Finished ingestions are forgotten after that, with their failures, but the newest of each source; audits and reports go then too. */
  keepIngestionsMs: number;
  /** Tombstones of the index are dropped after that. */
  keepTombstonesMs: number;
}

const PRUNE_EVERY_MS = 3_600_000;

/** Sweeps at once, then again and again until stopped; a sweep that fails is tried again at its next turn. */
export function startSweeper(
  deps: SweepDeps &
    SweepChangesDeps &
    PurgeDeps &
    SweepAuditDeps & { ledger: Pick<Ledger, 'prune'>; store: Pick<ObjectStore, 'expire'> },
  config: SweeperConfig,
  logger: Logger,
): { stop: () => Promise<void> } {
  const stopping = new AbortController();
  const run = async (): Promise<void> => {
    let chunksAt = performance.now();
    let auditsAt = performance.now();
    let pruneAt = performance.now();
    let changesAt = performance.now();
    // At the start whatever is owed is driven: the queue may be new.
    let olderThanMs = 0;
    while (!stopping.signal.aborted) {
      try {
        if (performance.now() >= chunksAt) {
          const driven = await sweepChunks(deps, { olderThanMs });
          if (driven > 0) logger.info({ driven }, 'chunks that are owed');
          olderThanMs = config.chunksOlderThanMs;
          chunksAt = performance.now() + config.chunksEveryMs;
        }
        await sweepIngestions(deps);
        if (performance.now() >= changesAt) {
          changesAt = performance.now() + config.changesEveryMs;
          await sweepChanges(deps);
        }
        if (performance.now() >= auditsAt) {
          auditsAt = performance.now() + config.auditsEveryMs;
          await sweepAudits(deps);
        }
        if (performance.now() >= pruneAt) {
          // Before it is tried: what is away then must not have all of it done again every turn.
          pruneAt = performance.now() + PRUNE_EVERY_MS;
          await deps.ledger.prune(deps.now() - config.keepIngestionsMs);
          await deps.store.expire({ bucket: SYSTEM_BUCKET, prefix: 'reports/', olderThanMs: config.keepIngestionsMs });
          const purged = await purgeTombstones(deps, { olderThanMs: config.keepTombstonesMs });
          if (purged > 0) logger.info({ purged }, 'old tombstones');
        }
      } catch (error) {
        logger.warn({ err: error }, 'sweep');
      }
      await sleepFor(config.everyMs, undefined, { signal: stopping.signal }).catch(() => {});
    }
  };
  const running = run();
  return {
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}
