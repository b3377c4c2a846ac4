import { pictureAssetId } from '@sightline/shared/contracts/ids';
import type { JobData } from '@sightline/shared/contracts/jobs';
import { CHANGES_A_JOB } from '@sightline/shared/ingestion/drive-changes';
import { KnownPlaces } from '@sightline/shared/ingestion/known-places';
import { mapAhead } from '@sightline/shared/ingestion/map-ahead';
import { isOutage } from '@sightline/shared/ingestion/outages';
import { tenantFence } from '@sightline/shared/ingestion/tenant-fence';
import type { OwedChange, SettledChange } from '@sightline/shared/ports/ledger';
import { failureReasonFor, SightlineError, toSightlineError } from '@sightline/shared/runtime/errors';
import { guardSuspect, suspectSetting } from './change-suspect.ts';
import { ChunkWork, type Failing, type PictureWork } from './chunk-work.ts';
import { forChunk, type ChunkDeps, type EncodeDeps } from './encode-deps.ts';
import { publishChunk } from './publish-chunk.ts';
import { settleChunk, type SettleContext } from './settle-chunk.ts';
import { settleItemChange, type SettledItem } from './settle-item-change.ts';

export interface EncodeChangesDeps extends EncodeDeps {
  /** From a source's writing of an object, by its own clock, to its being found. */
  observeFreshness: (seconds: number) => void;
  /** Tells this process from others, and from those that it was before. */
  workerId: string;
}

/** A worker that died keeps its changes waiting so long; who takes longer only has them worked twice. */
const CLAIM_MS = 30_000;
/** A change that more workers than this died over is worked alone, its picture written down before it is decoded. */
const MAX_TAKINGS_TOGETHER = 3;
/** What may pass is tried again after half the time that it has been owed, within these; after so long it is a failure. */
const LEAST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
const GIVEN_UP_AFTER_MS = 24 * 3_600_000;

const ITEMS_AT_ONCE = 8;

/** What became of a change: null where all is well. */
type Fate = Failing | null;

/**
 * Works some of a tenant's owed changes. A change only says that something may have changed: the worker looks at the object's present
 * state, writes it, looks again, tells of it, and only then is the change settled in the ledger; one that was noted again meanwhile
 * stays owed. What may pass is given back for later, what is permanent becomes a failure of the change. Doing it twice is doing
 * it once. Answers how many it took: as many as a job takes means that there may be more.
 *
 * Errors: those of the ledger, `job_handed_back` when the job is for another pack than this worker's.
 */
export async function encodeChanges(
  deps: EncodeChangesDeps,
  { tenant, fingerprints, traceId }: JobData<'encode-changes'>,
  { signal }: { signal: AbortSignal },
): Promise<number> {
  if (!deps.accepts(fingerprints)) throw new SightlineError('job_handed_back', 'This worker serves another encoder pack.');
  const fence = await tenantFence(deps.ledger, tenant);
  const at = deps.now();
  const taken = await deps.ledger.takeChanges(tenant, {
    limit: CHANGES_A_JOB,
    claimMs: CLAIM_MS,
    soloAfter: MAX_TAKINGS_TOGETHER,
    at,
  });
  if (taken.length === 0) return 0;
  const { observeFreshness, workerId } = deps;
  try {
    const claimedUntil = at + CLAIM_MS;
    await workOrGiveBack(deps, tenant, taken, { traceId, fence, claimedUntil, signal, observeFreshness, workerId });
  } catch (thrown) {
    // Not given back, they come after their claim.
    await giveBack(deps, tenant, taken, signal.aborted ? 0 : undefined).catch(() => {});
    if (signal.aborted) throw thrown;
    deps.logger.warn({ err: thrown, tenant, traceId, changes: taken.length }, 'changes wait for the ledger');
  }
  return taken.length;
}

/** Throws when the worker stops, and what the ledger throws. */
async function workOrGiveBack(deps: EncodeDeps, tenant: string, taken: OwedChange[], working: Working): Promise<void> {
  const { signal, traceId } = working;
  try {
    await workChanges(forChunk(deps), tenant, taken, working);
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    const error = toSightlineError(thrown);
    // One of them may be what it fails over: the others must not wait for it.
    if (taken.length > 1 && !isOutage(error.code) && error.code !== 'lease_lost') {
      for (const one of taken) await workOrGiveBack(deps, tenant, [one], working);
      return;
    }
    deps.logger.warn({ err: error, tenant, traceId, changes: taken.length }, 'changes are tried again later');
    const at = deps.now();
    const [waiting, lost] = partition(taken, (one) => mayPass({ error }, one, at));
    await deps.ledger.settleChanges(tenant, lost.map((one) => settledAs(one, { error })), at); // prettier-ignore
    await giveBack(deps, tenant, waiting);
  }
}

interface Working {
  traceId: string;
  fence: number;
  /** Unix milliseconds; then others may be given the same changes. */
  claimedUntil: number;
  signal: AbortSignal;
  observeFreshness: (seconds: number) => void;
  workerId: string;
}

async function workChanges(deps: ChunkDeps, tenant: string, taken: OwedChange[], working: Working): Promise<void> {
  const { signal, traceId } = working;
  const noticedAt = Math.min(...taken.map((one) => one.noticedAt));
  const [first] = taken;
  const suspect = first && first.attempts > MAX_TAKINGS_TOGETHER ? suspectSetting(tenant, first.place) : null;
  if (suspect !== null) deps.logger.warn({ tenant, place: first?.place }, 'workers died over this change, or beside it');
  const work = new ChunkWork(tenant, await entriesOf(deps, tenant, taken));
  const context: SettleContext = {
    tenant,
    plannedAt: noticedAt,
    signal,
    lateWriters: new Set(taken.filter(({ attempts }) => attempts > 1).flatMap((one) => assetIdOf(tenant, one) ?? [])),
    guard: suspect === null ? undefined : () => guardSuspect(deps.ledger, suspect, working.workerId),
    assertAlive: async () => {
      if ((await tenantFence(deps.ledger, tenant)) > working.fence)
        throw new SightlineError('lease_lost', 'Its tenant was deleted meanwhile.');
    },
  };
  await settleChunk(deps, work, context);
  const items = await settleItemChanges(deps, tenant, taken, context, working);
  const byAsset = new Map(taken.map((one) => [assetIdOf(tenant, one), one]));
  const telling = {
    tenant,
    traceId,
    ingestionId: null,
    since: noticedAt,
    occasionOf: (assetId: string) => byAsset.get(assetId)?.generation ?? 0,
    changedAtOf: (assetId: string) => changedAt(byAsset.get(assetId), work.pictures.get(assetId)),
    isGivenUp: (failing: Failing, assetId: string) => !mayPass(failing, byAsset.get(assetId) ?? { noticedAt }, deps.now()),
  };
  await publishChunk(deps, work, telling);
  for (const [one, item] of items) {
    const isGivenUp = (failing: Failing): boolean => !mayPass(failing, one, deps.now());
    const own = { occasionOf: () => one.generation, changedAtOf: () => one.changedAt, isGivenUp };
    await publishChunk(deps, item.work, { ...telling, ...own });
  }
  const shownAt = deps.now();
  const settled: SettledChange[] = [];
  const waiting: OwedChange[] = [];
  for (const one of taken) {
    const picture = work.pictures.get(assetIdOf(tenant, one) ?? '');
    const fate: Fate = picture?.failure ?? items.get(one)?.failure ?? null;
    const isWaiting = fate !== null && mayPass(fate, one, shownAt);
    if (isWaiting) waiting.push(one);
    else settled.push(settledAs(one, fate));
    const isShown = picture ? deps.written.has(picture.assetId) : one.change.kind === 'item';
    if (!fate && isShown) {
      const at = changedAt(one, picture);
      if (at !== null) working.observeFreshness(Math.max(0, shownAt - at) / 1000);
    }
    if (fate && !isWaiting) deps.count('failed', fate.error.code);
    else if (!fate && picture?.settled) deps.count(picture.settled);
  }
  for (const error of work.untold()) deps.logger.warn({ err: error, tenant, traceId }, 'changes failed');
  // The effect is durable and was told of: now, and not before, the change is owed no more.
  await deps.ledger.settleChanges(tenant, settled, deps.now());
  await giveBack(deps, tenant, waiting);
  // Whatever is put in its place later is not what workers died over.
  if (suspect !== null && settled.length > 0) await deps.ledger.putSetting(suspect, null);
}

/** One that fails does not keep the others; a part of the stack that is away does. */
async function settleItemChanges(
  deps: ChunkDeps,
  tenant: string,
  taken: OwedChange[],
  context: SettleContext,
  { claimedUntil, signal }: Working,
): Promise<Map<OwedChange, SettledItem>> {
  const assertCurrent = (): void => {
    // Another may have been given a newer record since, and have worked it.
    if (deps.now() >= claimedUntil) throw new SightlineError('lease_lost', 'The record was claimed for too short.');
  };
  const settleOne = async (one: OwedChange): Promise<[OwedChange, SettledItem] | null> => {
    if (one.change.kind !== 'item') return null;
    try {
      return [one, await settleItemChange(deps, tenant, one.change, { ...context, assertCurrent })];
    } catch (thrown) {
      const error = toSightlineError(thrown);
      if (signal.aborted || isOutage(error.code)) throw thrown;
      return [one, { work: new ChunkWork(tenant, []), failure: { error } }];
    }
  };
  const settled = new Map<OwedChange, SettledItem>();
  for await (const one of mapAhead(taken, ITEMS_AT_ONCE, settleOne)) if (one) settled.set(...one);
  return settled;
}

/** A picture for each object that a source lists or a record names; of others nothing is owed. */
async function entriesOf(deps: ChunkDeps, tenant: string, taken: OwedChange[]) {
  const known = new KnownPlaces(await deps.ledger.latestIngestions(tenant));
  const objects = taken.flatMap(({ change }) => (change.kind === 'object' ? [change] : []));
  const ids = objects.map(({ bucket, key }) => pictureAssetId(tenant, bucket, key));
  const points = await deps.index.get(tenant, ids);
  const named = await deps.index.findByPicture(tenant, ids);
  return objects
    .filter((object) => {
      const id = pictureAssetId(tenant, object.bucket, object.key);
      const point = points.get(id);
      return known.standingOf(object) === 'listed' || (point !== undefined && !point.deleted) || named.has(id);
    })
    .map(({ bucket, key }) => ({ object: { bucket, key, eTag: '', sizeBytes: 0 }, reconcile: 'look' as const }));
}

function assetIdOf(tenant: string, { change }: OwedChange): string | undefined {
  return change.kind === 'object' ? pictureAssetId(tenant, change.bucket, change.key) : undefined;
}

/** The teller's time, else the store's; both by the source's clock. */
function changedAt(change: OwedChange | undefined, picture: PictureWork | undefined): number | null {
  return change ? (change.changedAt ?? picture?.modifiedAt ?? null) : null;
}

/** A source that is not there, such as a disk that is not mounted, may come back, and says nothing of its objects meanwhile. */
function mayPass({ error }: Failing, { noticedAt }: Pick<OwedChange, 'noticedAt'>, at: number): boolean {
  if (isOutage(error.code)) return true;
  return (error.retryable || error.code === 'source_not_found') && at - noticedAt < GIVEN_UP_AFTER_MS;
}

function settledAs({ place, generation }: OwedChange, fate: Fate): SettledChange {
  if (!fate) return { place, generation };
  const { error, eTag } = fate;
  return { place, generation, failure: { code: error.code, reason: failureReasonFor(error), eTag: eTag ?? null } };
}

function partition<T>(all: T[], isFirst: (one: T) => boolean): [T[], T[]] {
  return [all.filter(isFirst), all.filter((one) => !isFirst(one))];
}

/** Each comes again when it has waited about half as long as it did so far; `afterMs` says otherwise. */
async function giveBack(
  { ledger, now }: Pick<EncodeDeps, 'ledger' | 'now'>,
  tenant: string,
  changes: OwedChange[],
  afterMs?: number,
): Promise<void> {
  const at = now();
  const byPause = new Map<number, string[]>();
  for (const { place, noticedAt } of changes) {
    const pauseMs = afterMs ?? Math.min(Math.max((at - noticedAt) / 2, LEAST_PAUSE_MS), LONGEST_PAUSE_MS);
    const rounded = Math.ceil(pauseMs / 250) * 250;
    byPause.set(rounded, [...(byPause.get(rounded) ?? []), place]);
  }
  for (const [pauseMs, places] of byPause) await ledger.giveBackChanges(tenant, places, at + pauseMs);
}
