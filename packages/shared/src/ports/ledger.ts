import type { Attributes, Source } from '../contracts/records.ts';
import type { ErrorCode } from '../runtime/errors.ts';

export type IngestionStatus = 'planning' | 'running' | 'paused' | 'completed' | 'failed' | 'cancelled';

export interface Counts {
  listed: number;
  indexed: number;
  unchanged: number;
  duplicate: number;
  failed: number;
}

export interface Ingestion {
  ingestionId: string;
  tenant: string;
  source: Source;
  status: IngestionStatus;
  /** Why it is paused or failed. */
  reason: string | null;
  counts: Counts;
  /** True once every object is in a chunk; the planner's cursor is then of no use. */
  planned: boolean;
  /** Opaque to the ledger; the planner goes on from here. */
  cursor: string | null;
  nextChunkNo: number;
  createdAt: number;
  finishedAt: number | null;
}

/** One thing to index: a picture, a record, or a picture with the record that names it. */
export interface ChunkEntry {
  /** Absent for a record's own passages. */
  object?: { bucket: string; key: string; eTag: string; sizeBytes: number };
  /** The record, with the keys of all its pictures. */
  record?: { itemId: string; title: string; text: string; attributes: Attributes; pictures: { bucket: string; key: string }[] };
}

export interface Failure {
  /** The object's key, or `manifest.jsonl:17` for a line. */
  key: string;
  code: ErrorCode;
  reason: string;
  attempts: number;
  lastAttemptAt: number;
}

/** What became of a chunk's entries. */
export interface ChunkOutcome {
  indexed: number;
  unchanged: number;
  duplicate: number;
  failures: { key: string; code: ErrorCode; reason: string; eTag?: string }[];
}

/** Keys held by one writer for a while. `version` is larger than any handed out before, over all keys. */
export interface KeyLease {
  token: string;
  version: number;
  granted: string[];
  /** Held by another writer: try again. */
  busy: string[];
}

/**
 * What happened and what is owed: ingestions, chunks, failures, leases, settings. What an object's state is stands in the
 * index. Every method is one atomic step and durable when it returns. Errors: `ingestion_not_found`, `ledger_unavailable`.
 */
export interface Ledger {
  createIngestion(ingestion: { ingestionId: string; tenant: string; source: Source; createdAt: number }): Promise<Ingestion>;
  getIngestion(tenant: string, ingestionId: string): Promise<Ingestion | null>;
  /** Newest first. */
  listIngestions(tenant: string, options: { statuses?: IngestionStatus[]; limit: number }): Promise<Ingestion[]>;
  /** Moves to `to` only from one of `from`; answers whether it did. Sets finishedAt on terminal statuses. */
  setStatus(ingestionId: string, from: IngestionStatus[], to: IngestionStatus, options: { reason?: string; at: number }): Promise<boolean>;
  /**
   * Adds the next chunk, its listed count, the failures that planning itself found (counted as listed and failed) and the
   * planner's new cursor in one step. A chunkNo that exists already changes nothing.
   */
  addChunk(
    ingestionId: string,
    chunk: { chunkNo: number; entries: ChunkEntry[]; listed: number; failures: ChunkOutcome['failures']; cursor: string; at: number },
  ): Promise<void>;
  /** Planning is over: when no chunk is outstanding the ingestion may be completed. */
  finishPlanning(ingestionId: string): Promise<void>;
  /** Null once the chunk is complete. */
  getChunk(ingestionId: string, chunkNo: number): Promise<ChunkEntry[] | null>;
  /** Counts the outcome and drops the chunk, once: a second call for the same chunk answers false and changes nothing. */
  completeChunk(ingestionId: string, chunkNo: number, outcome: ChunkOutcome, at: number): Promise<boolean>;
  /** Chunks that are owed, oldest first: what the sweep re-drives and what back-pressure measures. */
  outstandingChunks(options: { ingestionId?: string; limit: number }): Promise<{ tenant: string; ingestionId: string; chunkNo: number; addedAt: number }[]>;
  countOutstandingChunks(ingestionId?: string): Promise<number>;
  failures(ingestionId: string, options: { cursor?: string; limit: number }): Promise<{ failures: Failure[]; nextCursor: string | null }>;
  /** The latest permanent failure of an object's present bytes, if any: `eTag` must match. For the audit. */
  failedObjects(ingestionId: string): AsyncIterable<{ key: string; eTag: string | null; code: ErrorCode }>;
  /** Per-key locks with one counter. A lease ends by release or after `ttlMs`. */
  leaseKeys(keys: string[], options: { ttlMs: number }): Promise<KeyLease>;
  releaseKeys(token: string): Promise<void>;
  getSetting(name: string): Promise<string | null>;
  putSetting(name: string, value: string): Promise<void>;
  /** Drops finished ingestions and their failures from before `before`; the newest of each source stays. */
  prune(before: number): Promise<number>;
  close(): Promise<void>;
}
