import type { Deletion, PictureWrite, PointCopy, RecordWrite } from '../ports/vector-index.ts';
import { facetsOf } from './qdrant-filter.ts';
import { documentVector } from './qdrant-keywords.ts';
import { stampOf, type PointPayload, type StoredPoint } from './qdrant-point.ts';

/** What a write makes of a point; null when it is not newer than what is stored. Pure. */
export type PointChange = (stored: StoredPoint) => StoredPoint | null;

/** A point before its first write. */
export function newPoint(id: string, tenant: string): StoredPoint {
  const payload: PointPayload = {
    tenant,
    kind: 'picture',
    bucket: null,
    key: null,
    eTag: null,
    sha256: null,
    sizeBytes: null,
    widthPx: null,
    heightPx: null,
    records: [],
    facets: [],
    passageNo: 0,
    hasText: false,
    hasKeywords: false,
    image: null,
    record: null,
    deleted: false,
    deletedBecause: null,
    deletedAt: null,
    stamp: '',
  };
  return { id, payload, vector: {} };
}

function isNewer(version: number, half: PointPayload['image']): boolean {
  return half === null || half.version < version;
}

/** Sets what follows from the halves. */
function settled(point: StoredPoint): StoredPoint {
  const { image, record } = point.payload;
  const deleted = !image?.live && !record?.live;
  return { ...point, payload: { ...point.payload, deleted, stamp: stampOf(point.id, point.payload) } };
}

/** `vector` is the write's, normalised. */
export function pictureChange(write: PictureWrite, vector: Float32Array): PointChange {
  return ({ id, payload, vector: stored }) => {
    if (!isNewer(write.imageVersion, payload.image)) return null;
    const { object, sha256, sizeBytes, widthPx, heightPx } = write;
    const image = { live: true, version: write.imageVersion, at: write.indexedAt };
    return settled({
      id,
      payload: { ...payload, kind: 'picture', ...object, sha256, sizeBytes, widthPx, heightPx, image },
      vector: { ...stored, image: vector },
    });
  };
}

/** `vector` is the write's, normalised; null where there is no text. */
export function recordChange(write: RecordWrite, vector: Float32Array | null): PointChange {
  const records = write.records.toSorted((a, b) => (a.itemId < b.itemId ? -1 : 1));
  const half = { kind: write.kind, passageNo: write.passageNo, records, facets: facetsOf(write.tenant, records) };
  const keywords = documentVector(write.keywords);
  const has = { hasText: vector !== null, hasKeywords: keywords !== null };
  return ({ id, payload, vector: stored }) => {
    if (!isNewer(write.recordVersion, payload.record)) return null;
    const record = { live: true, version: write.recordVersion, at: write.indexedAt };
    return settled({
      id,
      payload: {
        ...payload,
        ...half,
        ...has,
        bucket: write.object?.bucket ?? payload.bucket,
        key: write.object?.key ?? payload.key,
        record,
      },
      vector: { ...(stored.image && { image: stored.image }), ...(vector && { text: vector }), ...(keywords && { keywords }) },
    });
  };
}

/** Takes the halves that are older than the deletion. */
export function deletionChange({ version, reason, object, sha256, at }: Deletion): PointChange {
  const half = { live: false, version, at };
  const takeImage = ({ id, payload, vector: { image: _image, ...vector } }: StoredPoint): StoredPoint => {
    const place = { bucket: object?.bucket ?? payload.bucket, key: object?.key ?? payload.key, eTag: object?.eTag ?? null };
    const left = { sha256: sha256 ?? null, sizeBytes: null, widthPx: null, heightPx: null, image: half };
    return { id, payload: { ...payload, ...place, ...left }, vector };
  };
  const takeRecord = ({ id, payload, vector: { image } }: StoredPoint): StoredPoint => ({
    id,
    payload: { ...payload, records: [], facets: [], hasText: false, hasKeywords: false, record: half },
    vector: image ? { image } : {},
  });
  return (stored) => {
    const takesImage = isNewer(version, stored.payload.image);
    const takesRecord = isNewer(version, stored.payload.record);
    if (!takesImage && !takesRecord) return null;
    const isNew = stored.payload.image === null && stored.payload.record === null;
    const kind = isNew ? (object ? 'picture' : 'passage') : stored.payload.kind;
    const told: StoredPoint = { ...stored, payload: { ...stored.payload, kind, deletedBecause: reason, deletedAt: at } };
    const withoutImage = takesImage ? takeImage(told) : told;
    return settled(takesRecord ? takeRecord(withoutImage) : withoutImage);
  };
}

/** The copy's newer halves; its vectors are normalised. */
export function copyChange(copy: PointCopy & { keywords: string[] }, vectors: PointCopy['vectors']): PointChange {
  const { sha256, sizeBytes, widthPx, heightPx, records, passageNo } = copy;
  const keywords = documentVector(copy.record?.live ? copy.keywords : []);
  return ({ id, payload, vector: stored }) => {
    const image = copy.image && isNewer(copy.image.version, payload.image) ? copy.image : null;
    const record = copy.record && isNewer(copy.record.version, payload.record) ? copy.record : null;
    if (!image && !record) return null;
    const changed: PointPayload = {
      ...payload,
      kind: copy.kind,
      bucket: copy.object?.bucket ?? payload.bucket,
      key: copy.object?.key ?? payload.key,
      deletedBecause: copy.deletedBecause ?? payload.deletedBecause,
      deletedAt: copy.deletedAt ?? payload.deletedAt,
      ...(image && { eTag: copy.object?.eTag ?? null, sha256, sizeBytes, widthPx, heightPx, image }),
      ...(record && {
        passageNo,
        records,
        facets: facetsOf(copy.tenant, records),
        hasText: vectors.text !== undefined,
        hasKeywords: keywords !== null,
        record,
      }),
    };
    const pictured = image ? vectors.image : stored.image;
    const worded = record ? { text: vectors.text, keywords } : { text: stored.text, keywords: stored.keywords ?? null };
    const vector = {
      ...(pictured && { image: pictured }),
      ...(worded.text && { text: worded.text }),
      ...(worded.keywords && { keywords: worded.keywords }),
    };
    return settled({ id, payload: changed, vector });
  };
}
