import type { FailureStorms } from '@sightline/shared/ingestion/failure-storms';
import type { EventLog } from '@sightline/shared/ports/event-log';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import type { ErrorCode } from '@sightline/shared/runtime/errors';
import type { Logger } from 'pino';
import type { Lane } from '@sightline/shared/contracts/jobs';
import type { Encoder } from './encoder.ts';
import type { PictureFeed, Stage } from './picture-feed.ts';
import { withWrites } from '@sightline/shared/ingestion/index-writes';

/** What becomes of a picture or record. */
export type Settled = 'indexed' | 'unchanged' | 'duplicate';

/** What encoding a chunk stands on. */
export interface EncodeDeps {
  store: ObjectStore;
  index: VectorIndex;
  ledger: Ledger;
  events: EventLog;
  encoder: Encoder;
  feed: PictureFeed;
  storms: FailureStorms;
  logger: Logger;
  now: () => number;
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** How long a dead worker keeps others from its keys. */
  leaseTtlMs: number;
  /** Whether a chunk that was added for these fingerprints is worked here. */
  accepts: (fingerprints: { image: string; text: string }) => boolean;
  lane: Lane;
  observe: (stage: Stage, seconds: number) => void;
  count: (outcome: Settled | 'failed', code?: ErrorCode) => void;
}

/** For one chunk. */
export interface ChunkDeps extends EncodeDeps {
  /** The encoder's passages of a text, cut once for all the pictures that carry it. */
  passagesOf: (text: string) => string[];
  /** Ids of the assets that were written or deleted. */
  written: ReadonlySet<string>;
}

export function forChunk(deps: EncodeDeps): ChunkDeps {
  const known = new Map<string, string[]>();
  const passagesOf = (text: string): string[] => {
    let passages = known.get(text);
    if (!passages) known.set(text, (passages = deps.encoder.splitPassages(text)));
    return passages;
  };
  const written = new Set<string>();
  return { ...deps, passagesOf, written, index: notingIndex(deps.index, written) };
}

/** The index, writing down what it was given to write, also when that failed halfway. */
function notingIndex(index: VectorIndex, written: Set<string>): VectorIndex {
  const note = (writes: { assetId: string }[]): void => {
    for (const { assetId } of writes) written.add(assetId);
  };
  return withWrites(index, {
    writePictures: (writes) => {
      note(writes);
      return index.writePictures(writes);
    },
    writeRecords: (writes) => {
      note(writes);
      return index.writeRecords(writes);
    },
    delete: (deletions) => {
      note(deletions);
      return index.delete(deletions);
    },
  });
}
