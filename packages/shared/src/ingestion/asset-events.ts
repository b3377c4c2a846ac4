import { makeEvent, MAX_ITEM_IDS, type SightlineEvent } from '../contracts/events.ts';
import type { ChunkOutcome } from '../ports/ledger.ts';
import type { AssetPoint, IndexSpec } from '../ports/vector-index.ts';

/** Who tells it, and after what. */
export interface EventContext {
  service: 'encode-worker' | 'query-api';
  tenant: string;
  traceId: string;
  ingestionId: string | null;
}

const MAX_REASON_CHARS = 2_000;

/**
 * What a point as it stands in the index says of itself: `asset.indexed`, or `asset.deleted` for a tombstone. The id comes from the
 * versions of its halves, so that telling it again, by whomever, is telling it once. `changedAt`: when its source says that it was
 * written, in Unix milliseconds, where that is known.
 */
export function eventOfPoint(
  point: AssetPoint,
  spec: IndexSpec,
  context: EventContext,
  changedAt: number | null = null,
): SightlineEvent {
  const { imageVersion, recordVersion } = point;
  const common = {
    ...of(context),
    subject: point.assetId,
    version: [imageVersion, recordVersion],
    at: point.indexedAt,
  };
  const asset = {
    asset_id: point.assetId,
    kind: point.kind,
    object: point.object && { bucket: point.object.bucket, key: point.object.key, etag: point.object.eTag },
    ...itemsOf(point.records.map(({ itemId }) => itemId)),
    passage_no: point.passageNo,
    ingestion_id: context.ingestionId,
    ...(changedAt !== null && { changed_at: new Date(changedAt).toISOString() }),
  };
  if (point.deleted) {
    const data = { ...asset, because: point.deletedBecause ?? 'gone', version: Math.max(imageVersion, recordVersion) };
    return makeEvent('asset.deleted', { ...common, data });
  }
  return makeEvent('asset.indexed', {
    ...common,
    data: {
      ...asset,
      sha256: point.sha256,
      size_bytes: point.sizeBytes,
      width_px: point.widthPx,
      height_px: point.heightPx,
      has_image: point.hasImage,
      has_text: point.hasText,
      image_version: imageVersion,
      record_version: recordVersion,
      encoder: { image: spec.image.fingerprint, text: spec.text.fingerprint },
    },
  });
}

/** A picture or an item's text that an ingestion gave up. */
export interface FailedAsset {
  assetId: string;
  kind: 'picture' | 'passage';
  object: { bucket: string; key: string; eTag: string | null } | null;
  itemIds: string[];
  code: ChunkOutcome['failures'][number]['code'];
  reason: string;
}

/**
 * `asset.failed`, once for each occasion on which it was given up: a chunk, of which a retry has its own, or the generation of a
 * change. `at`: Unix milliseconds.
 */
export function eventOfFailure(failed: FailedAsset, occasion: number, at: number, context: EventContext): SightlineEvent {
  const { assetId, kind, object, itemIds, code, reason } = failed;
  return makeEvent('asset.failed', {
    ...of(context),
    subject: assetId,
    version: [context.ingestionId ?? '', occasion],
    at,
    data: {
      asset_id: assetId,
      kind,
      object: object && { bucket: object.bucket, key: object.key, etag: object.eTag },
      ...itemsOf(itemIds),
      passage_no: 0,
      ingestion_id: context.ingestionId,
      code,
      reason: reason.slice(0, MAX_REASON_CHARS).toWellFormed(),
    },
  });
}

function of({ service, tenant, traceId }: EventContext): Pick<EventContext, 'service' | 'tenant' | 'traceId'> {
  return { service, tenant, traceId };
}

function itemsOf(itemIds: string[]): { item_ids: string[]; item_count: number } {
  const sorted = [...new Set(itemIds)].sort();
  return { item_ids: sorted.slice(0, MAX_ITEM_IDS), item_count: sorted.length };
}
