import { SightlineError, type ErrorCode } from '../runtime/errors.ts';
import { errnoOf } from './local-path.ts';

const BY_NAME: Record<string, ErrorCode> = {
  NoSuchBucket: 'source_not_found',
  InvalidBucketName: 'source_not_found',
  // The bucket is in another region than the one configured.
  PermanentRedirect: 'source_not_found',
  TemporaryRedirect: 'source_not_found',
  AuthorizationHeaderMalformed: 'source_not_found',
  IllegalLocationConstraintException: 'source_not_found',
  NoSuchKey: 'object_not_found',
  NotFound: 'object_not_found',
  PreconditionFailed: 'object_changed',
  InvalidRange: 'object_changed',
  KeyTooLongError: 'key_outside_source',
  // What passes though its status says otherwise: an upload that was swept, credentials that are fetched anew.
  NoSuchUpload: 'object_store_unavailable',
  ExpiredToken: 'object_store_unavailable',
  RequestTimeout: 'object_store_unavailable',
};

// No 404: only the names above say that the object is gone. Versity also says 404 of an access key that it does not know, and what
// is taken for gone is removed from the index.
const BY_STATUS: Record<number, ErrorCode> = {
  301: 'source_not_found',
  307: 'source_not_found',
  401: 'object_forbidden',
  403: 'object_forbidden',
  408: 'object_store_unavailable',
  409: 'object_store_unavailable',
  412: 'object_changed',
  416: 'object_changed',
  429: 'object_store_unavailable',
  // Not implemented: asking again changes nothing.
  501: 'object_forbidden',
};

/** The HTTP status of an error from the SDK, or undefined when no answer came. */
export function statusOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('$metadata' in error)) return undefined;
  const metadata: unknown = error.$metadata;
  if (typeof metadata !== 'object' || metadata === null || !('httpStatusCode' in metadata)) return undefined;
  return typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined;
}

/** The store's own word for an error, such as `SlowDown`. */
export function nameOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'name' in error && typeof error.name === 'string' ? error.name : '';
}

/** The SDK's error as the port's: by the store's name for it, then by status. What came without an answer may pass. */
export function s3Error(error: unknown): SightlineError {
  if (error instanceof SightlineError) return error;
  const name = nameOf(error);
  const status = statusOf(error);
  const code = BY_NAME[name] ?? (status === undefined ? 'object_store_unavailable' : codeOf(status));
  const said = [status, name, errnoOf(error)].filter((part) => part !== undefined && part !== '' && part !== 'Error');
  return new SightlineError(code, `The store says ${[...new Set(said)].join(' ') || 'nothing'}.`, { cause: error });
}

function codeOf(status: number): ErrorCode {
  const known = BY_STATUS[status];
  if (known) return known;
  // A request that the store finds wrong stays wrong; an answer that could not be read may come whole the next time.
  return status >= 400 && status < 500 ? 'object_forbidden' : 'object_store_unavailable';
}
