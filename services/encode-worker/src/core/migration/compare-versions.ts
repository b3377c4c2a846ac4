import type { PointCopy, VectorIndex } from '@sightline/shared/ports/vector-index';
import { changedSpaces } from '@sightline/shared/migration/same-spec';
import type { PointName } from '@sightline/shared/ports/migration-ledger';
import { difference } from './compare-copies.ts';
import type { MigrationDeps } from './migration-deps.ts';

/** More are not looked at again: a comparison that finds more does not pass. */
const MOST_SUSPECTS = 10_000;
const ROUNDS = 5;
const ROUND_MS = 500;
/** How long the copying of what differed is waited for. */
const SETTLE_MS = 20_000;
const SETTLE_STEP_MS = 50;

export interface Comparison {
  compared: number;
  /** What still differs after it was copied once more. */
  differences: (PointName & { detail: string })[];
}

/**
 * Both versions point by point, while they are written to. What differs may be on its way, or have been missed: it is owed once more,
 * and what differs after that too, several times, is a difference. Points that failed are known, and not counted here.
 */
export async function compareVersions(
  deps: MigrationDeps,
  versions: { source: VectorIndex; target: VectorIndex; targetVersion: number },
  signal: AbortSignal,
): Promise<Comparison> {
  const { source, target, targetVersion } = versions;
  const changed = changedSpaces(source.spec, target.spec);
  const suspects: PointName[] = [];
  let compared = 0;
  let isCut = false;
  const tenants = new Set([...(await source.tenants()), ...(await target.tenants())]);
  for (const tenant of tenants) {
    for await (const [before, after] of pairs(source, target, tenant, deps.settings.pagePoints)) {
      signal.throwIfAborted();
      compared += 1;
      if (difference(before, after, changed) === null) continue;
      if (suspects.length >= MOST_SUSPECTS) {
        isCut = true;
        continue;
      }
      suspects.push({ tenant, assetId: (before ?? after)?.assetId ?? '' });
    }
  }
  deps.logger.info({ compared, differing: suspects.length }, 'both versions of the index were compared once');
  let left: Comparison['differences'] = suspects.map((point) => ({ ...point, detail: '' }));
  for (let round = 0; round < ROUNDS && left.length > 0; round++) {
    if (round > 0) await deps.sleep(ROUND_MS, signal);
    const failed = new Set((await deps.ledger.failedCopies(targetVersion, MOST_SUSPECTS)).map(nameOf));
    left = left.filter((point) => !failed.has(nameOf(point)));
    await deps.ledger.oweCopies(targetVersion, left, deps.now());
    await copied(deps, targetVersion, left, signal);
    left = await differing(versions, left, changed);
    deps.logger.info({ differing: left.length, first: left[0] }, 'what differed was compared again');
  }
  const failed = new Set((await deps.ledger.failedCopies(targetVersion, MOST_SUSPECTS)).map(nameOf));
  const differences = left.filter((point) => !failed.has(nameOf(point)));
  // What was not looked at again may be mended or not: the next comparison knows.
  if (isCut) differences.push({ tenant: '', assetId: '', detail: `more than ${MOST_SUSPECTS} points differed` });
  return { compared, differences };
}

/** Until these points are copied, or it takes too long: what is written without a pause is owed without one. */
async function copied(
  { ledger, now, sleep }: MigrationDeps,
  version: number,
  points: PointName[],
  signal: AbortSignal,
): Promise<void> {
  for (const endsAt = now() + SETTLE_MS; now() < endsAt; await sleep(SETTLE_STEP_MS, signal))
    if ((await ledger.stillOwed(version, points)).length === 0) return;
}

/** Until the version is owed nothing; false when that takes too long. */
export async function settled(
  { ledger, now, sleep }: MigrationDeps,
  version: number,
  signal: AbortSignal,
  mostMs: number,
): Promise<boolean> {
  for (const endsAt = now() + mostMs; ; await sleep(SETTLE_STEP_MS, signal)) {
    if ((await ledger.countCopies(version)).owed === 0) return true;
    if (now() > endsAt) return false;
  }
}

async function differing(
  { source, target }: { source: VectorIndex; target: VectorIndex },
  points: PointName[],
  changed: ReturnType<typeof changedSpaces>,
): Promise<Comparison['differences']> {
  const differences: Comparison['differences'] = [];
  for (const [tenant, some] of Map.groupBy(points, (point) => point.tenant)) {
    const assetIds = some.map(({ assetId }) => assetId);
    const [before, after] = await Promise.all([source.copies(tenant, { assetIds }), target.copies(tenant, { assetIds })]);
    for (const assetId of assetIds) {
      const of = (copies: PointCopy[]) => copies.find((copy) => copy.assetId === assetId);
      const detail = difference(of(before), of(after), changed);
      if (detail !== null) differences.push({ tenant, assetId, detail });
    }
  }
  return differences;
}

/** The points of both in the order of their ids; what only one of them has comes alone. */
async function* pairs(
  source: VectorIndex,
  target: VectorIndex,
  tenant: string,
  limit: number,
): AsyncIterable<[PointCopy | undefined, PointCopy | undefined]> {
  const left = pointsOf(source, tenant, limit);
  const right = pointsOf(target, tenant, limit);
  let [a, b] = await Promise.all([left.next(), right.next()]);
  while (!a.done || !b.done) {
    const order = a.done ? 1 : b.done ? -1 : a.value.assetId < b.value.assetId ? -1 : a.value.assetId > b.value.assetId ? 1 : 0;
    yield [order <= 0 && !a.done ? a.value : undefined, order >= 0 && !b.done ? b.value : undefined];
    if (order <= 0) a = await left.next();
    if (order >= 0) b = await right.next();
  }
}

async function* pointsOf(index: VectorIndex, tenant: string, limit: number): AsyncGenerator<PointCopy, undefined> {
  for (let after: string | undefined; ;) {
    const page = await index.copies(tenant, { limit, ...(after === undefined ? {} : { after }) });
    yield* page;
    after = page.at(-1)?.assetId;
    if (page.length < limit) return undefined;
  }
}

function nameOf({ tenant, assetId }: PointName): string {
  return JSON.stringify([tenant, assetId]);
}
