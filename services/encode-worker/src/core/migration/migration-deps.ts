import type { EncodeQueryResult } from '@sightline/shared/contracts/jobs';
import type { IndexVersions } from '@sightline/shared/ports/index-versions';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { IndexSpec, VectorIndex } from '@sightline/shared/ports/vector-index';
import type { Logger } from 'pino';
import type { Encoder } from '../encoder.ts';
import type { PictureFeed } from '../picture-feed.ts';

export interface MigrationSettings {
  /** Points that the fill may be ahead of the copying. */
  fillAhead: number;
  /** Points looked at in one step of the fill or of the comparison. */
  pagePoints: number;
  /** Points copied together. */
  batchPoints: number;
  /** With more live work owed than this, in chunks, the fill waits, but for a page now and then. */
  mostLiveWork: number;
  trickleEveryMs: number;
  /** How long a cut-over may keep writers waiting until it is called off. */
  cutOverMs: number;
  samplePoints: number;
  sampleQueries: number;
  /** How long a taken point is kept from other workers: what a dead one took waits so long, what a slow one took is copied twice. */
  claimMs: number;
  /** After what may pass, a point is tried again. */
  retryMs: number;
  leaseTtlMs: number;
  /** How long after its end a version stays for who still reads it. */
  leaveMs: number;
  queryTimeoutMs: number;
}

export const MIGRATION_SETTINGS: Readonly<MigrationSettings> = {
  fillAhead: 512,
  pagePoints: 256,
  batchPoints: 64,
  mostLiveWork: 4,
  trickleEveryMs: 10_000,
  cutOverMs: 20_000,
  samplePoints: 512,
  sampleQueries: 50,
  claimMs: 30_000,
  retryMs: 5_000,
  leaseTtlMs: 15_000,
  leaveMs: 15_000,
  queryTimeoutMs: 10_000,
};

export type CopyOutcome = 'copied' | 'equal' | 'failed' | 'later';

/** What the migration of the index stands on, in a worker of either pack. */
export interface MigrationDeps {
  ledger: Ledger;
  versions: IndexVersions;
  store: Pick<ObjectStore, 'head' | 'get'>;
  encoder: Encoder;
  /** The name that this worker's pack was asked for by. */
  pack: string;
  /** Opens a version once, and keeps it open for the others who ask. */
  open: (version: number, spec?: IndexSpec) => Promise<VectorIndex>;
  /** Pictures fetched and encoded for a version of this worker's encoder. */
  feedOf: (index: VectorIndex) => Pick<PictureFeed, 'take'>;
  /** A query in the spaces of this spec, by whichever worker serves it. */
  encodeQuery: (spec: IndexSpec, tenant: string, query: string) => Promise<EncodeQueryResult>;
  /** What live work owes, in chunks. */
  liveWork: () => Promise<number>;
  count: (outcome: CopyOutcome, points: number) => void;
  logger: Logger;
  /** Unix milliseconds. */
  now: () => number;
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  settings: MigrationSettings;
}
