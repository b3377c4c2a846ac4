import { makeEvent, type SightlineEvent } from '../src/contracts/events.ts';
import { pictureAssetId } from '../src/contracts/ids.ts';

/** An `asset.indexed` of picture `key` in its `version`: `key` tells the subject, both together the id. */
export function assetEvent(key: string, version = 1, tenant = 'default'): SightlineEvent {
  const assetId = pictureAssetId(tenant, 'bucket', key);
  return makeEvent('asset.indexed', {
    service: 'encode-worker',
    tenant,
    subject: assetId,
    version: [version],
    traceId: 'test',
    at: 1_700_000_000_000 + version,
    data: {
      asset_id: assetId,
      kind: 'picture',
      object: { bucket: 'bucket', key, etag: `e${version}` },
      item_ids: ['item'],
      item_count: 1,
      passage_no: 0,
      ingestion_id: 'ingestion',
      sha256: 'ab'.repeat(32),
      size_bytes: 3,
      width_px: 1,
      height_px: 1,
      has_image: true,
      has_text: false,
      image_version: version,
      record_version: 0,
      encoder: { image: 'image', text: 'text' },
    },
  });
}

/** The version that `assetEvent` was made with. */
export function versionOf(event: SightlineEvent): number {
  return event.type === 'asset.indexed' ? event.data.image_version : -1;
}
