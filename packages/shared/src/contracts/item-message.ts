import { z } from 'zod';
import { SightlineError } from '../runtime/errors.ts';
import { tenantName } from './api-key.ts';
import type { Change } from './changes.ts';
import { distinctPictures, pictureAddresses, storedPicture } from './picture-address.ts';
import { itemId, recordFields } from './records.ts';

/** The version of the messages that are read here. Within it fields are only added, and those that are not known are passed over. */
export const ITEM_SCHEMA = 'sightline.item/1';

const about = {
  schema: z.literal(ITEM_SCHEMA),
  tenant: tenantName.meta({ description: 'Whose item it is.' }),
  item_id: itemId,
  changed_at: z.iso
    .datetime({ offset: true })
    .optional()
    .meta({ description: 'When the record was changed, for measuring how long it takes to show.' }),
};

/** A message of the topic `catalog.items`: a record as it is now, or that it is no more. */
export const itemMessage = z.discriminatedUnion('op', [
  z.object({ op: z.literal('put'), ...about, ...recordFields, images: pictureAddresses }),
  z.object({ op: z.literal('delete'), ...about }),
]);
export type ItemMessage = z.input<typeof itemMessage>;

const versioned = z.object({ schema: z.string() });

export interface ToldItem {
  tenant: string;
  change: Extract<Change, { kind: 'item' }>;
  /** Unix milliseconds; null where the message does not say. */
  changedAt: number | null;
}

/**
 * What a message of the topic tells. It is not asked here whether the tenant may name its pictures (see assertMayName).
 * Error: `item_message_invalid`, with the reason; also for a schema of another version, which nobody here can read.
 */
export function parseItemMessage(value: unknown): ToldItem {
  const { data: version } = versioned.safeParse(value);
  if (version && version.schema !== ITEM_SCHEMA)
    throw invalid(`Its schema is ${version.schema.slice(0, 100)}; this version reads ${ITEM_SCHEMA}.`);
  const parsed = itemMessage.safeParse(value);
  if (!parsed.success) throw invalid(z.prettifyError(parsed.error));
  const message = parsed.data;
  const { tenant, item_id: id, changed_at: changed } = message;
  const changedAt = changed === undefined ? null : Date.parse(changed);
  if (message.op === 'delete') return { tenant, change: { kind: 'item', itemId: id, record: null }, changedAt };
  const { title, text, attributes } = message;
  const pictures = message.images.map((address) => {
    const picture = storedPicture(address);
    if (!picture) throw invalid(`images: ${address.slice(0, 200)} is not s3://bucket/key.`);
    return picture;
  });
  const record = { itemId: id, title, text, attributes, pictures: distinctPictures(pictures) };
  return { tenant, change: { kind: 'item', itemId: id, record }, changedAt };
}

function invalid(reason: string): SightlineError {
  return new SightlineError('item_message_invalid', reason);
}
