import type { HeldLease } from '@sightline/shared/ingestion/key-lease';
import type { ObjectInfo } from '@sightline/shared/ports/object-store';
import type { AssetPoint, Deletion, PictureWrite } from '@sightline/shared/ports/vector-index';
import { SightlineError, toSightlineError } from '@sightline/shared/runtime/errors';
import type { Going, PictureWork } from './chunk-work.ts';
import type { EncodeDeps, Settled } from './encode-deps.ts';
import type { Guard } from './picture-feed.ts';

/** An object that changes each time it is looked at is given up after so many rounds. */
const MAX_ROUNDS = 5;
/** A write costs as much as it has hops, not as it has pictures: those of so long go together. */
const WRITE_EVERY_MS = 2_000;

export interface PicturesContext {
  tenant: string;
  /** When the chunk was planned, or the changes were first told of: what was written since was written by an attempt that did not live to say so. */
  plannedAt: number;
  signal: AbortSignal;
  /** For a chunk that workers died over: each of its pictures is decoded alone, inside this. */
  guard?: ((assetId: string) => Guard) | undefined;
  /**
   * Assets that a worker may have stood still over, with what it read before: the tombstone of one that is gone or cannot be decoded is
   * written, also where nothing is there to take away, because that worker may yet write.
   */
  lateWriters?: ReadonlySet<string>;
}

/** Marks a picture's point as one that leaves the index. Answers whether a tombstone is to be written under this lease. */
type Bury = (work: PictureWork, reason: Going['reason'], eTag: string | null, when: Going['when']) => boolean;

/** What was found of an object before its tombstone, and is looked at once more after it: its eTag, null where it was not there. */
interface Look {
  work: PictureWork;
  eTag: string | null;
}

/**
 * The picture halves of leased points: reads each object's present state, writes it, then looks again. What moved meanwhile
 * stays owed (neither settled nor failed) and takes a new lease, because its next writing needs a newer version. A picture that has
 * to leave the index while it carries records is left for `settleGoings`.
 */
export async function settlePictures(
  deps: EncodeDeps,
  works: PictureWork[],
  lease: HeldLease,
  context: PicturesContext,
): Promise<void> {
  const points = await deps.index.get(
    context.tenant,
    works.map(({ assetId }) => assetId),
  );
  let due: FedWork[] = [];
  const looks: Look[] = [];
  const deletions: Deletion[] = [];
  const tombstone = (work: PictureWork, reason: Going['reason'], eTag: string | null, when: Going['when']): boolean => {
    const { bucket, key } = work.object;
    const point = points.get(work.assetId);
    // A tombstone that says so already, or nothing to take away.
    const isSaid = !point || (point.deleted && (point.deletedBecause === reason || reason === 'failed'));
    // What a user removed stays so where its bytes come back: that mark is not written over.
    const isRemoved = reason === 'failed' && point?.deleted && point.deletedBecause === 'removed';
    const isPassed = !isRemoved && context.lateWriters?.has(work.assetId);
    if (isSaid && !isPassed) return false;
    if (point && point.records.length > 0) {
      work.going = { reason, eTag, imageVersion: point.imageVersion, when };
      return false;
    }
    const object = { bucket, key, eTag };
    deletions.push({ assetId: work.assetId, tenant: context.tenant, version: lease.version, reason, object, at: deps.now() });
    return true;
  };

  const allFed = new AbortController();
  // Written as they come: with a slow encoder a chunk is minutes of work, which a killed worker should not take along.
  const writeAll = async (): Promise<void> => {
    for (let isLast = false; !isLast;) {
      await deps.sleep(WRITE_EVERY_MS, allFed.signal).catch(() => {});
      isLast = allFed.signal.aborted;
      const batch = due;
      due = [];
      await writeAndLook(deps, batch, lease, context.signal);
    }
  };

  const feedOne = async (work: PictureWork): Promise<void> => {
    try {
      const point = points.get(work.assetId);
      if (work.reconcile?.startsWith('drop')) return await drop(deps, work, point, tombstone);
      if (work.reconcile === 'look' && !(await isThere(deps, work))) {
        // Nothing is settled before the tombstone stands and the store was asked once more.
        looks.push({ work, eTag: null });
        tombstone(work, 'gone', point?.object?.eTag ?? null, 'absent');
        return;
      }
      const unchanged = isUnchanged(point, work.object.eTag);
      if (unchanged) {
        // Removed by a user, and the bytes are still those: it stays removed.
        const isOurs = point !== undefined && !point.deleted && point.indexedAt >= context.plannedAt;
        work.settled = isOurs ? 'indexed' : 'unchanged';
        return;
      }
      const fed = await feed(deps, work, point, lease, context, { tombstone, looks });
      if (fed) due.push(fed);
    } catch (error) {
      if (context.signal.aborted) throw error;
      work.failure = { error: toSightlineError(error) };
    }
  };
  const feedAll = (): Promise<void> => eachAtOnce(works, feedOne).finally(() => allFed.abort());
  await eachAtOnce([feedAll, writeAll], (part) => part());

  if (deletions.length > 0) {
    context.signal.throwIfAborted();
    lease.assertHeld();
    await deps.index.delete(deletions);
  }
  await eachAtOnce(looks, (look) => lookAgain(deps, look));
}

/** Notes the object's present state on the work; false when the store would not list it. */
async function isThere(deps: EncodeDeps, work: PictureWork): Promise<boolean> {
  const now = await listedHead(deps, work.object);
  if (now) work.object = { ...work.object, eTag: now.eTag, sizeBytes: now.sizeBytes };
  work.modifiedAt = now?.modifiedAt.getTime() ?? null;
  return now !== null;
}

/** Of what is told of some are names that no object can have, links that lead out, and the marks of folders. */
export async function listedHead(
  { store }: Pick<EncodeDeps, 'store'>,
  object: PictureWork['object'],
): Promise<ObjectInfo | null> {
  try {
    const now = await store.head(object);
    return now && now.sizeBytes === 0 && now.key.endsWith('/') ? null : now;
  } catch (error) {
    if (toSightlineError(error).code === 'key_outside_source') return null;
    throw error;
  }
}

/** What came back, or is another, since its tombstone was decided on stays owed. */
async function lookAgain(deps: EncodeDeps, { work, eTag }: Look): Promise<void> {
  try {
    const now = await listedHead(deps, work.object);
    if ((now?.eTag ?? null) === eTag) {
      if (!work.failure) work.settled = 'unchanged';
      return;
    }
    [work.going, work.failure] = [null, null];
    moved(work, now);
  } catch (error) {
    work.failure = { error: toSightlineError(error) };
  }
}

/** A picture whose vector is not written yet. */
interface FedWork {
  work: PictureWork;
  write: PictureWrite;
  settled: Settled;
}

async function writeAndLook(deps: EncodeDeps, batch: FedWork[], lease: HeldLease, signal: AbortSignal): Promise<void> {
  if (batch.length === 0) return;
  signal.throwIfAborted();
  lease.assertHeld();
  const startedAt = performance.now();
  await deps.index.writePictures(batch.map(({ write }) => write));
  deps.observe('write', (performance.now() - startedAt) / 1000);
  await eachAtOnce(batch, async ({ work, write, settled }) => {
    try {
      const now = await deps.store.head(work.object);
      if (now?.eTag === write.object.eTag) work.settled = settled;
      else moved(work, now);
    } catch (error) {
      work.failure = { error: toSightlineError(error) };
    }
  });
}

function isUnchanged(point: AssetPoint | undefined, eTag: string): boolean {
  if (!point || point.object?.eTag !== eTag) return false;
  return point.deleted ? point.deletedBecause === 'removed' : point.hasImage;
}

/** Leaves the picture owed, for the state it is in now. */
export function moved(work: PictureWork, now: ObjectInfo | null): void {
  work.rounds += 1;
  if (work.rounds >= MAX_ROUNDS) throw new SightlineError('object_changed');
  work.object = { ...work.object, eTag: now?.eTag ?? '', sizeBytes: now?.sizeBytes ?? 0 };
}

async function drop(deps: EncodeDeps, work: PictureWork, point: AssetPoint | undefined, tombstone: Bury): Promise<void> {
  const isThere = work.reconcile === 'drop_if_gone' && (await deps.store.head(work.object)) !== null;
  if (!isThere && point && !point.deleted)
    tombstone(work, 'gone', point.object?.eTag ?? null, work.reconcile === 'drop_if_gone' ? 'absent' : 'always');
  work.settled = 'unchanged';
}

async function feed(
  deps: EncodeDeps,
  work: PictureWork,
  point: AssetPoint | undefined,
  lease: HeldLease,
  { tenant, signal, guard }: PicturesContext,
  { tombstone, looks }: { tombstone: Bury; looks: Look[] },
): Promise<FedWork | null> {
  const { bucket, key } = work.object;
  let fetchedETag: string | undefined;
  try {
    const fed = await deps.feed.take(tenant, work.object, {
      signal,
      onFetched: (eTag) => (fetchedETag = eTag),
      guard: guard?.(work.assetId),
    });
    const { eTag, sha256, sizeBytes, widthPx, heightPx, vector } = fed;
    // A removed picture under a new eTag but of the same bytes is another matter: its owner put it there again.
    const isSame = point !== undefined && !point.deleted && point.sha256 === sha256;
    const settled: Settled = isSame ? 'unchanged' : fed.isKnown ? 'duplicate' : 'indexed';
    const write: PictureWrite = {
      assetId: work.assetId,
      tenant,
      object: { bucket, key, eTag },
      sha256,
      sizeBytes,
      widthPx,
      heightPx,
      vector,
      imageVersion: lease.version,
      indexedAt: deps.now(),
    };
    return { work, write, settled };
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    const error = toSightlineError(thrown);
    // What may pass leaves the point as it is: vectors of a moment ago are better than none.
    if (error.retryable) throw error;
    const now = await deps.store.head(work.object).catch((headError: unknown) => {
      if (toSightlineError(headError).retryable) throw headError;
      return null;
    });
    // The bytes that failed are no longer the object's.
    if (now && fetchedETag !== undefined && now.eTag !== fetchedETag) {
      moved(work, now);
      return null;
    }
    // It went while it was being fetched: the next look finds it so.
    if (work.reconcile === 'look' && error.code === 'object_not_found') {
      moved(work, now);
      return null;
    }
    work.failure = { error, ...(now && { eTag: now.eTag }) };
    // A whole source that went away, a disk that is not mounted, says nothing about its pictures.
    if (error.code === 'source_not_found') return null;
    const isGone = now === null && (error.code === 'object_not_found' || fetchedETag !== undefined);
    const isBuried = tombstone(work, isGone ? 'gone' : 'failed', now?.eTag ?? null, isGone ? 'absent' : now ? 'same' : 'always');
    if (isBuried && (now || isGone)) looks.push({ work, eTag: now?.eTag ?? null });
    return null;
  }
}

/** All at once: the feed's budgets bound what is under way. Waits for all of them also when one throws. */
async function eachAtOnce<T>(items: T[], work: (item: T) => Promise<void>): Promise<void> {
  const results = await Promise.allSettled(items.map(work));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
