import type { ItemRecord } from './records.ts';

/**
 * Something that may have changed since it was indexed. For an object that is all it says: whoever works it looks at the object's
 * present state. An item's record is not kept elsewhere, so it comes along; null is an item that was deleted.
 */
export type Change = { kind: 'object'; bucket: string; key: string } | { kind: 'item'; itemId: string; record: ItemRecord | null };

/** Names what changed, within a tenant: a second change of the same place takes the place of the first. */
export function changePlace(change: Change): string {
  return change.kind === 'object' ? objectPlace(change) : `item:${change.itemId}`;
}

export function objectPlace({ bucket, key }: { bucket: string; key: string }): string {
  return `object:${JSON.stringify([bucket, key])}`;
}
