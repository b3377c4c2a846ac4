import { ERRORS, SightlineError } from '../runtime/errors.ts';
import type { ErrorCode } from '../runtime/errors.ts';

/** A job's failure crosses the queue as text; this text carries the code and the detail to the other side. */
export function encodeJobError(error: SightlineError): string {
  return `${error.code}: ${error.detail ?? ''}`;
}

/** The error a failed job's reason stands for; a reason that BullMQ itself wrote becomes `internal`. */
export function decodeJobError(reason: string): SightlineError {
  const [, code, detail] = /^([a-z_]+): ?([\s\S]*)$/.exec(reason) ?? [];
  return code !== undefined && isErrorCode(code)
    ? new SightlineError(code, detail || undefined)
    : new SightlineError('internal', reason);
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERRORS, code);
}
