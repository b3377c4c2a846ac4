import { z } from 'zod';

/** Text as every store keeps it: PostgreSQL's JSON refuses NUL, and UTF-8 has no half surrogate pairs (SQLite gives back another text). */
export function storableText(text: string): string {
  return text.replaceAll('\0', ' ').toWellFormed();
}

const attributeText = z.string().max(1024).overwrite(storableText);

/** An attribute of an item: a scalar, or several values of one kind. Numbers and booleans keep their type for filters. */
export const attributeValue = z.union([
  attributeText,
  z.number(),
  z.boolean(),
  z.array(z.union([attributeText, z.number(), z.boolean()])).max(64),
]);
export const attributeName = z
  .string()
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/, 'an attribute name: letters, digits, _ . - and at most 64');
export const attributes = z.record(attributeName, attributeValue);
export type Attributes = z.infer<typeof attributes>;

/** One line of a manifest: a catalogue record. `images` are keys relative to the manifest's folder. */
export const manifestLine = z.strictObject({
  item_id: z
    .string()
    .min(1)
    .max(256)
    .refine((id) => storableText(id) === id, 'holds a NUL or half a surrogate pair'),
  title: z.string().max(1024).overwrite(storableText).default(''),
  text: z.string().max(200_000).overwrite(storableText).default(''),
  attributes: attributes.default({}),
  images: z.array(z.string().min(1).max(1024)).max(100).default([]),
});
export type ManifestLine = z.infer<typeof manifestLine>;

/** What a point keeps of each record that names it. */
export interface PointRecord {
  itemId: string;
  title: string;
  /** The passage of the item's text that this point carries (passage 0 for pictures). */
  text: string;
  attributes: Attributes;
}

/** A catalogue record with the keys of all its pictures. */
export interface ItemRecord {
  itemId: string;
  title: string;
  text: string;
  attributes: Attributes;
  pictures: { bucket: string; key: string }[];
}

/** Where pictures and records come from. A directory's and a prefix's items are its pictures; a manifest's are its lines. */
export const source = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('directory'), path: z.string().min(1).max(4096) }),
  z.strictObject({ type: z.literal('manifest'), uri: z.string().min(1).max(4096) }),
  z.strictObject({ type: z.literal('prefix'), bucket: z.string().min(1).max(255), prefix: z.string().max(1024).default('') }),
]);
export type Source = z.infer<typeof source>;
