import { passageAssetId, pictureAssetId } from '@sightline/shared/contracts/ids';
import { contains, type Region } from '@sightline/shared/contracts/source-place';
import { isSidecar } from '@sightline/shared/ingestion/sidecars';
import type { AuditDeps } from './audit.ts';
import { compareItem, comparePoint, type Agreement, type Finding } from './compare-point.ts';
import type { DoubtedPoint, Doubts } from './doubts.ts';
import { dropRemovedItems } from './drop-removed-items.ts';
import { lookAtNamed, readSources, type Expectation } from './expect-sources.ts';
import type { ExpectedSet, SeenItem } from './expected-set.ts';
import { addKnownFailures } from './known-failures.ts';

const PAGE = 500;

/** What came of one doubt: with no findings it agrees. */
export interface SecondLook {
  findings: Finding[];
  agreed: Agreement | null;
  /** The doubt anew where its object has changed since the last look: what differs may be in flight still. */
  moved: DoubtedPoint | null;
}

interface Look {
  deps: AuditDeps;
  tenant: string;
  doubts: Doubts;
  set: ExpectedSet;
  expectation: Expectation;
  signal: AbortSignal | undefined;
}

interface LookAgainOptions {
  place: Region | null;
  signal: AbortSignal | undefined;
  onSources: (expectation: Expectation) => void;
}

/**
 * Looks at what is doubted, and at nothing else: its objects, its points, its failures, and the records that have a say in it, all as
 * they are at present. Memory does not grow with the doubts.
 */
export async function* lookAgain(
  deps: AuditDeps,
  tenant: string,
  doubts: Doubts,
  { place, signal, onSources }: LookAgainOptions,
): AsyncGenerator<SecondLook> {
  const set = deps.openExpectedSet();
  try {
    await doubtItems(deps, tenant, doubts, set);
    const isWanted = ({ itemId, pictures }: { itemId: string; pictures: { bucket: string; key: string }[] }): boolean =>
      set.isDoubtful(itemId) || pictures.some(({ bucket, key }) => doubts.point(pictureAssetId(tenant, bucket, key)) !== null);
    const where = { within: place ?? undefined, allManifests: true, only: isWanted, signal };
    const expectation = await readSources(deps, tenant, set, where);
    onSources(expectation);
    const look: Look = { deps, tenant, doubts, set, expectation, signal };
    doubtPictures(look);
    await lookAtNamed(deps.store, tenant, set, { within: place ?? undefined, signal });
    await dropRemovedItems(deps.index, tenant, set, signal);
    await addKnownFailures(deps.ledger, tenant, set, expectation);
    yield* points(look);
    yield* unseen(look);
    if (!place) yield* items(look);
  } finally {
    set.close();
  }
}

/** The items whose records are on doubted points: their manifests are asked for them. */
async function doubtItems({ index }: AuditDeps, tenant: string, doubts: Doubts, set: ExpectedSet): Promise<void> {
  for await (const page of pages(doubts.points, ({ assetId }) => assetId)) {
    const found = await index.get(tenant, page.map(({ assetId }) => assetId)); // prettier-ignore
    for (const { records } of found.values()) set.addDoubt({ assetId: null, itemIds: records.map(({ itemId }) => itemId) });
  }
  for await (const itemIds of pages(doubts.items, (itemId) => itemId)) set.addDoubt({ assetId: null, itemIds });
}

/** A doubted picture of a place that is a source itself is expected where its object is there. */
function doubtPictures({ tenant, doubts, set, expectation }: Look): void {
  for (let after = ''; ;) {
    const page = doubts.points(after, PAGE);
    for (const { assetId, object } of page) {
      // A point under a wrong id is not the object's.
      if (!object || isSidecar(object.key) || assetId !== pictureAssetId(tenant, object.bucket, object.key)) continue;
      if (expectation.listed.some((listed) => contains(listed, object))) set.addPicture({ assetId, ...object, eTag: null });
    }
    const last = page.at(-1);
    if (page.length < PAGE || !last) return;
    after = last.assetId;
  }
}

async function* points(look: Look): AsyncGenerator<SecondLook> {
  const { deps, tenant, doubts, set, signal } = look;
  for await (const page of pages(doubts.points, ({ assetId }) => assetId)) {
    signal?.throwIfAborted();
    const ids = page.map(({ assetId }) => assetId);
    const found = await deps.index.get(tenant, ids, { withVectors: true });
    for (const doubt of page) {
      const point = found.get(doubt.assetId);
      if (!point) continue;
      const { findings, agreed } = comparePoint(set, point, { spec: deps.index.spec, isListed: isListedIn(look) });
      yield {
        findings: findings.filter((finding) => isKnown(finding, look.expectation)),
        agreed,
        moved: moved(doubt, set.picture(doubt.assetId)?.eTag ?? null),
      };
    }
  }
}

/** Of a source that cannot be read nobody knows what is extra; the source itself is reported. */
export function isKnown({ kind, bucket, key }: Finding, { unreadable }: Expectation): boolean {
  return kind !== 'extra' || bucket === null || !unreadable.some(({ place }) => contains(place, { bucket, key }));
}

function moved(doubt: DoubtedPoint, seenETag: string | null): DoubtedPoint | null {
  return doubt.object && seenETag !== doubt.seenETag ? { ...doubt, seenETag } : null;
}

async function* unseen({ doubts, set }: Look): AsyncGenerator<SecondLook> {
  for await (const page of pages(set.unseen, ({ assetId }) => assetId)) {
    for (const { assetId, bucket, key, eTag } of page) {
      const doubt = doubts.point(assetId);
      if (!doubt) continue;
      if (set.failure(bucket, key, eTag) !== null) yield { findings: [], agreed: 'failed', moved: null };
      else yield { findings: [missing({ assetId, bucket, key })], agreed: null, moved: moved(doubt, eTag) };
    }
  }
}

/** A picture that is expected and has no point. */
export function missing({ assetId, bucket, key }: { assetId: string; bucket: string; key: string }): Finding {
  return { kind: 'missing', assetId, key, detail: 'no point', bucket, entry: null };
}

async function* items(look: Look): AsyncGenerator<SecondLook> {
  const { tenant, doubts, set, signal } = look;
  for (let after = ''; ;) {
    signal?.throwIfAborted();
    const page = set.doubtfulItems(after, PAGE);
    for (const { item } of page) if (doubts.hasItem(item.itemId)) await seePoints(look, item);
    // Read again, with what was seen of them.
    for (const seen of set.doubtfulItems(after, page.length)) {
      if (!doubts.hasItem(seen.item.itemId)) continue;
      const finding = compareItem(set, tenant, seen);
      const hasFailed = finding !== null && set.anyFailure(finding.key) !== null;
      yield { findings: finding && !hasFailed ? [finding] : [], agreed: hasFailed ? 'failed' : null, moved: null };
    }
    const last = page.at(-1);
    if (page.length < PAGE || !last) return;
    after = last.item.itemId;
  }
}

/** Everything that an item's text stands on is noted as a scan would note it. */
async function seePoints(look: Look, item: SeenItem['item']): Promise<void> {
  const { deps, tenant, set } = look;
  const live = await deps.index.findByItem(tenant, item.itemId);
  const passages = live.filter(({ kind }) => kind === 'passage').length;
  const ids = [
    ...item.pictures.map(({ bucket, key }) => pictureAssetId(tenant, bucket, key)),
    // Also those that a user took off.
    ...Array.from({ length: passages + 2 }, (_, no) => passageAssetId(tenant, item.itemId, no)),
  ];
  const seen = new Map(live.map((point) => [point.assetId, point]));
  for (const [assetId, point] of await deps.index.get(tenant, ids)) seen.set(assetId, point);
  for (const point of seen.values()) comparePoint(set, point, { spec: null, isListed: isListedIn(look) });
}

function isListedIn({ expectation }: Look): (object: { bucket: string; key: string }) => boolean {
  return (object) => expectation.listed.some((place) => contains(place, object));
}

async function* pages<T>(read: (after: string, limit: number) => T[], nameOf: (one: T) => string): AsyncGenerator<T[]> {
  for (let after = ''; ;) {
    const page = read(after, PAGE);
    if (page.length > 0) yield page;
    const last = page.at(-1);
    if (page.length < PAGE || last === undefined) return;
    after = nameOf(last);
  }
}
