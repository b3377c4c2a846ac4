import { pinned } from '@sightline/shared/migration/serving-index';
import { isSameSpec } from '@sightline/shared/migration/same-spec';
import type { JobWorker } from '@sightline/shared/ports/queue-engine';
import type { IndexSpec, VectorIndex } from '@sightline/shared/ports/vector-index';
import type { Logger } from 'pino';

export interface ChunkServiceDeps {
  /** Followed, when it is one that follows. */
  index: VectorIndex;
  spec: IndexSpec;
  /** Starts working changes and chunks into this version. */
  work: (index: VectorIndex) => Promise<JobWorker[]>;
  drainMs: number;
  logger: Logger;
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
}

const LOOK_EVERY_MS = 200;

/** Works changes and chunks for as long as the version that serves is one of this worker's encoder: a cut-over stops it, or starts it. */
export async function openChunkService(deps: ChunkServiceDeps): Promise<{ close: () => Promise<void> }> {
  const stop = new AbortController();
  let current: { index: VectorIndex; workers: JobWorker[] } | null = null;
  const end = (workers: JobWorker[]) => Promise.all(workers.map((worker) => worker.close(deps.drainMs)));
  const look = async (): Promise<void> => {
    const index = pinned(deps.index);
    const wanted = isSameSpec(index.spec, deps.spec) ? index : null;
    if (current?.index === (wanted ?? undefined)) return;
    if (current) {
      const { workers } = current;
      current = null;
      await end(workers);
    }
    if (wanted) current = { index: wanted, workers: await deps.work(wanted) };
    deps.logger.info({ works: wanted !== null }, 'chunks for the version of the index that serves');
  };
  await look();
  const looking = (async (): Promise<void> => {
    while (!stop.signal.aborted) {
      await deps.sleep(LOOK_EVERY_MS, stop.signal).catch(() => {});
      if (!stop.signal.aborted)
        await look().catch((error: unknown) => deps.logger.warn({ err: error }, 'the version that serves'));
    }
  })();
  return {
    close: async () => {
      stop.abort();
      await looking;
      if (current) await end(current.workers);
    },
  };
}
