import type { ErrorCode } from '../runtime/errors.ts';

const OUTAGES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'object_store_unavailable',
  'index_unavailable',
  'ledger_unavailable',
  'ledger_full',
  'queue_unavailable',
  'events_unavailable',
  'encoder_unavailable',
]);

/**
 * Whether an error says that a part of the stack is away, and nothing about the object it was met at. However long that lasts, it
 * becomes no object's failure: the work stays owed.
 */
export function isOutage(code: ErrorCode): boolean {
  return OUTAGES.has(code);
}
