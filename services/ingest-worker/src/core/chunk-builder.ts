import type { ChunkEntry, ChunkOutcome, Ledger } from '@sightline/shared/ports/ledger';

/** Entries of a chunk: one job's work. */
export const CHUNK_ENTRIES = 64;
/** A chunk is a row of the ledger and a worker's working set: long texts close it sooner. */
const CHUNK_BYTES = 4 * 1024 * 1024;

export type PlannedChunk = Omit<Parameters<Ledger['addChunk']>[1], 'chunkNo' | 'at'>;

/** Gathers what planning finds until it makes a chunk. */
export class ChunkBuilder {
  #entries: ChunkEntry[] = [];
  #failures: ChunkOutcome['failures'] = [];
  #listed = 0;
  #bytes = 0;
  #cursor = '';

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

  get isFull(): boolean {
    return this.#entries.length + this.#failures.length >= CHUNK_ENTRIES || this.#bytes >= CHUNK_BYTES;
  }

  /** The chunk so far, or null when there is nothing; the builder is empty again. */
  take(): PlannedChunk | null {
    if (this.#entries.length + this.#failures.length === 0) return null;
    const chunk = { entries: this.#entries, failures: this.#failures, listed: this.#listed, cursor: this.#cursor };
    this.#entries = [];
    this.#failures = [];
    this.#listed = 0;
    this.#bytes = 0;
    return chunk;
  }
}
