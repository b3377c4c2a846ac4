import { assetLockKey } from '@sightline/shared/contracts/ids';
import { withFreeKey } from '@sightline/shared/ingestion/key-lease';
import { embeddedText, pointKeywords } from '@sightline/shared/ingestion/point-text';
import { tenantFence } from '@sightline/shared/ingestion/tenant-fence';
import { changedSpaces } from '@sightline/shared/migration/same-spec';
import type { OwedPoint } from '@sightline/shared/ports/migration-ledger';
import type { PointCopy, PointHalf, Space, VectorIndex } from '@sightline/shared/ports/vector-index';
import { failureReasonFor, SightlineError, toSightlineError } from '@sightline/shared/runtime/errors';
import type { MigrationDeps } from './migration-deps.ts';

export interface CopyPlan {
  source: VectorIndex;
  target: VectorIndex;
  /** The target serves: what the source still has newer was written late, and counts only while the object is as it says. */
  isLate: boolean;
}

type Settled = Parameters<MigrationDeps['ledger']['settleCopies']>[1][number];

/** The halves that the target lacks. */
interface Due {
  owed: OwedPoint;
  copy: PointCopy;
  image: PointHalf | null;
  record: PointHalf | null;
}

/**
 * Brings points of the target in step with the source: each half that is newer there, with the vector of a space that both packs make
 * alike, and a new one of the space that they do not: from the object, which must be the one that the point was made from, or from
 * the text. Copying twice is copying once. A picture that cannot be encoded anew fails, and its text goes over without it.
 */
export async function copyPoints(
  deps: MigrationDeps,
  plan: CopyPlan,
  owed: OwedPoint[],
  signal: AbortSignal,
): Promise<Settled[]> {
  const settled: Settled[] = [];
  const changed = changedSpaces(plan.source.spec, plan.target.spec);
  for (const [tenant, points] of Map.groupBy(owed, (point) => point.tenant)) {
    const ids = points.map(({ assetId }) => assetId);
    const [from, to] = await Promise.all([copiesOf(plan.source, tenant, ids), copiesOf(plan.target, tenant, ids)]);
    const due: Due[] = [];
    for (const point of points) {
      const copy = from.get(point.assetId);
      const there = to.get(point.assetId);
      const image = newer(copy?.image, there?.image);
      const record = newer(copy?.record, there?.record);
      if (copy && (image || record)) due.push({ owed: point, copy, image, record });
      else settled.push({ ...point, ...(!copy && there && (await takeOff(deps, plan, point)) === 'later' && later(deps)) });
    }
    deps.count('equal', settled.length);
    const texts = changed.includes('text') ? await encodeTexts(deps, due, signal) : new Map<string, Float32Array>();
    const made = await Promise.all(due.map((one) => makeCopy(deps, plan, one, { changed, texts, signal })));
    settled.push(...(await putAll(deps, plan, tenant, made, signal)));
  }
  return settled;
}

/** A point as the target is to have it; what cannot be made now, or never, says so. */
interface Made {
  owed: OwedPoint;
  put: (PointCopy & { keywords: string[] }) | null;
  failure: SightlineError | null;
  isLater: boolean;
}

async function makeCopy(
  deps: MigrationDeps,
  { target, isLate }: CopyPlan,
  { owed, copy, image, record }: Due,
  { changed, texts, signal }: { changed: Space[]; texts: Map<string, Float32Array | SightlineError>; signal: AbortSignal },
): Promise<Made> {
  try {
    const vectors: PointCopy['vectors'] = {};
    let failure: SightlineError | null = null;
    let takesImage = image !== null;
    if (image?.live && isLate)
      takesImage = copy.object !== null && (await deps.store.head(copy.object))?.eTag === copy.object.eTag;
    if (image?.live && takesImage) {
      const vector = changed.includes('image') ? await encodePicture(deps, target, copy, signal) : copy.vectors.image;
      if (vector instanceof SightlineError) failure = vector;
      else if (vector) vectors.image = vector;
      takesImage = vectors.image !== undefined;
    }
    let takesRecord = record !== null;
    if (record && copy.vectors.text) {
      const vector = changed.includes('text') ? texts.get(embeddedText(copy.records)) : copy.vectors.text;
      if (vector instanceof SightlineError) failure = vector;
      else if (vector) vectors.text = vector;
      takesRecord = vectors.text !== undefined;
    }
    const halves = { image: takesImage ? image : null, record: takesRecord ? record : null };
    const put = halves.image || halves.record ? { ...copy, ...halves, vectors, keywords: pointKeywords(copy.records) } : null;
    return { owed, put, failure, isLater: false };
  } catch (error) {
    if (!signal.aborted) deps.logger.warn({ err: error, assetId: copy.assetId }, 'a point is copied to the other version later');
    return { owed, put: null, failure: null, isLater: true };
  }
}

async function putAll(
  deps: MigrationDeps,
  { target }: CopyPlan,
  tenant: string,
  made: Made[],
  signal: AbortSignal,
): Promise<Settled[]> {
  const isDone = await (async () => {
    // A tenant that was deleted meanwhile is not brought back by what was read before.
    const fence = await tenantFence(deps.ledger, tenant);
    const puts = made.flatMap(({ put }) => put ?? []).filter((put) => newestOf(put) > fence);
    signal.throwIfAborted();
    if (puts.length > 0) await target.putCopies(puts);
    return true;
  })().catch((error: unknown) => {
    if (!signal.aborted) deps.logger.warn({ err: error }, 'points are copied to the other version later');
    return false;
  });
  return made.map(({ owed, failure, isLater }) => {
    if (!isDone || isLater) {
      deps.count('later', 1);
      return { ...owed, ...later(deps) };
    }
    deps.count(failure ? 'failed' : 'copied', 1);
    return { ...owed, ...(failure && { failure: { code: failure.code, reason: failureReasonFor(failure) } }) };
  });
}

function newestOf({ image, record }: PointCopy): number {
  return Math.max(image?.version ?? 0, record?.version ?? 0);
}

function later({ now, settings }: MigrationDeps): { retryAt: number } {
  return { retryAt: now() + settings.retryMs };
}

async function copiesOf(index: VectorIndex, tenant: string, assetIds: string[]): Promise<Map<string, PointCopy>> {
  return new Map((await index.copies(tenant, { assetIds })).map((copy) => [copy.assetId, copy]));
}

function newer(source: PointHalf | null | undefined, target: PointHalf | null | undefined): PointHalf | null {
  return source && (!target || target.version < source.version) ? source : null;
}

/** A point that the source does not have any more, because its tenant was deleted or its tombstone purged, leaves the target too. */
async function takeOff(
  { ledger, sleep, now, settings }: MigrationDeps,
  { source, target, isLate }: CopyPlan,
  { tenant, assetId }: OwedPoint,
): Promise<'done' | 'later'> {
  // A version that was given up says nothing by what it lacks.
  if (isLate) return 'done';
  let outcome: 'done' | 'later' = 'done';
  const isFree = await withFreeKey(
    { ledger, sleep },
    assetLockKey(tenant, assetId),
    { ttlMs: settings.leaseTtlMs },
    async (lease) => {
      const [there] = await target.copies(tenant, { assetIds: [assetId] });
      if (!(there?.image?.live || there?.record?.live)) return;
      if ((await source.get(tenant, [assetId])).has(assetId)) outcome = 'later';
      else await target.delete([{ assetId, tenant, version: lease.version, reason: 'gone', object: there.object, at: now() }]);
    },
  );
  return isFree ? outcome : 'later';
}

/** The picture's vector, or why its bytes will never give one. Errors: what may pass. */
async function encodePicture(
  deps: MigrationDeps,
  target: VectorIndex,
  { tenant, object, sizeBytes }: PointCopy,
  signal: AbortSignal,
): Promise<Float32Array | SightlineError> {
  if (!object) return new SightlineError('object_not_found');
  try {
    const fed = await deps.feedOf(target).take(tenant, { ...object, sizeBytes: sizeBytes ?? 0 }, { signal });
    if (fed.eTag === object.eTag) return fed.vector;
    // Whoever brings the change to the index owes it to this version too.
    return new SightlineError('object_changed', 'It is not what was indexed: an audit finds and mends that.');
  } catch (thrown) {
    const error = toSightlineError(thrown);
    if (signal.aborted || error.retryable) throw error;
    return error;
  }
}

/** Vectors by text; one text that fails does not keep the others. */
async function encodeTexts(
  { encoder }: MigrationDeps,
  due: Due[],
  signal: AbortSignal,
): Promise<Map<string, Float32Array | SightlineError>> {
  const texts = [...new Set(due.flatMap(({ record, copy }) => (record && copy.vectors.text ? embeddedText(copy.records) : [])))];
  const vectors = new Map<string, Float32Array | SightlineError>();
  if (texts.length === 0) return vectors;
  const encode = (some: string[]) => encoder.encodeTexts(some, { space: 'text', purpose: 'passage', lane: 'bulk', signal });
  try {
    const encoded = await encode(texts);
    texts.forEach((text, i) => vectors.set(text, encoded[i]?.vector ?? new SightlineError('encoder_failed')));
  } catch (thrown) {
    if (signal.aborted || toSightlineError(thrown).retryable) throw thrown;
    for (const text of texts) {
      const vector = await encode([text]).then(
        ([one]) => one?.vector ?? new SightlineError('encoder_failed'),
        (alone: unknown) => toSightlineError(alone),
      );
      vectors.set(text, vector);
    }
  }
  return vectors;
}
