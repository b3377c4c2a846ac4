import { withWrites } from '../ingestion/index-writes.ts';
import type { MigrationLedger, PointName } from '../ports/migration-ledger.ts';
import type { VectorIndex } from '../ports/vector-index.ts';
import { SightlineError } from '../runtime/errors.ts';

export interface MirrorDeps {
  ledger: Pick<MigrationLedger, 'noteWrites' | 'freeWrites'>;
  /** Unix milliseconds. */
  now: () => number;
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
}

/** A writer that was noted and has not said that it is done after this is dead. Longer than an index takes for a batch. */
const HELD_MS = 60_000;
/** How long a writer waits for a cut-over, which waits for nothing but the last writes. */
const WAIT_MS = 30_000;
const WAIT_STEP_MS = 50;

/**
 * A version of the index as its writers see it: what is written is owed to the version that mirrors it, from before the write until
 * it is equal there. A cut-over is waited for. One small question of the ledger for each batch; two while there is a mirror.
 * Errors beside the index's: `lease_lost` when another version takes the writes now, `index_unavailable` when none does for long.
 */
export function mirroredIndex(index: VectorIndex, version: number, deps: MirrorDeps): VectorIndex {
  const noted = async (points: PointName[], write: () => Promise<void>): Promise<void> => {
    if (points.length === 0) return;
    const { mirror, generation } = await note(points);
    try {
      await write();
    } finally {
      // Also of a write that failed: it may have been done. Not said, it is waited for as for a dead writer's.
      if (mirror !== null) await deps.ledger.freeWrites(mirror, points, { generation, at: deps.now() }).catch(() => {});
    }
  };

  const note = async (points: PointName[]): Promise<{ mirror: number | null; generation: number }> => {
    const names = points.map(({ tenant, assetId }) => ({ tenant, assetId }));
    for (const endsAt = performance.now() + WAIT_MS; ; await deps.sleep(WAIT_STEP_MS)) {
      const told = await deps.ledger.noteWrites(version, names, { heldUntil: deps.now() + HELD_MS });
      if (told.outcome === 'noted') return told;
      if (told.outcome === 'free') return { mirror: null, generation: 0 };
      if (told.outcome === 'moved')
        throw new SightlineError('lease_lost', `Version ${version} of the index takes no writes any more.`);
      if (performance.now() >= endsAt)
        throw new SightlineError('index_unavailable', 'A cut-over to another version does not end.');
    }
  };

  return withWrites(index, {
    writePictures: (writes) => noted(writes, () => index.writePictures(writes)),
    writeRecords: (writes) => noted(writes, () => index.writeRecords(writes)),
    delete: (deletions) => noted(deletions, () => index.delete(deletions)),
  });
}
