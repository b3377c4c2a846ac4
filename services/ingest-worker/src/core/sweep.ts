import type { Ingestion, IngestionStatus, Ledger } from '@sightline/shared/ports/ledger';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import type { Backlog } from './backlog.ts';
import type { ChunkRef, Handing } from './plan-deps.ts';

export interface SweepDeps {
  ledger: Pick<Ledger, 'listIngestions' | 'outstandingChunks' | 'countOutstandingChunks'>;
  backlog: Pick<Backlog, 'mayGoOn'>;
  /** The same ingestion, or chunk, twice is one job. */
  enqueuePlan: (ingestion: { tenant: string; ingestionId: string }) => Promise<void>;
  enqueueChunk: (chunk: ChunkRef, handing: Omit<Handing, 'traceId'>) => Promise<void>;
  now: () => number;
}

/** Of the oldest: the others have their turn when these are done. */
const ACTIVE_LIMIT = 2_000;
const CHUNK_LIMIT = 10_000;
const ADDS_AT_ONCE = 8;

/**
 * Gives every ingestion its next step: those that are not planned, or were kept from it, are planned as soon as their tenant's
 * backlog has room; those whose chunks are all done are finished; those that are held are left alone. The queue's jobs are only
 * the means; the ledger says what is owed.
 */
export async function sweepIngestions({ ledger, backlog, enqueuePlan }: SweepDeps): Promise<void> {
  const oldest = (statuses: IngestionStatus[]): Promise<Ingestion[]> =>
    ledger.listIngestions(null, { statuses, limit: ACTIVE_LIMIT, oldestFirst: true });
  // Apart: those that somebody holds, for months perhaps, must not take the place of what goes.
  const active = [...(await oldest(['planning', 'running'])), ...(await oldest(['paused']))];
  const rooms = new Map<string, Promise<boolean>>();
  const mayPlan = (tenant: string): Promise<boolean> => {
    const known = rooms.get(tenant) ?? backlog.mayGoOn(tenant);
    rooms.set(tenant, known);
    return known;
  };
  for (const { tenant, ingestionId, planned, hold, dryRun } of active) {
    if (hold) continue;
    const isDue = planned ? (await ledger.countOutstandingChunks({ ingestionId })) === 0 : dryRun || (await mayPlan(tenant));
    if (isDue) await enqueuePlan({ tenant, ingestionId });
  }
}

/**
 * Adds the jobs of chunks that have been owed for `olderThanMs`: a queue that lost them gets them back, and those that wait
 * there move to the place that they have among what their tenant is owed now, so that none is passed over for ever. Answers how
 * many.
 */
export async function sweepChunks(
  { ledger, enqueueChunk, now }: SweepDeps,
  { olderThanMs }: { olderThanMs: number },
): Promise<number> {
  const before = now() - olderThanMs;
  const paused = await ledger.listIngestions(null, { statuses: ['paused'], limit: ACTIVE_LIMIT, oldestFirst: true });
  const held = new Set(paused.filter(({ hold }) => hold !== null).map(({ ingestionId }) => ingestionId));
  // On top of the limit: what is held for long is the oldest, and must not hide the rest.
  let limit = CHUNK_LIMIT;
  for (const ingestionId of held) limit += await ledger.countOutstandingChunks({ ingestionId });
  const owed = (await ledger.outstandingChunks({ limit })).filter(({ ingestionId }) => !held.has(ingestionId));
  const ranks = new Map<string, number>();
  const ranked = owed.map((chunk) => {
    const place = ranks.get(chunk.tenant) ?? 0;
    ranks.set(chunk.tenant, place + 1);
    return { ...chunk, place };
  });
  const due = ranked.filter(({ addedAt }) => addedAt <= before);
  for (let from = 0; from < due.length; from += ADDS_AT_ONCE) {
    await Promise.all(
      due
        .slice(from, from + ADDS_AT_ONCE)
        .map(({ tenant, ingestionId, chunkNo, place }) => enqueueChunk({ tenant, ingestionId, chunkNo }, { place, again: true })),
    );
  }
  return due.length;
}

export interface SweepChangesDeps {
  ledger: Pick<Ledger, 'owedChanges'>;
  driveChanges: (tenant: string, count: number) => Promise<void>;
  now: () => number;
}

/** Younger changes surely have their jobs. */
const CHANGES_OLDER_THAN_MS = 1_000;

/** Has changes worked that wait and that nobody works: their jobs were lost, or their time to be tried again has come. */
export async function sweepChanges({ ledger, driveChanges, now }: SweepChangesDeps): Promise<void> {
  for (const { tenant, free, oldestNoticedAt } of await ledger.owedChanges(now())) {
    if (free > 0 && oldestNoticedAt <= now() - CHANGES_OLDER_THAN_MS) await driveChanges(tenant, free);
  }
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
