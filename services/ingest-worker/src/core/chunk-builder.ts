import type { ChunkEntry, ChunkOutcome, Ledger } from '@sightline/shared/ports/ledger';

/** A chunk is a row of the ledger and a worker's working set: long texts close it sooner. */
const CHUNK_BYTES = 256 * 1024;

export type PlannedChunk = Omit<Parameters<Ledger['addChunk']>[1], 'chunkNo' | 'after' | 'at'>;

/** Gathers what planning finds until it makes a chunk. */
export class ChunkBuilder {
  readonly #most: number;
  #entries: ChunkEntry[] = [];
  #failures: ChunkOutcome['failures'] = [];
  #listed = 0;
  #bytes = 0;
  #retried: string[] = [];
  #cursor = '';

  /** `most`: entries of a chunk, one job's work. */
  constructor(most: number) {
    this.#most = most;
  }

  /** `cursor`: where planning goes on after this. */
  addEntry(entry: ChunkEntry, cursor: string): void {
    this.#entries.push(entry);
    // Reconciling is bookkeeping: the source lists none of it.
    if (!entry.reconcile) this.#listed += 1;
    this.#bytes += 200 + (entry.record?.text.length ?? 0) + (entry.record?.pictures.length ?? 0) * 150;
    this.#cursor = cursor;
  }

  /** What planning itself found wrong: listed and failed. */
  addFailures(failures: ChunkOutcome['failures'], cursor: string): void {
    this.#failures.push(...failures);
    this.#listed += failures.length;
    this.#cursor = cursor;
  }

  /** Failures that are tried again by what was added: listed before, so not counted as listed again. */
  addRetried(keys: string[]): void {
    this.#retried.push(...keys);
    this.#listed -= keys.length;
  }

  get isFull(): boolean {
    return this.#entries.length + this.#failures.length >= this.#most || this.#bytes >= CHUNK_BYTES;
  }

  /** The chunk so far, or null when there is nothing; the builder is empty again. */
  take(): PlannedChunk | null {
    if (this.#entries.length + this.#failures.length === 0) return null;
    const chunk: PlannedChunk = {
      entries: this.#entries,
      failures: this.#failures,
      listed: this.#listed,
      cursor: this.#cursor,
      ...(this.#retried.length > 0 && { retried: this.#retried }),
    };
    this.#retried = [];
    this.#entries = [];
    this.#failures = [];
    this.#listed = 0;
    this.#bytes = 0;
    return chunk;
  }
}
