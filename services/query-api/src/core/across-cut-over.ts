import { SightlineError } from '@sightline/shared/runtime/errors';
import type { RemoveDeps } from './remove.ts';

/** This process hears of a cut-over a moment later than the ledger does. */
const TRIES = 10;
const WAIT_MS = 200;

/**
 * A removal, with what it needs of the version of the index that serves. That version may stop taking writes under it: then it is made
 * anew in the one that serves.
 */
export async function acrossCutOver<T>(depsNow: () => RemoveDeps, remove: (deps: RemoveDeps) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const deps = depsNow();
    try {
      return await remove(deps);
    } catch (error) {
      const isMoved = error instanceof SightlineError && error.code === 'lease_lost' && attempt < TRIES;
      if (!isMoved) throw error;
      await deps.sleep(WAIT_MS);
    }
  }
}
