import { SYSTEM_BUCKET } from '../contracts/ids.ts';
import type { PicturePlace } from '../contracts/records.ts';
import type { Region } from '../contracts/source-place.ts';
import { SightlineError } from '../runtime/errors.ts';

/** As S3 has it. An absolute path as a bucket is a directory by another name. */
const BUCKET_NAME = /^[a-z0-9][a-z0-9.-]{0,62}$/;

/**
 * Whether a tenant may ingest a place of the object store. `allowedSources` are `bucket` or `bucket/folder`, `{tenant}` standing for the
 * tenant: a folder is one, so `catalogue/acme` does not open `catalogue/acme-secret`. Error: `source_not_allowed`.
 */
export function assertAllowed(
  { bucket, prefix }: Region,
  { tenant, allowedSources }: { tenant: string; allowedSources: readonly string[] },
): void {
  if (!BUCKET_NAME.test(bucket)) throw new SightlineError('source_not_allowed', `${bucket} is not a bucket's name.`);
  if (bucket === SYSTEM_BUCKET) throw new SightlineError('source_not_allowed', "This bucket is the stack's own.");
  // To S3 they are names like any other; a gateway over a file system may follow them out of the folder.
  if (/(^|\/)\.\.?\//.test(prefix))
    throw new SightlineError('source_not_allowed', `${bucket}/${prefix} has "." or ".." segments.`);
  const isAllowed = allowedSources.some((entry) => {
    const place = entry.replaceAll('{tenant}', tenant);
    const cut = place.indexOf('/');
    const folder = cut === -1 ? '' : place.slice(cut + 1).replace(/\/*$/, '/');
    return bucket === (cut === -1 ? place : place.slice(0, cut)) && (folder === '/' || prefix.startsWith(folder));
  });
  if (isAllowed) return;
  const hint =
    allowedSources.length === 0 ? 'no place of the object store is: set INGEST_SOURCES' : 'INGEST_SOURCES says which are';
  throw new SightlineError('source_not_allowed', `${bucket}/${prefix} may not be ingested (${hint}).`);
}

/** Whether a tenant's records may name these pictures of the object store. Error: `source_not_allowed`, for the first that they may not. */
export function assertMayName(pictures: PicturePlace[], who: { tenant: string; allowedSources: readonly string[] }): void {
  for (const { bucket, key } of pictures) assertAllowed({ bucket, prefix: key }, who);
}
