import type { FailureStorms } from '@sightline/shared/ingestion/failure-storms';
import type { EventLog } from '@sightline/shared/ports/event-log';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import type { Logger } from 'pino';
import type { Backlog } from './backlog.ts';
import type { ExpectedSet } from './expected-set.ts';
import type { ItemLines } from './item-lines.ts';
import type { KeptLines } from './kept-lines.ts';

/** A chunk of an ingestion, as the queue carries it. */
export interface ChunkRef {
  tenant: string;
  ingestionId: string;
  chunkNo: number;
}

/** How a chunk is handed to the encode workers. */
export interface Handing {
  traceId: string;
  /** How many chunks of its tenant are owed before it: what makes the shares of the bulk lane fair. */
  place: number;
  /** It may wait there already, further back. */
  again?: boolean;
}

/** What planning and finishing stand on. */
export interface PlanDeps {
  store: ObjectStore;
  index: VectorIndex;
  ledger: Ledger;
  events: EventLog;
  logger: Logger;
  /** Hands a chunk to the encode workers; the same chunk twice is one job. */
  enqueueChunk: (chunk: ChunkRef, handing: Handing) => Promise<void>;
  /** Sets on disk, empty; whoever opens closes. */
  openItemLines: () => ItemLines;
  openExpectedSet: () => ExpectedSet;
  keptLines: KeptLines;
  backlog: Backlog;
  storms: FailureStorms;
  now: () => number;
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** Entries of a chunk, from 1. */
  chunkEntries: number;
  /** How long a planner that died keeps others from its ingestion. */
  leaseTtlMs: number;
}
