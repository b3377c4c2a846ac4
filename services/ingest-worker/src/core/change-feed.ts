import type { Change } from '@sightline/shared/contracts/changes';

/**
 * What a source tells of. Of an object `keys` has every reading of the key that was told: stores write them plain or URL-encoded and
 * do not say which; a reading that is no object costs a look. `changedAt`: when the source says that it was written, in Unix
 * milliseconds.
 */
export type Noticed =
  | { kind: 'object'; bucket: string; keys: string[]; changedAt: number | null }
  | { kind: 'item'; tenant: string; change: Extract<Change, { kind: 'item' }>; changedAt: number | null };

/**
 * Where changes are heard of: bucket notifications, a watched folder. At least once, in no order that counts, and now and then not at
 * all: what is heard only says where to look. Errors: `events_unavailable` (may pass).
 */
export interface ChangeFeed {
  /**
   * Hands what was noticed to `handler` in batches, from the time when this returns or from where the feed stood before. The feed's
   * place, where it has one that lasts, moves on only after the handler returned; when it throws the same comes again after a
   * pause. What cannot be read is put aside and stops nothing.
   */
  start(handler: (noticed: Noticed[], signal: AbortSignal) => Promise<void>): Promise<void>;
  /** Throws while nothing can be heard of, or this process makes no progress with what there is. */
  ping(): Promise<void>;
  /** Waits for the batch that is being handled. */
  close(): Promise<void>;
}
