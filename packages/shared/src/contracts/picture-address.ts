import { z } from 'zod';
import { MAX_PICTURES, type PicturePlace } from './records.ts';

const MAX_KEY_BYTES = 1_024;

/** `images` of a record that comes by itself. */
export const pictureAddresses = z
  .array(z.string().min(1).max(4_096))
  .max(MAX_PICTURES)
  .default([])
  .describe('Addresses of its pictures, `s3://bucket/key`; those that are not there yet come in when they are.');

/**
 * The object that `s3://bucket/key` names; null for any other text. A key is what stands there, nothing in it is escaped. Keys with
 * segments `.` or `..` are none: a gateway over a file system may follow them.
 */
export function storedPicture(address: string): PicturePlace | null {
  const [, bucket = '', key = ''] = /^s3:\/\/([^/]+)\/(.+)$/s.exec(address) ?? [];
  const isKey = key !== '' && !key.endsWith('/') && !key.includes('\0') && Buffer.byteLength(key) <= MAX_KEY_BYTES;
  if (bucket.length > 255 || !isKey || key.split('/').some((segment) => segment === '.' || segment === '..')) return null;
  return { bucket, key };
}

/** Each once, in order. */
export function distinctPictures(pictures: PicturePlace[]): PicturePlace[] {
  return [...new Map(pictures.map((picture) => [JSON.stringify([picture.bucket, picture.key]), picture])).values()];
}
