import type { Migration } from '../contracts/migrations.ts';
import type { ErrorCode } from '../runtime/errors.ts';

/** Which version of the index takes writes, and which one is told of them. */
export interface IndexWriting {
  /** Null while a cut-over waits for the last writes: nobody may write. */
  version: number | null;
  /** The version that is owed every point that is written; null when there is none. */
  mirror: number | null;
  /** A version that is out of use: who still has it open must not write it any more. */
  closed: number | null;
}

/** How a writer of this version stands. One that no migration knows (an index that was restored from a backup) goes its own way. */
export function standingOf(writing: IndexWriting | null, version: number): 'free' | 'moved' | 'wait' | 'noted' {
  if (!writing) return 'free';
  if (writing.version === null) return 'wait';
  if (writing.version === version) return 'noted';
  return version === writing.mirror || version === writing.closed ? 'moved' : 'free';
}

export interface PointName {
  tenant: string;
  assetId: string;
}

/** A point that a version of the index is owed. */
export interface OwedPoint extends PointName {
  /** Grows with each time it is noted: who settles an older one leaves it owed. */
  generation: number;
}

export interface OwedPointFailure extends PointName {
  code: ErrorCode;
  reason: string;
}

/**
 * What is said to a writer before it writes points of a version: `free` when no migration concerns it, `noted` when the mirror
 * is owed them now, `moved` when another version takes the writes, `wait` when none does at the moment.
 */
export type NotedWrite = { outcome: 'free' | 'moved' | 'wait' } | { outcome: 'noted'; mirror: number | null; generation: number };

/**
 * The ledger's part in migrations between versions of the index: what is going, which version takes writes, and which points the
 * other one is owed. Every method is one atomic step. Times in Unix milliseconds.
 */
export interface MigrationLedger {
  /** False when one is going that is not over, or the id is there. */
  addMigration(migration: Migration): Promise<boolean>;
  getMigration(migrationId: string): Promise<Migration | null>;
  /** Newest first. */
  listMigrations(limit: number): Promise<Migration[]>;
  /**
   * Puts the migration in the place of the one of the revision before, and the writing with it, where it is given, in the same step.
   * False when the ledger's is of another revision: somebody else changed it. The same again is true and changes nothing.
   */
  changeMigration(migration: Migration, writing?: IndexWriting): Promise<boolean>;
  /** Null as long as there never was a migration that wrote a second version. */
  indexWriting(): Promise<IndexWriting | null>;
  /**
   * Called before points of `version` are written. They are not given out before `heldUntil`, unless `freeWrites` says earlier that
   * the write is over: who makes the mirror equal before the write happens would make it equal to what was.
   */
  noteWrites(version: number, points: PointName[], options: { heldUntil: number }): Promise<NotedWrite>;
  /** The writes noted under this generation are over: the mirror's points may be given out. Owed again where they no longer are. */
  freeWrites(mirror: number, points: PointName[], options: { generation: number; at: number }): Promise<void>;
  /** Points that a version is owed for another reason than a write. */
  oweCopies(version: number, points: PointName[], at: number): Promise<void>;
  /** The points that wait longest; nobody else is given them until `at + claimMs`. */
  takeCopies(version: number, options: { limit: number; claimMs: number; at: number }): Promise<OwedPoint[]>;
  /**
   * Drops those that were not noted again meanwhile. With `retryAt` they stay owed and are given out from then on; with a failure
   * they are kept as failed until they are noted again. Those that were noted again are free to be given out at once.
   */
  settleCopies(
    version: number,
    settled: (OwedPoint & { retryAt?: number; failure?: { code: ErrorCode; reason: string } })[],
  ): Promise<void>;
  /** How many points a version is owed, given out or not, and how many failed. */
  countCopies(version: number): Promise<{ owed: number; failed: number }>;
  /** Which of these points a version is still owed; one that failed is not among them. */
  stillOwed(version: number, points: PointName[]): Promise<PointName[]>;
  failedCopies(version: number, limit: number): Promise<OwedPointFailure[]>;
  /** Owes again what failed; answers how many. */
  retryCopies(version: number, at: number): Promise<number>;
  /** Forgets everything that a version is owed. */
  dropCopies(version: number): Promise<void>;
}
