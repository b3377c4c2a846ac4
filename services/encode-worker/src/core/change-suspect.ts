import type { Ledger } from '@sightline/shared/ports/ledger';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { Guard } from './picture-feed.ts';

type Settings = Pick<Ledger, 'getSetting' | 'putSetting'>;

/**
 * Round the decoding of a change's picture that workers died over: writes it down before it is tried, and refuses the one that stands
 * there from a worker that did not live to clear it. How often a change was taken says only that somebody died beside it. Under the
 * key's lease, so that it is tried by one at a time. `workerId`: who wrote it down itself lives.
 */
export function guardSuspect(ledger: Settings, name: string, workerId: string): Guard {
  return async (decode) => {
    const tried = await ledger.getSetting(name);
    if (tried !== null && tried !== workerId) throw new SightlineError('picture_kills_decoder');
    await ledger.putSetting(name, workerId);
    try {
      return await decode();
    } finally {
      await ledger.putSetting(name, null);
    }
  };
}

export function suspectSetting(tenant: string, place: string): string {
  return `change-suspect:${tenant}:${place}`;
}
