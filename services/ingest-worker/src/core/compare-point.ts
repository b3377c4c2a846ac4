import type { FindingKind } from '@sightline/shared/contracts/audits';
import { passageAssetId, pictureAssetId } from '@sightline/shared/contracts/ids';
import type { PointRecord } from '@sightline/shared/contracts/records';
import { isItemTombstone } from '@sightline/shared/ingestion/record-removal';
import type { ChunkEntry } from '@sightline/shared/ports/ledger';
import type { AssetPoint, IndexSpec } from '@sightline/shared/ports/vector-index';
import type { ExpectedItem, ExpectedPicture, ExpectedSet, SeenItem } from './expected-set.ts';

/** A point where sources and index disagree. */
export interface Finding {
  kind: FindingKind;
  assetId: string | null;
  /** The object's key, or `item:<id>`. */
  key: string;
  detail: string;
  bucket: string | null;
  /** What reconciling has to drive; null where the point has to be dropped and its source ingested anew. */
  entry: ChunkEntry | null;
}

/** What is not as a plain index would have it, and agreed: the ledger has the failure, or a user removed it. */
export type Agreement = 'indexed' | 'failed' | 'removed';

export interface Comparison {
  findings: Finding[];
  agreed: Agreement | null;
}

const NORM_TOLERANCE = 1e-3;

/**
 * Compares one point of the index with the sources, and notes in `set` what it saw. `spec` is given where points come with
 * their vectors; `isListed` says that pictures of that place are themselves a source.
 */
export function comparePoint(
  set: ExpectedSet,
  point: AssetPoint,
  { spec, isListed }: { spec: IndexSpec | null; isListed: (object: { bucket: string; key: string }) => boolean },
): Comparison {
  if (point.kind === 'passage') return comparePassage(set, point, spec);
  const { object } = point;
  if (!object) return { findings: [finding('malformed', point, 'a picture without an object', null)], agreed: null };
  const expected = set.picture(point.assetId);
  if (point.assetId !== pictureAssetId(point.tenant, object.bucket, object.key)) {
    return { findings: [finding('duplicate', point, 'the object has a point under another id', null)], agreed: null };
  }
  if (!expected?.eTag) return compareUnexpected(set, point, expected, isListed(object));

  // Not those of a picture that has to go: without it the item's text needs a point of its own.
  if (!point.deleted) for (const { itemId, text } of point.records) set.addFirstPassage(itemId, text);
  const isRemoved = point.deleted && point.deletedBecause === 'removed' && object.eTag === expected.eTag;
  set.markSeen(point.assetId, isRemoved ? 'removed' : point.deleted || !point.hasImage ? 'down' : 'live');
  if (isRemoved) return { findings: [], agreed: 'removed' };
  const hasFailed = set.failure(object.bucket, object.key, expected.eTag) !== null;
  if (point.deleted) {
    if (hasFailed) return { findings: [], agreed: 'failed' };
    return { findings: [finding('missing', point, `a tombstone (${point.deletedBecause}) stands where the source has a picture`, null)], agreed: null }; // prettier-ignore
  }
  if (object.eTag !== expected.eTag) {
    const code = set.failure(object.bucket, object.key, expected.eTag);
    return { findings: [finding('stale', point, code ? `its new bytes failed: ${code}` : 'the object has changed', null)], agreed: null }; // prettier-ignore
  }
  const faults = vectorFaults(point, spec).map((detail) => finding('malformed', point, detail, null));
  if (!point.hasImage) faults.push(finding('malformed', point, 'no image vector', null));
  if (!point.sha256) faults.push(finding('malformed', point, 'no content hash', null));
  const findings = [...faults, ...compareRecords(set, point)];
  if (hasFailed && findings.length > 0) return { findings: [], agreed: 'failed' };
  return { findings, agreed: findings.length === 0 ? 'indexed' : null };
}

function compareUnexpected(set: ExpectedSet, point: AssetPoint, expected: ExpectedPicture | null, isListed: boolean): Comparison {
  if (expected) set.markSeen(point.assetId, point.deleted && point.deletedBecause === 'removed' ? 'removed' : 'down');
  if (point.deleted || !point.object) return { findings: [], agreed: null };
  const { bucket, key, eTag } = point.object;
  const entry: ChunkEntry = {
    object: { bucket, key, eTag: eTag ?? '', sizeBytes: point.sizeBytes ?? 0 },
    // Another source may be listing this folder at this moment: the store has the last word.
    reconcile: isListed || expected ? 'drop_if_gone' : 'drop',
  };
  return { findings: [finding('extra', point, 'no source has it', entry)], agreed: null };
}

/** The records on a picture against the items that name it. */
export function compareRecords(set: ExpectedSet, point: AssetPoint): Finding[] {
  const { object } = point;
  if (!object) return [];
  const findings: Finding[] = [];
  const items = new Map(set.itemsOfPicture(point.assetId).map((item) => [item.itemId, item]));
  for (const record of point.records) {
    const item = items.get(record.itemId);
    if (!item) {
      findings.push(finding('extra', point, `item ${record.itemId} does not name it`, leaveEntry(set, record)));
    } else if (sameItem(item, record)) items.delete(record.itemId);
  }
  for (const item of items.values()) {
    const eTag = object.eTag ?? '';
    const entry: ChunkEntry = {
      object: { bucket: object.bucket, key: object.key, eTag, sizeBytes: point.sizeBytes ?? 0 },
      record: item,
      reconcile: 'write',
    };
    findings.push(finding('malformed', point, `the record of item ${item.itemId} is missing or old`, entry));
  }
  const shouldHaveText = point.records.some(({ title, text }) => `${title}${text}`.trim() !== '');
  if (shouldHaveText !== point.hasText) findings.push(finding('malformed', point, shouldHaveText ? 'no text vector' : 'a text vector without text', null)); // prettier-ignore
  return findings;
}

/** Makes the item settle its points again, or leave them all when no source has it. */
function leaveEntry(set: ExpectedSet, { itemId, title, text, attributes }: PointRecord): ChunkEntry {
  const item = set.item(itemId);
  return item
    ? { record: item, reconcile: 'write' }
    : { record: { itemId, title, text, attributes, pictures: [] }, reconcile: 'drop' };
}

function comparePassage(set: ExpectedSet, point: AssetPoint, spec: IndexSpec | null): Comparison {
  if (point.deleted) {
    if (point.deletedBecause !== 'removed') return { findings: [], agreed: null };
    // Of a removed item nothing is expected (see dropRemovedItems), unless its record has changed: then everything is.
    if (!isItemTombstone(point)) set.addRemovedPassage(point.assetId);
    return { findings: [], agreed: 'removed' };
  }
  const [record] = point.records;
  if (!record) return { findings: [finding('malformed', point, 'a passage without a record', null)], agreed: null };
  if (point.assetId !== passageAssetId(point.tenant, record.itemId, point.passageNo)) {
    return { findings: [finding('duplicate', point, 'the passage has a point under another id', null)], agreed: null };
  }
  set.addPassage({ assetId: point.assetId, itemId: record.itemId, passageNo: point.passageNo, text: record.text });
  const item = set.item(record.itemId);
  if (!item) return { findings: [finding('extra', point, 'no manifest has the item', leaveEntry(set, record))], agreed: null };
  const findings = vectorFaults(point, spec).map((detail) => finding('malformed', point, detail, null));
  if (!sameItem(item, record)) {
    findings.push(finding('malformed', point, 'the record is old', { record: item, reconcile: 'write' }));
  }
  const shouldHaveText = `${record.title}${record.text}`.trim() !== '';
  if (shouldHaveText !== point.hasText)
    findings.push(finding('malformed', point, 'text and text vector do not go together', null));
  return { findings, agreed: null };
}

/** Whether an item's passages, those of its pictures included, are its whole text. Null when they are. */
export function compareItem(set: ExpectedSet, tenant: string, seen: SeenItem): Finding | null {
  const { item, livePictures, removedPictures, passages } = seen;
  // The first passage was taken off with the picture that carried it.
  const isFirstRemoved = livePictures === 0 && removedPictures > 0 && passages[0]?.passageNo !== 0;
  const found = passages.map(({ text }) => text).join('');
  const isGapless = passages.every(({ passageNo }, i) => passageNo === i + (isFirstRemoved ? 1 : 0));
  const isWhole = isFirstRemoved ? bare(item.text).endsWith(bare(found)) : passages.length > 0 && bare(found) === bare(item.text);
  if (isGapless && isWhole) return null;
  // Passages that a user took off leave gaps, and none is written in their place.
  const isRemoved = [0, 1, passages.length].some((no) => set.isRemovedPassage(passageAssetId(tenant, item.itemId, no)));
  if (isRemoved) return null;
  const detail = passages.length === 0 ? 'none of its passages is there' : 'its passages are not its text';
  const key = `item:${item.itemId}`;
  return { kind: passages.length === 0 ? 'missing' : 'malformed', assetId: null, key, detail, bucket: null, entry: { record: item, reconcile: 'write' } }; // prettier-ignore
}

/** Splitting may move white space between passages; nothing else. */
function bare(text: string): string {
  return text.replace(/\s+/gu, '');
}

function sameItem(item: ExpectedItem, record: PointRecord): boolean {
  return (
    item.title === record.title &&
    (item.pushed ?? false) === record.pushed &&
    places(item) === places(record) &&
    sorted(item.attributes) === sorted(record.attributes) &&
    bare(item.text).includes(bare(record.text)) &&
    (record.text.trim() !== '' || item.text.trim() === '')
  );
}

function places({ pictures }: Pick<PointRecord, 'pictures'>): string {
  return JSON.stringify(pictures.map(({ bucket, key }) => [bucket, key]));
}

function sorted(attributes: PointRecord['attributes']): string {
  return JSON.stringify(Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function vectorFaults({ vectors, hasImage, hasText }: AssetPoint, spec: IndexSpec | null): string[] {
  if (!spec) return [];
  const faults: string[] = [];
  for (const [space, has] of [
    ['image', hasImage],
    ['text', hasText],
  ] as const) {
    // prettier-ignore
    const vector = vectors?.[space];
    if (has && !vector) faults.push(`the ${space} vector is missing`);
    if (!vector) continue;
    const norm = Math.hypot(...vector);
    if (vector.length !== spec[space].dimensions) faults.push(`the ${space} vector has ${vector.length} dimensions`);
    if (!(Math.abs(norm - 1) < NORM_TOLERANCE)) faults.push(`the ${space} vector has length ${norm}`);
  }
  return faults;
}

function finding(kind: FindingKind, point: AssetPoint, detail: string, entry: ChunkEntry | null): Finding {
  const key = point.object?.key ?? `item:${point.records[0]?.itemId ?? point.assetId}`;
  return { kind, assetId: point.assetId, key, detail, bucket: point.object?.bucket ?? null, entry };
}
