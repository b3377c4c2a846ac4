import type { Filter } from '../contracts/filter.ts';
import type { PointRecord } from '../contracts/records.ts';

/** The named vector spaces of a point. */
export type Space = 'image' | 'text';

/** What an index version is built for: one set of fingerprints. Dimensions are those of the vectors. */
export interface IndexSpec {
  image: { fingerprint: string; dimensions: number };
  text: { fingerprint: string; dimensions: number };
}

/** A point as the index holds it. Vectors are L2-normalised float32; present only when asked for. */
export interface AssetPoint {
  assetId: string;
  tenant: string;
  kind: 'picture' | 'passage';
  /** Null for passages. */
  object: { bucket: string; key: string; eTag: string | null } | null;
  /** Of the picture's bytes; on the tombstone of a removed item's passage 0 its record's digest. */
  sha256: string | null;
  sizeBytes: number | null;
  widthPx: number | null;
  heightPx: number | null;
  /** The records that name this point, ordered by item id; a passage has exactly one. */
  records: PointRecord[];
  passageNo: number;
  /** True for a tombstone: no vectors, not searchable, and late writes of older versions cannot pass it. */
  deleted: boolean;
  deletedBecause: DeletionReason | null;
  imageVersion: number;
  recordVersion: number;
  hasImage: boolean;
  hasText: boolean;
  /** Unix milliseconds. */
  indexedAt: number;
  vectors?: { image?: Float32Array; text?: Float32Array };
}

/** One of a point's two halves: what wrote it last, when (Unix milliseconds), and whether that was no deletion. */
export interface PointHalf {
  version: number;
  at: number;
  live: boolean;
}

/** A point to the last detail, half by half: what another version of the index is made from, and compared with. */
export interface PointCopy {
  assetId: string;
  tenant: string;
  kind: 'picture' | 'passage';
  passageNo: number;
  /** The eTag, like the four fields after this one, is the image half's. */
  object: { bucket: string; key: string; eTag: string | null } | null;
  sha256: string | null;
  sizeBytes: number | null;
  widthPx: number | null;
  heightPx: number | null;
  /** The picture's half; null before its first write. */
  image: PointHalf | null;
  /** The record's half; null before its first write. */
  record: PointHalf | null;
  records: PointRecord[];
  /** Of the last deletion of either half, also when the point lives again. */
  deletedBecause: DeletionReason | null;
  deletedAt: number | null;
  /** There is an image vector while the image half is live, and a text vector where the record half has a text. */
  vectors: { image?: Float32Array; text?: Float32Array };
}

/** `gone`: the source no longer has it. `removed`: a user removed it. `failed`: its new bytes cannot be encoded. */
export type DeletionReason = 'gone' | 'removed' | 'failed';

/** The picture's half of a point. Never touches records, text vector or keywords. */
export interface PictureWrite {
  assetId: string;
  tenant: string;
  object: { bucket: string; key: string; eTag: string };
  sha256: string;
  sizeBytes: number;
  widthPx: number;
  heightPx: number;
  vector: Float32Array;
  imageVersion: number;
  indexedAt: number;
}

/** The record's half of a point. Never touches the image vector or the picture's payload. */
export interface RecordWrite {
  assetId: string;
  tenant: string;
  kind: 'picture' | 'passage';
  /** The picture this half belongs to (eTag stays as the picture's writer left it); null for passages. */
  object: { bucket: string; key: string } | null;
  passageNo: number;
  records: PointRecord[];
  /** From the shared analyser, with repetitions: term frequency counts. */
  keywords: string[];
  /** Null where there is no text to encode. */
  vector: Float32Array | null;
  recordVersion: number;
  indexedAt: number;
}

/** Turns a point into a tombstone at `version` in both halves. `object` keeps what it was a tombstone of. */
export interface Deletion {
  assetId: string;
  tenant: string;
  version: number;
  reason: DeletionReason;
  object: { bucket: string; key: string; eTag: string | null } | null;
  /** What the tombstone remembers as its `sha256`: of a removed item the digest of its record. Null when left out. */
  sha256?: string;
  at: number;
}

/** One leg of a search: nearest vectors in a space (cosine), or keywords (BM25). */
export type Leg =
  { space: Space; vector: Float32Array; limit: number } | { space: 'keywords'; keywords: string[]; limit: number };

/** Best first; equal scores in ascending order of asset id. Score: cosine in [-1, 1], or BM25 >= 0. */
export interface LegHit {
  assetId: string;
  score: number;
}

/**
 * The index. Every call names its tenant. Writes are durable and visible to the next search when they return; a write whose
 * version is not newer than the stored half's is dropped silently, so writing twice is writing once and late writers lose.
 * Errors: `index_encoder_mismatch` (opened for other fingerprints than it holds), `index_unavailable` (may pass).
 */
export interface VectorIndex {
  readonly spec: IndexSpec;
  writePictures(writes: PictureWrite[]): Promise<void>;
  writeRecords(writes: RecordWrite[]): Promise<void>;
  delete(deletions: Deletion[]): Promise<void>;
  /** Points by id, tombstones included; absent ids are absent from the map. */
  get(tenant: string, assetIds: string[], options?: { withVectors?: boolean }): Promise<Map<string, AssetPoint>>;
  /** Image vectors already made for these contents (sha256 in hexadecimal), so that the same bytes are not encoded again. */
  findImageVectors(
    tenant: string,
    sha256s: string[],
  ): Promise<Map<string, { vector: Float32Array; widthPx: number; heightPx: number }>>;
  /** Live points that an item's record stands on: pictures and passages. */
  findByItem(tenant: string, itemId: string): Promise<AssetPoint[]>;
  /**
   * Of each of these pictures (asset ids) the live points with a record that names it, whether the picture is indexed or not;
   * ordered by asset id. Pictures that no record names are absent.
   */
  findByPicture(tenant: string, assetIds: string[]): Promise<Map<string, AssetPoint[]>>;
  /** All legs in one round trip, each under the tenant's and the given filter, tombstones left out. */
  search(tenant: string, filter: Filter | undefined, legs: Leg[]): Promise<LegHit[][]>;
  /** Up to `limit` vectors of a space, evenly over the ids: the background that calibration measures against. */
  sample(tenant: string, space: Space, limit: number): Promise<Float32Array[]>;
  /** Every point in ascending order of id, tombstones included, in pages; for the audit. `pushed`: those with pushed records only. */
  scan(
    tenant: string,
    options: { after?: string; limit: number; withVectors?: boolean; pushed?: boolean },
  ): Promise<AssetPoint[]>;
  count(tenant: string): Promise<{ live: number; deleted: number }>;
  /** All tenants that have points, in ascending order. */
  tenants(): Promise<string[]>;
  /** Points with their vectors for another version of the index: those of these ids, or a page of `scan`. */
  copies(tenant: string, which: { assetIds: string[] } | { after?: string; limit: number }): Promise<PointCopy[]>;
  /**
   * Writes each half that is newer than the stored one, whole and under its own version; the other half stays. `keywords` are the
   * record half's, as in RecordWrite.
   */
  putCopies(copies: (PointCopy & { keywords: string[] })[]): Promise<void>;
  /**
   * Drops tombstones made before `before` (Unix milliseconds); answers how many. Those with reason `removed` stay for ever: they
   * are what keeps a removed object from coming back.
   */
  purge(tenant: string, before: number): Promise<number>;
  /** Drops every point of a tenant, tombstones included; answers how many. */
  deleteTenant(tenant: string): Promise<number>;
  close(): Promise<void>;
}
