import { z } from 'zod';
import { attributes, type ItemRecord } from './records.ts';

const record: z.ZodType<ItemRecord> = z.strictObject({
  itemId: z.string(),
  title: z.string(),
  text: z.string(),
  attributes,
  pictures: z.array(z.strictObject({ bucket: z.string(), key: z.string() })),
  pushed: z.boolean().optional(),
});

/**
 * Something that may have changed since it was indexed. For an object that is all it says: whoever works it looks at the object's
 * present state. An item's record is not kept elsewhere, so it comes along; null is an item that was deleted. A record that is
 * `pushed` already is what an audit saw of it: whoever works it completes what stands of it by then.
 */
export const changeSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('object'), bucket: z.string(), key: z.string() }),
  z.strictObject({ kind: z.literal('item'), itemId: z.string(), record: record.nullable() }),
]);
export type Change = z.infer<typeof changeSchema>;

/**
 * Names what changed, within a tenant: a second change of the same place takes the place of the first. What an audit saw takes the
 * place of no record that is told.
 */
export function changePlace(change: Change): string {
  if (change.kind === 'object') return objectPlace(change);
  return `${change.record?.pushed ? 'mend' : 'item'}:${change.itemId}`;
}

export function objectPlace({ bucket, key }: { bucket: string; key: string }): string {
  return `object:${JSON.stringify([bucket, key])}`;
}
