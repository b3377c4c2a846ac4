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

export const itemId = z
  .string()
  .min(1)
  .max(256)
  .refine((id) => storableText(id) === id, 'holds a NUL or half a surrogate pair');

/** The most pictures that a record names. */
export const MAX_PICTURES = 100;

/** What a catalogue record says, however it comes. */
export const recordFields = {
  title: z.string().max(1024).overwrite(storableText).default(''),
  text: z.string().max(200_000).overwrite(storableText).default(''),
  attributes: attributes.default({}),
};

/** One line of a manifest: a catalogue record. `images` are keys relative to the manifest's folder. */
export const manifestLine = z.strictObject({
  item_id: itemId,
  ...recordFields,
  images: z.array(z.string().min(1).max(1024)).max(MAX_PICTURES).default([]),
});
export type ManifestLine = z.infer<typeof manifestLine>;

/** A picture as a record names it. */
export const picturePlace = z.object({ bucket: z.string(), key: z.string() });
export type PicturePlace = z.infer<typeof picturePlace>;

/** What a point keeps of each record that names it. */
export const pointRecord = z.object({
  itemId: z.string(),
  title: z.string(),
  /** The passage of the item's text that this point carries (passage 0 for pictures). */
  text: z.string(),
  attributes,
  /** All pictures that the record names, in its order, also those that are not in the store. Points from before had none written down. */
  pictures: z.array(picturePlace).default([]),
  /** The record came by itself, by request or from a topic: no manifest has it, the index is where it stands. */
  pushed: z.boolean().default(false),
});
export type PointRecord = z.infer<typeof pointRecord>;

/** A catalogue record with the keys of all its pictures, at most 100. */
export interface ItemRecord {
  itemId: string;
  title: string;
  text: string;
  attributes: Attributes;
  pictures: PicturePlace[];
  /** Left out where a manifest has it. */
  pushed?: boolean;
}

/** Where pictures and records come from. A directory's and a prefix's items are its pictures; a manifest's are its lines. */
export const source = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('directory'), path: z.string().min(1).max(4096) }),
  z.strictObject({ type: z.literal('manifest'), uri: z.string().min(1).max(4096) }),
  z.strictObject({ type: z.literal('prefix'), bucket: z.string().min(1).max(255), prefix: z.string().max(1024).default('') }),
]);
export type Source = z.infer<typeof source>;
