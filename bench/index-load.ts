import { readFileSync } from 'node:fs';
import { pictureAssetId } from '@sightline/shared/contracts/ids';
import { manifestLine } from '@sightline/shared/contracts/records';
import { pointKeywords } from '@sightline/shared/ingestion/point-text';
import { mulberry32 } from '@sightline/shared/runtime/mulberry32';
import type { IndexSpec, PictureWrite, RecordWrite } from '@sightline/shared/ports/vector-index';

const DIMENSIONS = 256;

export const LOAD_SPEC: IndexSpec = {
  image: { fingerprint: 'sha256:bench-image', dimensions: DIMENSIONS },
  text: { fingerprint: 'sha256:bench-text', dimensions: DIMENSIONS },
};
export const LOAD_TENANT = 'bench';

const lines = readFileSync(new URL('../sample/manifest.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => manifestLine.parse(JSON.parse(line)));

/** A unit vector near one of 200 centres: made vectors, but not all equally far from each other. */
export function loadVector(no: number, space: number): Float32Array {
  const centre = mulberry32((no % 200) * 2 + space);
  const own = mulberry32(no * 2 + space + 1_000_000);
  const vector = Float32Array.from({ length: DIMENSIONS }, () => centre() - 0.5 + (own() - 0.5));
  const length = Math.hypot(...vector);
  return vector.map((x) => x / length);
}

/** Keywords and attributes of point `no`: those of the sample catalogue's records, over and over. */
export function loadRecord(no: number) {
  const line = lines[no % lines.length];
  if (!line) throw new Error('The sample is empty.');
  const { item_id, title, text, attributes } = line;
  const records = [{ itemId: `${item_id}-${no}`, title, text, attributes, pictures: [], pushed: false }];
  return { records, keywords: pointKeywords(records) };
}

export function pictureOf(no: number): PictureWrite {
  const key = `made/${no}.jpg`;
  return {
    assetId: pictureAssetId(LOAD_TENANT, 'bench', key),
    tenant: LOAD_TENANT,
    object: { bucket: 'bench', key, eTag: `e${no}` },
    sha256: no.toString(16).padStart(64, '0'),
    sizeBytes: 40_000,
    widthPx: 640,
    heightPx: 480,
    vector: loadVector(no, 0),
    imageVersion: no + 1,
    indexedAt: 1_700_000_000_000,
  };
}

export function recordOf(no: number): RecordWrite {
  const { assetId, tenant, object, indexedAt } = pictureOf(no);
  const { bucket, key } = object;
  const rest = { kind: 'picture' as const, object: { bucket, key }, passageNo: 0, recordVersion: no + 1, indexedAt };
  return { assetId, tenant, ...rest, ...loadRecord(no), vector: loadVector(no, 1) };
}

/** The p-th part of the values, in order. */
export function quantile(values: number[], p: number): number {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * p))] ?? 0;
}
