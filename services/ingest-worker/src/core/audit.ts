import { contains } from '@sightline/shared/contracts/source-place';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { compareItem, comparePoint, type Agreement, type Finding, type FindingKind } from './compare-point.ts';
import { dropRemovedItems } from './drop-removed-items.ts';
import { expectSources, type ExpectDeps, type Expectation } from './expect-sources.ts';
import type { ExpectedSet } from './expected-set.ts';

export interface AuditDeps extends ExpectDeps {
  store: ObjectStore;
  ledger: Pick<Ledger, 'latestIngestions' | 'failedObjects' | 'changeFailures'>;
  index: Pick<VectorIndex, 'scan' | 'spec' | 'get'>;
  openExpectedSet: () => ExpectedSet;
}

export interface AuditReport {
  tenant: string;
  /** Points of the index, tombstones included. */
  points: number;
  /** Where sources and index agree; `failed` and `removed` are absences that the ledger or a user accounts for. */
  agreed: Record<Agreement, number>;
  findings: Record<FindingKind, number>;
  unreadable: { source: string; code: string }[];
  /** Ingestions that are not over: what they still owe shows as findings. */
  running: string[];
}

const PAGE = 500;

/** True when sources and index agree point by point. */
export function isClean({ findings, unreadable }: AuditReport): boolean {
  return unreadable.length === 0 && Object.values(findings).every((count) => count === 0);
}

/**
 * Compares every point of the index with what the known sources hold at this moment, one by one, with memory that does not
 * grow with either: the sources go into a set on disk, the index is read in pages and looked up in it. Each difference is
 * given to `onFinding`. A source that changes meanwhile shows as findings.
 */
export async function auditIndex(
  deps: AuditDeps,
  tenant: string,
  { onFinding, signal }: { onFinding: (finding: Finding) => void | Promise<void>; signal?: AbortSignal },
): Promise<AuditReport> {
  const report: AuditReport = {
    tenant,
    points: 0,
    agreed: { indexed: 0, failed: 0, removed: 0 },
    findings: { missing: 0, extra: 0, stale: 0, duplicate: 0, malformed: 0 },
    unreadable: [],
    running: [],
  };
  const tell = async (finding: Finding): Promise<void> => {
    report.findings[finding.kind] += 1;
    await onFinding(finding);
  };
  const set = deps.openExpectedSet();
  try {
    const expectation = await expectSources(deps, tenant, set, { ...(signal && { signal }) });
    describeSources(report, expectation);
    await dropRemovedItems(deps.index, tenant, set, signal);
    for (const { ingestion, place } of expectation.sources) {
      for await (const { key, eTag, code } of deps.ledger.failedObjects(ingestion.ingestionId)) {
        set.addFailure({ bucket: place.bucket, key, eTag, code });
      }
    }
    await addChangeFailures(deps, tenant, set);
    await comparePoints(deps, tenant, set, expectation, report, tell, signal);
    await compareUnseen(set, report, tell);
    await compareItems(set, tenant, report, tell);
  } finally {
    set.close();
  }
  return report;
}

/** What failed when it was told of, and not when it was listed. */
async function addChangeFailures({ ledger }: Pick<AuditDeps, 'ledger'>, tenant: string, set: ExpectedSet): Promise<void> {
  for (let after = '0'; ;) {
    const page = await ledger.changeFailures(tenant, { after, limit: PAGE });
    for (const { change, eTag, code } of page) {
      if (change.kind === 'object') set.addFailure({ bucket: change.bucket, key: change.key, eTag, code });
    }
    const last = page.at(-1);
    if (page.length < PAGE || !last) return;
    after = last.cursor;
  }
}

function describeSources(report: AuditReport, { unreadable, sources }: Expectation): void {
  for (const { place, error } of unreadable) {
    report.unreadable.push({ source: [place.bucket, place.manifestKey].filter(Boolean).join('/'), code: error.code });
  }
  for (const { ingestion } of sources) {
    if (['planning', 'running', 'paused'].includes(ingestion.status)) report.running.push(ingestion.ingestionId);
  }
}

async function comparePoints(
  { index }: AuditDeps,
  tenant: string,
  set: ExpectedSet,
  { listed, unreadable }: Expectation,
  report: AuditReport,
  tell: (finding: Finding) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (let after: string | undefined; ;) {
    signal?.throwIfAborted();
    const page = await index.scan(tenant, { after, limit: PAGE, withVectors: true });
    report.points += page.length;
    for (const point of page) {
      const { findings, agreed } = comparePoint(set, point, {
        spec: index.spec,
        isListed: (object) => listed.some((place) => contains(place, object)),
      });
      if (agreed) report.agreed[agreed] += 1;
      for (const finding of findings) {
        // Of a source that cannot be read nobody knows what is extra; the source itself is reported.
        const object = finding.bucket === null ? null : { bucket: finding.bucket, key: finding.key };
        if (finding.kind === 'extra' && object && unreadable.some(({ place }) => contains(place, object))) continue;
        await tell(finding);
      }
    }
    after = page.at(-1)?.assetId;
    if (page.length < PAGE || after === undefined) return;
  }
}

async function compareUnseen(set: ExpectedSet, report: AuditReport, tell: (finding: Finding) => Promise<void>): Promise<void> {
  for (let after = ''; ;) {
    const page = set.unseen(after, PAGE);
    for (const { assetId, bucket, key, eTag } of page) {
      if (set.failure(bucket, key, eTag) !== null) report.agreed.failed += 1;
      else await tell({ kind: 'missing', assetId, key, detail: 'no point', bucket, entry: null });
    }
    const last = page.at(-1);
    if (page.length < PAGE || !last) return;
    after = last.assetId;
  }
}

async function compareItems(
  set: ExpectedSet,
  tenant: string,
  report: AuditReport,
  tell: (finding: Finding) => Promise<void>,
): Promise<void> {
  for (let after = ''; ;) {
    const page = set.items(after, PAGE);
    for (const seen of page) {
      const finding = compareItem(set, tenant, seen);
      if (!finding) continue;
      // Its text failed by itself; a picture's failure is no excuse, passage 0 stands in for it.
      if (set.anyFailure(`item:${seen.item.itemId}`)) report.agreed.failed += 1;
      else await tell(finding);
    }
    const last = page.at(-1);
    if (page.length < PAGE || !last) return;
    after = last.item.itemId;
  }
}
