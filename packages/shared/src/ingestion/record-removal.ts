import { createHash } from 'node:crypto';
import { passageAssetId } from '../contracts/ids.ts';
import type { Attributes } from '../contracts/records.ts';
import type { AssetPoint, VectorIndex } from '../ports/vector-index.ts';

/** What of an item's record is indexed; its pictures do not count. */
export interface RecordContent {
  title: string;
  /** The whole text. White space does not count: splitting into passages moves it. */
  text: string;
  attributes: Attributes;
}

/** A sha256 that is equal for records that are indexed alike. */
export function recordDigest({ title, text, attributes }: RecordContent): string {
  const sorted = Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([title, text.replace(/\s+/gu, ''), sorted]))
    .digest('hex');
}

/**
 * Whether `first`, the point of an item's passage 0, is the tombstone of an item that a user removed: it alone carries a digest.
 * A passage that was removed by itself has none.
 */
export function isItemTombstone(first: AssetPoint | undefined): boolean {
  return first !== undefined && first.deleted && first.deletedBecause === 'removed' && first.sha256 !== null;
}

/** The ids of those items that a user removed as they are: a record that differs from what was removed is not among them. */
export async function removedItems(
  index: Pick<VectorIndex, 'get'>,
  tenant: string,
  records: (RecordContent & { itemId: string })[],
): Promise<Set<string>> {
  return removedAmong(await firstPassages(index, tenant, records), tenant, records);
}

/** The points of passage 0 of these items, by asset id, tombstones included. */
export async function firstPassages(
  index: Pick<VectorIndex, 'get'>,
  tenant: string,
  records: { itemId: string }[],
): Promise<Map<string, AssetPoint>> {
  if (records.length === 0) return new Map();
  return index.get(tenant, [...new Set(records.map(({ itemId }) => passageAssetId(tenant, itemId, 0)))]);
}

/** As `removedItems`, of items whose `firstPassages` are at hand. */
export function removedAmong(
  firsts: ReadonlyMap<string, AssetPoint>,
  tenant: string,
  records: (RecordContent & { itemId: string })[],
): Set<string> {
  const removed = records.filter((record) => {
    const first = firsts.get(passageAssetId(tenant, record.itemId, 0));
    return isItemTombstone(first) && first?.sha256 === recordDigest(record);
  });
  return new Set(removed.map(({ itemId }) => itemId));
}
