import { realpath, stat } from 'node:fs/promises';
import { isAbsolute, join, normalize, resolve, sep } from 'node:path';
import { SightlineError, type ErrorCode } from '../runtime/errors.ts';

const BUCKET_NAME = /^[a-z0-9][a-z0-9.-]{0,62}$/;
const MAX_KEY_BYTES = 1024;

/** A bucket's folder: an absolute path is a directory source, a name lies under `<dataDir>/objects`. */
export function bucketFolder(dataDir: string, bucket: string): string {
  if (bucket.includes('\0')) throw new SightlineError('source_not_found', 'A path holds a NUL.');
  if (isAbsolute(bucket)) {
    const folder = normalize(bucket);
    if (isWithin(resolve(dataDir), resolve(folder))) throw dataDirRefused();
    return folder;
  }
  if (!BUCKET_NAME.test(bucket)) throw new SightlineError('source_not_found', 'A bucket is an absolute path or a name.');
  return join(dataDir, 'objects', bucket);
}

/** Refuses keys that could lead out: empty, absolute, NUL, half a surrogate pair, and the segments `.`, `..` and nothing. */
export function assertKey(key: string): void {
  const isBad =
    key === '' ||
    key.includes('\0') ||
    !key.isWellFormed() ||
    key.split('/').some((segment) => segment === '' || segment === '.' || segment === '..');
  if (isBad) throw new SightlineError('key_outside_source', 'A key is a relative path without empty, "." or ".." segments.');
  if (isKeyTooLong(key)) {
    throw new SightlineError('key_outside_source', `A key has at most ${MAX_KEY_BYTES} bytes.`);
  }
}

/** True when `path` is `folder` or lies in it. */
export function isWithin(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/** A file's path can be longer than a key. */
export function isKeyTooLong(key: string): boolean {
  return Buffer.byteLength(key) > MAX_KEY_BYTES;
}

/** A hidden file or folder anywhere in the key: never listed. */
export function isHidden(key: string): boolean {
  return key.split('/').some((segment) => segment.startsWith('.'));
}

/**
 * A bucket's folder with every link resolved. Errors: `source_not_found` (no such folder), `source_not_allowed` (a way into
 * DATA_DIR) and those of storeError.
 */
export async function bucketRoot(dataDir: string, bucket: string): Promise<string> {
  const folder = bucketFolder(dataDir, bucket);
  try {
    const root = await realpath(folder);
    if (!(await stat(root)).isDirectory()) throw new SightlineError('source_not_found', 'It is not a folder.');
    if (isAbsolute(bucket) && isWithin(await realpath(dataDir).catch(() => dataDir), root)) throw dataDirRefused();
    return root;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') {
      throw new SightlineError('source_not_found', 'The folder is not there.', { cause: error });
    }
    throw storeError(error);
  }
}

/**
 * The file behind a key with every link resolved, or null when nothing is there. A link is followed only while it stays in
 * the bucket, and no way leads into `closedOff`, the data folder below or beside it: to open and close one of SQLite's files in
 * this process would drop its locks. Errors: `key_outside_source` and those of storeError.
 */
export async function resolveInBucket(root: string, key: string, closedOff: string | null): Promise<string | null> {
  let path: string;
  try {
    path = await realpath(join(root, key));
  } catch (error) {
    // ENOTDIR: a parent of the key is a file. ELOOP: links in a ring lead nowhere.
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) return null;
    throw storeError(error);
  }
  if (!isWithin(root, path)) throw new SightlineError('key_outside_source', 'A link leads out of the source.');
  if (closedOff !== null && isWithin(closedOff, path))
    throw new SightlineError('key_outside_source', 'It lies in DATA_DIR, where the stack keeps its own files.');
  return path;
}

// The data files are no source: listing them would index thumbnails of thumbnails, and hand out the ledger's bytes.
function dataDirRefused(): SightlineError {
  return new SightlineError('source_not_allowed', 'The folder lies in DATA_DIR, where the stack keeps its own files.');
}

export function errnoOf(error: unknown): string | undefined {
  // Not instanceof: a test's realm has another Error than node's own modules.
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined;
}

const BY_ERRNO: Record<string, ErrorCode> = {
  EACCES: 'object_forbidden',
  EPERM: 'object_forbidden',
  EROFS: 'object_forbidden',
  ENOENT: 'object_not_found',
  ENOTDIR: 'object_not_found',
  EISDIR: 'object_not_found',
  ELOOP: 'object_not_found',
  ENAMETOOLONG: 'key_outside_source',
  // What may pass: the disk, the descriptors or the network file system recover.
  ENOSPC: 'object_store_unavailable',
  EDQUOT: 'object_store_unavailable',
  EIO: 'object_store_unavailable',
  EMFILE: 'object_store_unavailable',
  ENFILE: 'object_store_unavailable',
  ENOMEM: 'object_store_unavailable',
  EBUSY: 'object_store_unavailable',
  EAGAIN: 'object_store_unavailable',
  ESTALE: 'object_store_unavailable',
  ETIMEDOUT: 'object_store_unavailable',
};

function isAbort(error: unknown): error is Error {
  return typeof error === 'object' && error !== null && 'name' in error && error.name === 'AbortError';
}

/** A file system's error as the port's: by errno, and what is unknown may pass. An abort stays what it is. */
export function storeError(error: unknown): Error {
  if (error instanceof SightlineError) return error;
  if (isAbort(error)) return error;
  const errno = errnoOf(error);
  return new SightlineError(BY_ERRNO[errno ?? ''] ?? 'object_store_unavailable', errno && `The file system says ${errno}.`, {
    cause: error,
  });
}
