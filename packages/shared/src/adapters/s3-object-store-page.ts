import { ListObjectsV2Command, type ListObjectsV2CommandOutput, type S3Client } from '@aws-sdk/client-s3';
import type { ObjectInfo } from '../ports/object-store.ts';
import { objectInfo } from './s3-object-store-info.ts';
import { compareKeys, decodeListedKey } from './s3-object-store-key.ts';

/** What S3 gives at most. */
export const PAGE_KEYS = 1_000;

/** One page of a listing is asked for by where it begins, or by the token that the page before it ended with. */
export interface PageRequest {
  prefix: string;
  startAfter?: string;
  token?: string;
  /** What lies below a further `/` is told by its sub-prefix alone. */
  isDelimited: boolean;
}

export interface ListPage {
  /** In ascending byte order; a text is a sub-prefix. */
  entries: (ObjectInfo | string)[];
  /** Of the next page; null when this is the last one. */
  token: string | null;
}

export type FetchPage = (request: PageRequest, signal: AbortSignal) => Promise<ListPage>;

/** Why something in a bucket is not listed. */
export type S3SkipReason = 'name_not_utf8' | 'folder_marker';

/** Asks S3 for pages of a bucket; `bucket` is its name here, `s3Bucket` there. */
export function pageFetcher(
  client: S3Client,
  { bucket, s3Bucket, pageKeys }: { bucket: string; s3Bucket: string; pageKeys: number },
  onSkip: (key: string, reason: S3SkipReason) => void,
): FetchPage {
  return async ({ prefix, startAfter, token, isDelimited }, signal) => {
    const answer = await client.send(
      new ListObjectsV2Command({
        Bucket: s3Bucket,
        MaxKeys: pageKeys,
        // XML 1.0 has no way to write most control characters, and parsers turn a carriage return into a line feed.
        EncodingType: 'url',
        ...(prefix === '' ? {} : { Prefix: prefix }),
        ...(isDelimited ? { Delimiter: '/' } : {}),
        ...(token !== undefined ? { ContinuationToken: token } : startAfter !== undefined ? { StartAfter: startAfter } : {}),
      }),
      { abortSignal: signal },
    );
    const next = answer.IsTruncated && answer.NextContinuationToken ? answer.NextContinuationToken : null;
    return { entries: entriesOf(answer, bucket, onSkip), token: next };
  };
}

function entriesOf(
  answer: ListObjectsV2CommandOutput,
  bucket: string,
  onSkip: (key: string, reason: S3SkipReason) => void,
): (ObjectInfo | string)[] {
  const decode = (raw: string): string | null => {
    const key = answer.EncodingType === 'url' ? decodeListedKey(raw) : raw;
    if (key === null) onSkip(raw, 'name_not_utf8');
    return key;
  };
  const entries: (ObjectInfo | string)[] = [];
  for (const { Key, ETag, Size, LastModified } of answer.Contents ?? []) {
    const key = decode(Key ?? '');
    if (key === null) continue;
    // What consoles and mounts write to make a prefix look like a folder.
    if (key.endsWith('/') && !Size) {
      onSkip(key, 'folder_marker');
      continue;
    }
    entries.push(objectInfo({ bucket, key }, { eTag: ETag, sizeBytes: Size, modifiedAt: LastModified }));
  }
  const prefixes = (answer.CommonPrefixes ?? []).map(({ Prefix }) => decode(Prefix ?? '')).filter((one) => one !== null);
  // Objects and sub-prefixes come in two lists, each in order.
  return prefixes.length === 0 ? entries : [...entries, ...prefixes].sort((a, b) => compareKeys(keyOf(a), keyOf(b)));
}

export function keyOf(entry: ObjectInfo | string): string {
  return typeof entry === 'string' ? entry : entry.key;
}
