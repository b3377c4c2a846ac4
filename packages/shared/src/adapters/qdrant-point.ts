import { hash } from 'node:crypto';
import { z } from 'zod';
import { pointRecord } from '../contracts/records.ts';
import type { AssetPoint, DeletionReason, PointCopy } from '../ports/vector-index.ts';
import type { SparseVector } from './qdrant-keywords.ts';

const half = z.object({ live: z.boolean(), version: z.number(), at: z.number() });

/** A point's payload. `image` and `record` are the halves: null before their first write, `live: false` once a deletion took them. */
export const pointPayload = z.object({
  tenant: z.string(),
  kind: z.enum(['picture', 'passage']),
  bucket: z.string().nullable(),
  key: z.string().nullable(),
  eTag: z.string().nullable(),
  sha256: z.string().nullable(),
  sizeBytes: z.number().nullable(),
  widthPx: z.number().nullable(),
  heightPx: z.number().nullable(),
  records: z.array(pointRecord),
  /** See facetsOf. */
  facets: z.array(z.number()),
  passageNo: z.number(),
  hasText: z.boolean(),
  hasKeywords: z.boolean(),
  image: half.nullable(),
  record: half.nullable(),
  /** Neither half is live. */
  deleted: z.boolean(),
  deletedBecause: (z.enum(['gone', 'removed', 'failed']) satisfies z.ZodType<DeletionReason>).nullable(),
  deletedAt: z.number().nullable(),
  /** See stampOf. */
  stamp: z.string(),
});
export type PointPayload = z.infer<typeof pointPayload>;

const sparse = z.object({ indices: z.array(z.number()), values: z.array(z.number()) }) satisfies z.ZodType<SparseVector>;
const dense = z.array(z.number()).transform((numbers): Float32Array => Float32Array.from(numbers));
/** Qdrant leaves the field out, or answers with an empty list, where a point has no vectors. */
const vectors = z.preprocess(
  (value) => (value === undefined || value === null || Array.isArray(value) ? {} : value),
  z.object({ image: dense.optional(), text: dense.optional(), keywords: sparse.optional() }),
);
export type PointVectors = z.infer<typeof vectors>;

const storedPoint = z.object({ id: z.string(), payload: pointPayload, vector: vectors });
/** A point as Qdrant keeps it. */
export type StoredPoint = z.infer<typeof storedPoint>;

/**
 * What the payload says of vectors is the truth, and every search asks for it: an upsert of a point that the optimiser has moved keeps
 * those of its vectors that it does not name (seen in 1.18.3), so a tombstone may have its old ones a little longer.
 */
const HAS = {
  image: ({ image }: PointPayload) => image?.live ?? false,
  text: ({ hasText }: PointPayload) => hasText,
  keywords: ({ hasKeywords }: PointPayload) => hasKeywords,
};
/** The payload's fields that say the same, for filters. */
export const HAS_FIELD = { image: 'image.live', text: 'hasText', keywords: 'hasKeywords' } as const;
export const VECTOR_NAMES = ['image', 'text', 'keywords'] as const;
export type VectorName = (typeof VECTOR_NAMES)[number];

export function hasVector({ payload }: StoredPoint, name: VectorName): boolean {
  return HAS[name](payload);
}

/** Reads a point that Qdrant answered with; vectors are there as far as they were asked for. */
export function readStoredPoint(answer: { id: unknown; payload?: unknown; vector?: unknown }): StoredPoint {
  const point = storedPoint.parse({ id: answer.id, payload: answer.payload, vector: answer.vector });
  for (const name of VECTOR_NAMES) if (!hasVector(point, name)) delete point.vector[name];
  return point;
}

const UUID = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/;

/**
 * The asset's point, and of a point the asset (the function is its own inverse): the id with its lower half changed by the tenant's
 * name, so that no tenant can name another's point. The upper half keeps ids in their order; it is 60 bits of a hash, so two ids
 * of one tenant that differ in the lower half alone, and might change places, are not to be expected (4e-5 in ten million).
 * Null for what is no asset id.
 */
export function pointId(tenant: string, assetId: string): string | null {
  if (!UUID.test(assetId)) return null;
  const low =
    BigInt(`0x${assetId.slice(19, 23)}${assetId.slice(24)}`) ^ BigInt(`0x${hash('sha256', tenant, 'hex').slice(0, 16)}`);
  const digits = low.toString(16).padStart(16, '0');
  return `${assetId.slice(0, 19)}${digits.slice(0, 4)}-${digits.slice(4)}`;
}

/** The asset of a point of this tenant. */
export function assetIdOf(tenant: string, id: string): string {
  return pointId(tenant, id) ?? id;
}

/**
 * Names a state of one point: a write is let through only while the point has the stamp that the writer saw. Stamps of different
 * points and states differ, so that one condition ("stamp is one of these") guards a whole batch.
 */
export function stampOf(id: string, { image, record }: Pick<PointPayload, 'image' | 'record'>): string {
  const state = [id, ...[image, record].flatMap((one) => (one ? [one.version, one.live] : [null, null]))];
  return hash('sha256', JSON.stringify(state), 'base64url').slice(0, 16);
}

/** The point as the port gives it out. */
export function toAssetPoint({ id, payload, vector }: StoredPoint, withVectors: boolean): AssetPoint {
  const { tenant, kind, bucket, key, eTag, records, image, record, deleted, deletedBecause } = payload;
  const point: AssetPoint = {
    assetId: assetIdOf(tenant, id),
    tenant,
    kind,
    object: bucket !== null && key !== null ? { bucket, key, eTag } : null,
    sha256: payload.sha256,
    sizeBytes: payload.sizeBytes,
    widthPx: payload.widthPx,
    heightPx: payload.heightPx,
    records,
    passageNo: payload.passageNo,
    deleted,
    deletedBecause: deleted ? deletedBecause : null,
    imageVersion: image?.version ?? 0,
    recordVersion: record?.version ?? 0,
    hasImage: HAS.image(payload),
    hasText: payload.hasText,
    indexedAt: Math.max(image?.at ?? 0, record?.at ?? 0),
  };
  if (!withVectors) return point;
  return { ...point, vectors: { ...(vector.image && { image: vector.image }), ...(vector.text && { text: vector.text }) } };
}

/** The point as another version of the index is given it. */
export function toPointCopy({ id, payload, vector }: StoredPoint): PointCopy {
  const { tenant, kind, bucket, key, eTag, records, image, record, passageNo, deletedBecause, deletedAt } = payload;
  const { sha256, sizeBytes, widthPx, heightPx } = payload;
  return {
    assetId: assetIdOf(tenant, id),
    tenant,
    kind,
    passageNo,
    object: bucket !== null && key !== null ? { bucket, key, eTag } : null,
    sha256,
    sizeBytes,
    widthPx,
    heightPx,
    image,
    record,
    records,
    deletedBecause,
    deletedAt,
    vectors: { ...(vector.image && { image: vector.image }), ...(vector.text && { text: vector.text }) },
  };
}
