import type { FindingKind } from '@sightline/shared/contracts/audits';
import { contains, type Region } from '@sightline/shared/contracts/source-place';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { compareItem, comparePoint, type Agreement, type Finding } from './compare-point.ts';
import type { Doubts } from './doubts.ts';
import { dropRemovedItems } from './drop-removed-items.ts';
import { lookAtNamed, readSources, type ExpectDeps, type Expectation } from './expect-sources.ts';
import type { ExpectedSet } from './expected-set.ts';
import { addKnownFailures } from './known-failures.ts';
import { isKnown, lookAgain, missing } from './look-again.ts';

export interface AuditDeps extends ExpectDeps {
  store: ObjectStore;
  ledger: Pick<Ledger, 'latestIngestions' | 'failedObjects' | 'changeFailures'>;
  index: Pick<VectorIndex, 'scan' | 'spec' | 'get' | 'findByItem'>;
  /** Sets on disk, empty; the audit closes them. */
  openExpectedSet: () => ExpectedSet;
  openDoubts: () => Doubts;
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
}

export interface AuditOptions {
  /** Only pictures in it are compared, with the records on them. Null: everything. */
  place: Region | null;
  /** What differs is looked at again so much later. */
  graceMs: number;
  signal?: AbortSignal | undefined;
}

export interface AuditReport {
  tenant: string;
  /** Points of the index, tombstones included; with a place only those in it. */
  points: number;
  /** Where sources and index agree; `failed` and `removed` are absences that the ledger or a user accounts for. */
  agreed: Record<Agreement, number>;
  findings: Record<FindingKind, number>;
  /** Differed at the first look and agreed at a later one. */
  healed: number;
  unreadable: { source: string; code: string }[];
  /** Ingestions that are not over: what they still owe shows as findings. */
  running: string[];
}

const PAGE = 500;
/** How often a difference whose object changed since the last look is put off. */
const MOST_LOOKS = 4;

/** True when sources and index agree point by point. */
export function isClean({ findings, unreadable }: AuditReport): boolean {
  return unreadable.length === 0 && Object.values(findings).every((count) => count === 0);
}

/**
 * Compares every point of the index with what the known sources hold, one by one, with memory that does not grow with either: the
 * sources go into a set on disk, the index is read in pages and looked up in it. What differs is noted on disk and, after the grace,
 * looked at again by itself: what was in flight agrees by then, the rest is yielded. An object that changed between two looks is in
 * flight again and has a further grace, some times over.
 */
export async function* auditIndex(
  deps: AuditDeps,
  tenant: string,
  options: AuditOptions,
): AsyncGenerator<Finding, AuditReport, undefined> {
  const { graceMs, signal } = options;
  const report: AuditReport = {
    tenant,
    points: 0,
    agreed: { indexed: 0, failed: 0, removed: 0 },
    findings: { missing: 0, extra: 0, stale: 0, duplicate: 0, malformed: 0 },
    healed: 0,
    unreadable: [],
    running: [],
  };
  const look: Look = { deps, tenant, options, report };
  let doubts = deps.openDoubts();
  try {
    await firstLook(look, doubts);
    for (let looks = 1; doubts.count() > 0; looks++) {
      if (graceMs > 0) await deps.sleep(graceMs, signal);
      const looked = doubts;
      doubts = deps.openDoubts();
      try {
        yield* nextLook(look, looked, looks < MOST_LOOKS ? doubts : null);
      } finally {
        looked.close();
      }
    }
  } finally {
    doubts.close();
  }
  return report;
}

interface Look {
  deps: AuditDeps;
  tenant: string;
  options: AuditOptions;
  report: AuditReport;
}

/** All sources and the whole index; what differs is noted in `doubts`. */
async function firstLook({ deps, tenant, options: { place, signal }, report }: Look, doubts: Doubts): Promise<void> {
  const set = deps.openExpectedSet();
  const doubt = ({ assetId, bucket, key, entry }: Finding): void => {
    if (assetId === null) return doubts.addItem(entry?.record?.itemId ?? key);
    const object = bucket === null ? null : { bucket, key };
    doubts.addPoint({ assetId, object, seenETag: set.picture(assetId)?.eTag ?? null });
  };
  try {
    const where = { within: place ?? undefined, signal };
    const expectation = await readSources(deps, tenant, set, { ...where, allManifests: true });
    describeSources(report, expectation);
    await lookAtNamed(deps.store, tenant, set, where);
    await dropRemovedItems(deps.index, tenant, set, signal);
    await addKnownFailures(deps.ledger, tenant, set, expectation);
    await comparePoints({ deps, tenant, set, expectation, place, report, doubt, signal });
    compareUnseen(set, report, doubt);
    if (!place) compareItems(set, tenant, report, doubt);
  } finally {
    set.close();
  }
}

/** What differs and may be in flight goes to `moving`, where there is one; the rest of what differs is told. */
async function* nextLook(
  { deps, tenant, options: { place, signal }, report }: Look,
  doubts: Doubts,
  moving: Doubts | null,
): AsyncGenerator<Finding> {
  const onSources = (expectation: Expectation): void => describeSources(report, expectation);
  let differing = 0;
  for await (const { findings, agreed, moved } of lookAgain(deps, tenant, doubts, { place, signal, onSources })) {
    if (agreed) report.agreed[agreed] += 1;
    if (findings.length === 0) continue;
    differing += 1;
    if (moved && moving) moving.addPoint(moved);
    else {
      for (const finding of findings) report.findings[finding.kind] += 1;
      yield* findings;
    }
  }
  report.healed += doubts.count() - differing;
}

/** Sources that could not be read at one look may hide something, whatever a later look says. */
function describeSources(report: AuditReport, { unreadable, sources }: Expectation): void {
  for (const { place, error } of unreadable) {
    const source = [place.bucket, place.manifestKey].filter(Boolean).join('/');
    if (!report.unreadable.some((known) => known.source === source)) report.unreadable.push({ source, code: error.code });
  }
  const going = sources.filter(({ ingestion }) => ['planning', 'running', 'paused'].includes(ingestion.status));
  report.running = going.map(({ ingestion }) => ingestion.ingestionId);
}

interface Comparing {
  deps: AuditDeps;
  tenant: string;
  set: ExpectedSet;
  expectation: Expectation;
  place: Region | null;
  report: AuditReport;
  doubt: (finding: Finding) => void;
  signal: AbortSignal | undefined;
}

async function comparePoints({ deps, tenant, set, expectation, place, report, doubt, signal }: Comparing): Promise<void> {
  const { index } = deps;
  const isListed = (object: { bucket: string; key: string }): boolean =>
    expectation.listed.some((listed) => contains(listed, object));
  for (let after: string | undefined; ;) {
    signal?.throwIfAborted();
    const page = await index.scan(tenant, { after, limit: PAGE, withVectors: true });
    for (const point of page) {
      if (place && !(point.object && contains(place, point.object))) continue;
      report.points += 1;
      const { findings, agreed } = comparePoint(set, point, { spec: index.spec, isListed });
      if (agreed) report.agreed[agreed] += 1;
      for (const finding of findings) if (isKnown(finding, expectation)) doubt(finding);
    }
    after = page.at(-1)?.assetId;
    if (page.length < PAGE || after === undefined) return;
  }
}

function compareUnseen(set: ExpectedSet, report: AuditReport, doubt: (finding: Finding) => void): void {
  for (let after = ''; ;) {
    const page = set.unseen(after, PAGE);
    for (const picture of page) {
      if (set.failure(picture.bucket, picture.key, picture.eTag) !== null) report.agreed.failed += 1;
      else doubt(missing(picture));
    }
    const last = page.at(-1);
    if (page.length < PAGE || !last) return;
    after = last.assetId;
  }
}

function compareItems(set: ExpectedSet, tenant: string, report: AuditReport, doubt: (finding: Finding) => void): void {
  for (let after = ''; ;) {
    const page = set.items(after, PAGE);
    for (const seen of page) {
      const finding = compareItem(set, tenant, seen);
      if (!finding) continue;
      // Its text failed by itself; a picture's failure is no excuse, passage 0 stands in for it.
      if (set.anyFailure(finding.key)) report.agreed.failed += 1;
      else doubt(finding);
    }
    const last = page.at(-1);
    if (page.length < PAGE || !last) return;
    after = last.item.itemId;
  }
}
