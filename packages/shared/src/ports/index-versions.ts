import type { IndexSpec, VectorIndex } from './vector-index.ts';

/**
 * The versions of one index, by number from 1, and which of them serves. Any number of processes may have them open. Errors: those
 * of VectorIndex.
 */
export interface IndexVersions {
  /** The version that serves; null when there is no index yet. */
  serving(): Promise<number | null>;
  /** Numbers of the versions that are there, ascending. */
  numbers(): Promise<number[]>;
  /** Opens a version for what it holds; with a spec it is made when there is none of that number, and proved to be for it. */
  open(version: number, spec?: IndexSpec): Promise<VectorIndex>;
  /**
   * The first version for `spec`, which serves from then on; when some version serves already, nothing is done. For any number of
   * processes that start at once. Error: `index_encoder_mismatch` when another process made the first version for other encoders.
   */
  found(spec: IndexSpec): Promise<void>;
  /** Lets a version serve from one moment to the next; durable when it returns. */
  serve(version: number): Promise<void>;
  /** Takes a version away that does not serve; one that is not there is gone already. Error: `internal` for the one that serves. */
  drop(version: number): Promise<void>;
  close(): Promise<void>;
}
