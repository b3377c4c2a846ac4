import type { Noticed } from '../core/change-feed.ts';

/** The keys that were told of, of all that a handler was given. */
export function keysOf(noticed: Noticed[]): string[] {
  return noticed.flatMap((one) => (one.kind === 'object' ? one.keys : []));
}
