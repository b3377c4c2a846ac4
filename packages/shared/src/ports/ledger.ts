import type { Change } from '../contracts/changes.ts';
import type { ItemRecord, Source } from '../contracts/records.ts';
import type { ErrorCode } from '../runtime/errors.ts';
import type { AuditLedger } from './audit-ledger.ts';
import type { FeedbackLedger } from './feedback-ledger.ts';
import type { MigrationLedger } from './migration-ledger.ts';
import type { QuestionLedger } from './question-ledger.ts';
import type { WebhookLedger } from './webhook-ledger.ts';

export type IngestionStatus = 'planning' | 'running' | 'paused' | 'completed' | 'failed' | 'cancelled';

export type Hold = 'user' | 'failures';

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
  /** Lists and counts only: it has no chunks, and is no word on what the index should hold. */
  dryRun: boolean;
  status: IngestionStatus;
  /** Why it is paused or failed. */
  reason: string | null;
  /**
   * Who stopped it: `user` by request, `failures` because nearly everything failed. Its chunks are not worked and nothing starts
   * it again but a request to resume. Null while it goes, also when it is `paused` by what may pass.
   */
  hold: Hold | null;
  counts: Counts;
  /** True once every object is in a chunk; the planner's cursor is then of no use. */
  planned: boolean;
  /** Opaque to the ledger; the planner goes on from here. */
  cursor: string | null;
  nextChunkNo: number;
  createdAt: number;
  finishedAt: number | null;
}

/**
 * One thing to index: a picture, a picture with a record that names it, or a record none of whose pictures is there.
 * The worker that takes a record with its picture also writes the record's further passages.
 */
export interface ChunkEntry {
  object?: { bucket: string; key: string; eTag: string; sizeBytes: number };
  record?: ItemRecord;
  /**
   * Set by reconciling, which is not counted: `drop` takes the object, or the record from every point, off the index because no
   * source names it any more; `drop_if_gone` only when the store no longer has the object; `write` completes what is lacking. `look`, for a change that was told of, brings
   * the picture in step with what the store has at that moment; the entry's eTag and size say nothing.
   */
  reconcile?: 'drop' | 'drop_if_gone' | 'write' | 'look';
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

/** A change that somebody told of and that the index does not show yet. Times in Unix milliseconds. */
export interface OwedChange {
  /** `changePlace` of it. */
  place: string;
  /** The newest that was noted. */
  change: Change;
  /** Grows with each time it is noted: who settles an older one leaves it owed. */
  generation: number;
  /** When it was first noted since it was last settled. */
  noticedAt: number;
  /** When the source says that it was written; null where that is not known. */
  changedAt: number | null;
  /** How often it was taken and not given back, this time included: more than one means that workers died over it. */
  attempts: number;
}

/** What came of a change: with a failure it is owed no more, and stands among the failures until it is noted or settled again. */
export interface SettledChange {
  place: string;
  generation: number;
  failure?: { code: ErrorCode; reason: string; eTag: string | null };
}

export interface ChangeFailure {
  /** Changes of a tenant in the order of this; opaque. */
  cursor: string;
  change: Change;
  code: ErrorCode;
  reason: string;
  eTag: string | null;
  failedAt: number;
}

/** Keys held by one writer for a while. `version` is larger than any handed out before, over all keys. */
export interface KeyLease {
  token: string;
  version: number;
  granted: string[];
  /** Held by another writer: try again. */
  busy: string[];
}

export type Scope = 'read' | 'ingest' | 'ask' | 'admin';

/** An API key. The secret itself is nowhere: what is kept is its hash. Times in Unix milliseconds. */
export interface ApiKey {
  keyId: string;
  tenant: string;
  name: string;
  /** SHA-256 of the secret, in hexadecimal: secrets are random, 256 bits, so that no slow hash is needed. */
  secretHash: string;
  scopes: Scope[];
  createdAt: number;
  expiresAt: number | null;
  revokedAt: number | null;
  lastUsedAt: number | null;
}

/**
 * What happened and what is owed: ingestions, chunks, failures, leases, settings. What an object's state is stands in the
 * index. Every method is one atomic step and durable when it returns. Errors: `ingestion_not_found`, `ledger_unavailable`,
 * `ledger_full`.
 */
export interface Ledger extends AuditLedger, FeedbackLedger, MigrationLedger, QuestionLedger, WebhookLedger {
  createIngestion(ingestion: {
    ingestionId: string;
    tenant: string;
    source: Source;
    dryRun?: boolean;
    createdAt: number;
  }): Promise<Ingestion>;
  getIngestion(tenant: string, ingestionId: string): Promise<Ingestion | null>;
  /** Newest first, or oldest first; of all tenants when `tenant` is null, for the sweep. */
  listIngestions(
    tenant: string | null,
    options: { statuses?: IngestionStatus[]; limit: number; oldestFirst?: boolean },
  ): Promise<Ingestion[]>;
  /**
   * The newest ingestion of each source, oldest first: what the index should hold. Sources are told apart by `sourceKey`; dry
   * runs do not count.
   */
  latestIngestions(tenant: string | null): Promise<Ingestion[]>;
  /**
   * Moves to `to` only from one of `from`; answers whether it did. Sets finishedAt on terminal statuses and ends a hold there;
   * to any other status one that is held does not move. `cancelled` also drops the chunks that are owed, and those still added.
   */
  setStatus(
    ingestionId: string,
    from: IngestionStatus[],
    to: IngestionStatus,
    options: { reason?: string; at: number },
  ): Promise<boolean>;
  /**
   * Stops an ingestion (`planning`, `running` or `paused` become `paused`) or, with null, lets it go again (`planning`, or
   * `running` when it is planned), also from a pause without a hold. Answers whether it changed anything: an ingestion that is
   * held stays as it is.
   */
  setHold(ingestionId: string, hold: Hold | null, options: { reason?: string; at: number }): Promise<boolean>;
  /**
   * Makes an ended ingestion with failures `planning` again, from a cursor that says so, so that they are tried again; what was
   * counted stays. Answers how many failures there are; 0 changes nothing.
   */
  reopen(ingestionId: string, cursor: string, at: number): Promise<number>;
  /**
   * Adds the next chunk, its listed count, the failures that planning itself found (counted as listed and failed) and the
   * planner's new cursor in one step. The same chunk again (the last one, with the same cursor) changes nothing. Error:
   * `lease_lost` when another planner went on meanwhile, so that the ledger's cursor is not `after`, or the chunk of this number
   * is another: what lies between the two would be in no chunk. Who is told so begins again from the ledger's cursor.
   */
  addChunk(
    ingestionId: string,
    chunk: {
      chunkNo: number;
      entries: ChunkEntry[];
      listed: number;
      failures: ChunkOutcome['failures'];
      /**
       * Keys of failures that are tried again with this chunk: they are failures no more, and are not listed a second time. One
       * that fails again has its old place in `failures` and its attempts, so that who pages through them comes to an end.
       */
      retried?: string[];
      /** The cursor that the planner went on from; null for an ingestion's first chunk. */
      after: string | null;
      cursor: string;
      at: number;
    },
  ): Promise<void>;
  /** Planning is over: when no chunk is outstanding the ingestion may be completed. */
  finishPlanning(ingestionId: string): Promise<void>;
  /**
   * A worker takes a chunk to work it. `attempts` is how often it was taken and not given back, this time included: more than
   * one means that workers died over it. Null once the chunk is complete.
   */
  takeChunk(ingestionId: string, chunkNo: number): Promise<{ entries: ChunkEntry[]; addedAt: number; attempts: number } | null>;
  /** A worker that lives gives up a chunk it took: that time no longer counts. */
  giveBackChunk(ingestionId: string, chunkNo: number): Promise<void>;
  /**
   * Writes down what is about to be tried and may kill its worker. False when it stands there already: whoever tried it before
   * did not live to clear it. True when it was this very Ledger object that wrote it: who asks again lives. Under the key's
   * lease, so that it is tried by one at a time. A complete chunk has no suspects.
   */
  addSuspect(ingestionId: string, chunkNo: number, key: string): Promise<boolean>;
  /** It was tried and its worker lives. */
  clearSuspect(ingestionId: string, chunkNo: number, key: string): Promise<void>;
  /** Counts the outcome and drops the chunk, once: a second call for the same chunk answers false and changes nothing. */
  completeChunk(ingestionId: string, chunkNo: number, outcome: ChunkOutcome, at: number): Promise<boolean>;
  /** Chunks that are owed, oldest first: what the sweep re-drives and what back-pressure measures. */
  outstandingChunks(options: {
    ingestionId?: string;
    limit: number;
  }): Promise<{ tenant: string; ingestionId: string; chunkNo: number; addedAt: number }[]>;
  countOutstandingChunks(of?: { ingestionId: string } | { tenant: string }): Promise<number>;
  failures(
    ingestionId: string,
    options: { cursor?: string; limit: number },
  ): Promise<{ failures: Failure[]; nextCursor: string | null }>;
  /** The latest permanent failure of an object's present bytes, if any: `eTag` must match. For the audit. */
  failedObjects(ingestionId: string): AsyncIterable<{ key: string; eTag: string | null; code: ErrorCode }>;
  /**
   * Writes changes down as owed. One place is owed once: noted again it keeps its turn, takes the newer change and generation, and
   * is to be worked again after whoever works it now. A failure of it is forgotten.
   */
  noteChanges(tenant: string, noted: { change: Change; changedAt: number | null }[], at: number): Promise<void>;
  /**
   * Takes the changes that wait longest; nobody else is given them until `at + claimMs`, unless they are given back. One that more
   * than `soloAfter` takings were lost over comes alone.
   */
  takeChanges(tenant: string, options: { limit: number; claimMs: number; soloAfter: number; at: number }): Promise<OwedChange[]>;
  /** Drops those that were not noted again meanwhile; the others are free to be taken at once. */
  settleChanges(tenant: string, settled: SettledChange[], at: number): Promise<void>;
  /** A worker that lives gives up what it took: that time no longer counts, and it may be taken from `at` on. */
  giveBackChanges(tenant: string, places: string[], at: number): Promise<void>;
  /** Of each tenant that is owed any: how many, how many of them nobody has taken, and since when the oldest waits. */
  owedChanges(at: number): Promise<{ tenant: string; owed: number; free: number; oldestNoticedAt: number }[]>;
  /** Changes that failed for good, oldest first, after a cursor. */
  changeFailures(tenant: string, options: { after?: string; limit: number }): Promise<ChangeFailure[]>;
  /**
   * Notes up to `limit` changes again that failed until `failedUpTo` and stand among the failures still, so that what was noted since
   * is not undone; answers how many.
   */
  retryChanges(tenant: string, options: { limit: number; failedUpTo: number; at: number }): Promise<number>;
  /** Per-key locks with one counter. A lease ends by release or after `ttlMs`. */
  leaseKeys(keys: string[], options: { ttlMs: number }): Promise<KeyLease>;
  /** Prolongs a lease to `ttlMs` from now; false when any of its keys is already lost: its holder must not write any more. */
  renewKeys(token: string, options: { ttlMs: number }): Promise<boolean>;
  releaseKeys(token: string): Promise<void>;
  getSetting(name: string): Promise<string | null>;
  /** Null drops it. */
  putSetting(name: string, value: string | null): Promise<void>;
  /** Writes down a new key. Errors: `api_key_exists`. */
  addApiKey(key: ApiKey): Promise<void>;
  /** By the hash of its secret, whether revoked or expired or not. */
  findApiKey(secretHash: string): Promise<ApiKey | null>;
  /** Of all tenants when `tenant` is null; newest first. */
  listApiKeys(tenant: string | null): Promise<ApiKey[]>;
  /** Changes what is given; answers the key as it is then, or null when there is none of that id. */
  updateApiKey(keyId: string, change: { revokedAt?: number; expiresAt?: number; lastUsedAt?: number }): Promise<ApiKey | null>;
  /**
   * Drops everything of a tenant: ingestions with their chunks and failures, audits, questions, webhooks with their outbox, and API keys; with `createdUpTo` (Unix milliseconds)
   * only what was created until then. Answers how many of each. May take more than one step: one that was broken off is finished
   * by asking again.
   */
  deleteTenant(
    tenant: string,
    options?: { createdUpTo?: number },
  ): Promise<{ ingestions: number; failures: number; apiKeys: number }>;
  /** Drops finished ingestions and their failures, and audits, from before `before`; the newest of each source that is no dry run stays. */
  prune(before: number): Promise<number>;
  close(): Promise<void>;
}
