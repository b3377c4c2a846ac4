import { z } from 'zod';

/** Kinds of events that leave an object's bytes as they were. */
const NOT_OF_BYTES =
  /ObjectAccessed|ObjectTagging|ObjectAcl|ObjectRetention|ObjectLegalHold|Replication|Scanner|IntelligentTiering/i;

const record = z.looseObject({
  eventName: z.string(),
  eventTime: z.string().optional(),
  s3: z.looseObject({
    bucket: z.looseObject({ name: z.string().min(1).max(255) }),
    object: z.looseObject({ key: z.string().min(1).max(4_096) }),
  }),
});
const message = z.looseObject({ Records: z.array(z.unknown()).max(10_000) });
/** What a store sends when notifications are set up. */
const test = z.looseObject({ Event: z.string().regex(/TestEvent$/i) });

/** AWS may have it brought by SNS, which puts it into an envelope as a text. */
const envelope = z.looseObject({ Type: z.literal('Notification'), Message: z.string() });

/** An object that a notification names: `keys` are its key's possible readings. */
export interface NotifiedObject {
  bucket: string;
  keys: string[];
  /** Unix milliseconds; null where the notification has none that can be read. */
  changedAt: number | null;
}

/**
 * The objects that a bucket notification of AWS, MinIO, Versity or Ceph names: all have `Records` of one shape, and differ in how keys
 * are written, in what stands beside the records, and in eTags and sequencers, which are not used here. Events of test messages and
 * of what leaves the bytes alone name none. `unreadable` says what is wrong with records that are of another shape; the others
 * count all the same. Throws for what is no notification.
 */
export function parseBucketNotification(told: unknown): { objects: NotifiedObject[]; unreadable: string | null } {
  const enveloped = envelope.safeParse(told);
  const value: unknown = enveloped.success ? JSON.parse(enveloped.data.Message) : told;
  if (test.safeParse(value).success) return { objects: [], unreadable: null };
  const objects: NotifiedObject[] = [];
  let unreadable: string | null = null;
  for (const each of message.parse(value).Records) {
    const parsed = record.safeParse(each);
    if (!parsed.success) {
      unreadable ??= z.prettifyError(parsed.error);
      continue;
    }
    const { eventName, eventTime, s3 } = parsed.data;
    if (NOT_OF_BYTES.test(eventName)) continue;
    objects.push({ bucket: s3.bucket.name, keys: readings(s3.object.key), changedAt: timeOf(eventTime) });
  }
  return { objects, unreadable };
}

/** As it stands (Versity), form-encoded with a plus for a space (AWS, MinIO), percent-encoded with a plus for itself (Ceph). */
function readings(key: string): string[] {
  const decoded = [key, decode(key.replaceAll('+', ' ')), decode(key)];
  return [...new Set(decoded.filter((reading): reading is string => reading !== null && reading !== ''))];
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

function timeOf(text: string | undefined): number | null {
  const at = text === undefined ? Number.NaN : Date.parse(text);
  return Number.isFinite(at) && at > 0 ? at : null;
}
