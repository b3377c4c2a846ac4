import type { ItemView } from '@sightline/shared/contracts/http';
import { pictureAssetId } from '@sightline/shared/contracts/ids';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { itemRecordOf } from '@sightline/shared/retrieval/item-record';
import { SightlineError } from '@sightline/shared/runtime/errors';

/** An item as the index shows it, put together from its points; where they differ the newest counts. Error: `item_not_found`. */
export async function viewItem(
  index: Pick<VectorIndex, 'findByItem' | 'get'>,
  tenant: string,
  itemId: string,
): Promise<ItemView> {
  const points = (await index.findByItem(tenant, itemId)).toSorted((a, b) => a.recordVersion - b.recordVersion);
  const found = itemRecordOf(points, itemId);
  if (!found) throw new SightlineError('item_not_found');
  const { newest, text } = found;
  const { title, attributes, pushed } = newest;
  const standing = points.flatMap(({ kind, object }) => (kind === 'picture' && object ? [object] : []));
  // Records from before the index knew their pictures name none.
  const named = newest.pictures.length > 0 ? newest.pictures : standing;
  const ids = named.map(({ bucket, key }) => pictureAssetId(tenant, bucket, key));
  const known = await index.get(tenant, ids);
  const pictures = named.map(({ bucket, key }, i) => {
    const assetId = ids[i] ?? '';
    const point = known.get(assetId);
    return { asset_id: assetId, object: { bucket, key }, indexed: point !== undefined && !point.deleted && point.hasImage };
  });
  const indexedAt = Math.max(...points.map((point) => point.indexedAt));
  return {
    item_id: itemId,
    title,
    text,
    attributes,
    pictures,
    pushed,
    indexed_at: new Date(indexedAt).toISOString(),
  };
}
