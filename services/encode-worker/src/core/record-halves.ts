import { passageAssetId } from '@sightline/shared/contracts/ids';
import type { PointRecord } from '@sightline/shared/contracts/records';
import type { HeldLease } from '@sightline/shared/ingestion/key-lease';
import { embeddedText, pointKeywords, sameRecords } from '@sightline/shared/ingestion/point-text';
import type { AssetPoint, RecordWrite } from '@sightline/shared/ports/vector-index';
import { SightlineError, toSightlineError } from '@sightline/shared/runtime/errors';
import type { ChunkDeps } from './encode-deps.ts';

/** A record half that is to be written once its text has a vector. */
type Draft = Omit<RecordWrite, 'vector' | 'keywords' | 'recordVersion' | 'indexedAt'>;

export interface Half {
  draft: Draft;
  /** It was written. Not called for what was as it should be. */
  settle: () => void;
  fail: (error: SightlineError) => void;
}

export function pictureHalf({ assetId, tenant, object: place }: AssetPoint, records: PointRecord[]): Draft {
  const object = place && { bucket: place.bucket, key: place.key };
  return { assetId, tenant, kind: 'picture', object, passageNo: 0, records };
}

export function passageHalf(tenant: string, record: PointRecord, passageNo: number): Draft {
  const assetId = passageAssetId(tenant, record.itemId, passageNo);
  return { assetId, tenant, kind: 'passage', object: null, passageNo, records: [record] };
}

export function withRecord(records: PointRecord[], record: PointRecord): PointRecord[] {
  return [...records.filter(({ itemId }) => itemId !== record.itemId), record].sort((a, b) => (a.itemId < b.itemId ? -1 : 1));
}

/**
 * Writes what differs from the index. A text that the point has already, or one of `others`, is not encoded again; one text that
 * fails does not keep the others.
 */
export async function writeHalves(
  deps: ChunkDeps,
  tenant: string,
  halves: Half[],
  points: ReadonlyMap<string, AssetPoint>,
  lease: HeldLease,
  others: AssetPoint[] = [],
): Promise<void> {
  const due = halves.filter(({ draft }) => {
    const point = points.get(draft.assetId);
    const hasText = embeddedText(draft.records) !== '';
    return !(point && !point.deleted && point.hasText === hasText && sameRecords(point.records, draft.records));
  });
  if (due.length === 0) return lease.assertHeld();
  const texts = new Set(due.map(({ draft }) => embeddedText(draft.records)).filter((text) => text !== ''));
  const own = due.flatMap(({ draft }) => points.get(draft.assetId) ?? []);
  const known = await knownTexts(deps, tenant, texts, [...own, ...others]);
  const vectors = await encodeTexts(deps, [...texts].filter((text) => !known.has(text))); // prettier-ignore
  const writes: RecordWrite[] = [];
  const settling: (() => void)[] = [];
  for (const { draft, settle, fail } of due) {
    const text = embeddedText(draft.records);
    const vector = known.get(text) ?? vectors.get(text) ?? null;
    if (vector instanceof SightlineError) fail(vector);
    else {
      const keywords = pointKeywords(draft.records);
      writes.push({ ...draft, vector, keywords, recordVersion: lease.version, indexedAt: deps.now() });
      settling.push(settle);
    }
  }
  lease.assertHeld();
  if (writes.length === 0) return;
  const startedAt = performance.now();
  await deps.index.writeRecords(writes);
  deps.observe('write', (performance.now() - startedAt) / 1000);
  for (const settle of settling) settle();
}

/** Vectors that the index has of these texts, on points that were seen to have them. */
async function knownTexts(
  { index }: ChunkDeps,
  tenant: string,
  texts: ReadonlySet<string>,
  seen: AssetPoint[],
): Promise<Map<string, Float32Array>> {
  const places = new Map<string, string>();
  for (const { assetId, hasText, records } of seen) {
    const text = embeddedText(records);
    if (hasText && texts.has(text)) places.set(text, assetId);
  }
  const vectors = new Map<string, Float32Array>();
  if (places.size === 0) return vectors;
  const points = await index.get(tenant, [...new Set(places.values())], { withVectors: true });
  for (const [text, assetId] of places) {
    const point = points.get(assetId);
    // Another writer may have been there since.
    if (point?.vectors?.text && embeddedText(point.records) === text) vectors.set(text, point.vectors.text);
  }
  return vectors;
}

async function encodeTexts(deps: ChunkDeps, texts: string[]): Promise<Map<string, Float32Array | SightlineError>> {
  const encode = (some: string[]) => deps.encoder.encodeTexts(some, { space: 'text', purpose: 'passage', lane: deps.lane });
  const vectors = new Map<string, Float32Array | SightlineError>();
  if (texts.length === 0) return vectors;
  try {
    const encoded = await encode(texts);
    texts.forEach((text, i) => vectors.set(text, encoded[i]?.vector ?? new SightlineError('encoder_failed')));
  } catch (thrown) {
    const error = toSightlineError(thrown);
    if (error.retryable) throw error;
    // One of them is at fault: alone, the others pass.
    for (const text of texts) {
      const vector = await encode([text]).then(
        ([one]) => one?.vector ?? error,
        (alone: unknown) => toSightlineError(alone),
      );
      vectors.set(text, vector);
    }
  }
  return vectors;
}
