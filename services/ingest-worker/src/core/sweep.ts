import type { Ledger } from '@sightline/shared/ports/ledger';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import type { ChunkRef } from './plan-deps.ts';

export interface SweepDeps {
  ledger: Pick<Ledger, 'listIngestions' | 'outstandingChunks' | 'countOutstandingChunks'>;
  /** The same ingestion, or chunk, twice is one job. */
  enqueuePlan: (ingestion: { tenant: string; ingestionId: string }) => Promise<void>;
  enqueueChunk: (chunk: ChunkRef) => Promise<void>;
  now: () => number;
}

/** More than this are not active at once; the rest has its turn when they are done. */
const ACTIVE_LIMIT = 1_000;
const CHUNK_LIMIT = 10_000;
const ADDS_AT_ONCE = 8;

/**
 * Gives every ingestion its next step: those that are not planned, or were kept from it, are planned; those whose chunks are
 * all done are finished. The queue's jobs are only the means; the ledger says what is owed.
 */
export async function sweepIngestions({ ledger, enqueuePlan }: SweepDeps): Promise<void> {
  const active = await ledger.listIngestions(null, { statuses: ['planning', 'running', 'paused'], limit: ACTIVE_LIMIT });
  for (const { tenant, ingestionId, planned } of active.toReversed()) {
    if (planned && (await ledger.countOutstandingChunks(ingestionId)) > 0) continue;
    await enqueuePlan({ tenant, ingestionId });
  }
}

/** Adds the jobs of chunks that have been owed for `olderThanMs`: a queue that lost them gets them back. Answers how many. */
export async function sweepChunks(
  { ledger, enqueueChunk, now }: SweepDeps,
  { olderThanMs }: { olderThanMs: number },
): Promise<number> {
  const before = now() - olderThanMs;
  const owed = (await ledger.outstandingChunks({ limit: CHUNK_LIMIT })).filter(({ addedAt }) => addedAt <= before);
  for (let from = 0; from < owed.length; from += ADDS_AT_ONCE) {
    await Promise.all(
      owed
        .slice(from, from + ADDS_AT_ONCE)
        .map(({ tenant, ingestionId, chunkNo }) => enqueueChunk({ tenant, ingestionId, chunkNo })),
    );
  }
  return owed.length;
}

export interface PurgeDeps {
  ledger: Pick<Ledger, 'latestIngestions'>;
  index: Pick<VectorIndex, 'purge'>;
  now: () => number;
}

/**
 * Drops the index's old tombstones of all tenants that ever ingested: they are there for late writes, and no writer lives that
 * long. What a user removed stays (see VectorIndex.purge). Answers how many.
 */
export async function purgeTombstones(
  { ledger, index, now }: PurgeDeps,
  { olderThanMs }: { olderThanMs: number },
): Promise<number> {
  const tenants = new Set((await ledger.latestIngestions(null)).map(({ tenant }) => tenant));
  let purged = 0;
  for (const tenant of tenants) purged += await index.purge(tenant, now() - olderThanMs);
  return purged;
}
