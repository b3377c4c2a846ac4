import { passageAssetId, pictureAssetId } from '../src/contracts/ids.ts';
import type { Attributes, PointRecord } from '../src/contracts/records.ts';
import type { Deletion, IndexSpec, PictureWrite, RecordWrite } from '../src/ports/vector-index.ts';
import { analyse } from '../src/retrieval/analyser.ts';

/** What every index under the contract is opened for. */
export const CONTRACT_SPEC: IndexSpec = {
  image: { fingerprint: 'sha256:contract-image', dimensions: 8 },
  text: { fingerprint: 'sha256:contract-text', dimensions: 6 },
};
export const TENANT = 'acme';
const BUCKET = 'pictures';

/** A unit vector of the image space: the numbers given, zeros behind. */
export function imageVector(...head: number[]): Float32Array {
  return unit(8, head);
}

/** A unit vector of the text space. */
export function textVector(...head: number[]): Float32Array {
  return unit(6, head);
}

function unit(dimensions: number, head: number[]): Float32Array {
  const length = Math.hypot(...head);
  return Float32Array.from({ length: dimensions }, (_, i) => (head[i] ?? 0) / length);
}

export function assetIdOf(key: string, tenant = TENANT): string {
  return pictureAssetId(tenant, BUCKET, key);
}

export function picture(key: string, change: Partial<PictureWrite> = {}): PictureWrite {
  const tenant = change.tenant ?? TENANT;
  return {
    assetId: assetIdOf(key, tenant),
    tenant,
    object: { bucket: BUCKET, key, eTag: `etag-${key}` },
    sha256: Buffer.from(key).toString('hex').padEnd(64, '0'),
    sizeBytes: 1000,
    widthPx: 640,
    heightPx: 480,
    vector: imageVector(1, 2, 3),
    imageVersion: 1,
    indexedAt: 1_000,
    ...change,
  };
}

export function itemRecord(
  itemId: string,
  text = '',
  attributes: Attributes = {},
  more: { keys?: string[]; pushed?: boolean } = {},
): PointRecord {
  const pictures = (more.keys ?? []).map((key) => ({ bucket: BUCKET, key }));
  return { itemId, title: `Title of ${itemId}`, text, attributes, pictures, pushed: more.pushed ?? false };
}

/** The record's half of the picture `key`; keywords are those of its records' texts unless given. */
export function pictureRecord(key: string, records: PointRecord[], change: Partial<RecordWrite> = {}): RecordWrite {
  const tenant = change.tenant ?? TENANT;
  return {
    assetId: assetIdOf(key, tenant),
    tenant,
    kind: 'picture',
    object: { bucket: BUCKET, key },
    passageNo: 0,
    records,
    keywords: records.flatMap((record) => analyse(record.text)),
    vector: textVector(3, 2, 1),
    recordVersion: 1,
    indexedAt: 1_000,
    ...change,
  };
}

/** A further passage of a record's text: a point of its own, without a picture. */
export function passage(record: PointRecord, passageNo: number, change: Partial<RecordWrite> = {}): RecordWrite {
  const tenant = change.tenant ?? TENANT;
  return {
    ...pictureRecord('', [record], change),
    assetId: passageAssetId(tenant, record.itemId, passageNo),
    kind: 'passage',
    object: null,
    passageNo,
    ...change,
  };
}

export function deletion(key: string, version: number, change: Partial<Deletion> = {}): Deletion {
  const tenant = change.tenant ?? TENANT;
  return {
    assetId: assetIdOf(key, tenant),
    tenant,
    version,
    reason: 'gone',
    object: { bucket: BUCKET, key, eTag: `etag-${key}` },
    at: 2_000,
    ...change,
  };
}

/** The keys of one batch of a writer that is to be killed. */
export function batchKeys(batchNo: number): string[] {
  return Array.from({ length: 40 }, (_, i) => `batch-${batchNo}-${i}`);
}
