import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import type { Logger } from 'pino';
import type { ExpectedSet } from './expected-set.ts';
import type { ItemLines } from './item-lines.ts';

/** A chunk of an ingestion, as the queue carries it. */
export interface ChunkRef {
  tenant: string;
  ingestionId: string;
  chunkNo: number;
}

/** What planning and finishing stand on. */
export interface PlanDeps {
  store: ObjectStore;
  index: VectorIndex;
  ledger: Ledger;
  logger: Logger;
  /** Hands a chunk to the encode workers; the same chunk twice is one job. */
  enqueueChunk: (chunk: ChunkRef, traceId: string) => Promise<void>;
  /** Sets on disk, empty; whoever opens closes. */
  openItemLines: () => ItemLines;
  openExpectedSet: () => ExpectedSet;
  now: () => number;
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** Planning pauses while this many chunks are owed. */
  highWaterChunks: number;
}
