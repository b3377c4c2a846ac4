import type { Ledger } from '@sightline/shared/ports/ledger';
import { SightlineError } from '@sightline/shared/runtime/errors';

/**
 * Ingestions of one tenant that may be going, held ones among them. Each is looked at by every turn of the sweep, and what a held one
 * owes stays in the ledger: without a limit one tenant could keep the others' from being looked at.
 */
export const MOST_ACTIVE_INGESTIONS = 200;

/** Error: `too_many_ingestions`. Some that begin in the same moment may pass beyond the limit. */
export async function assertMayBegin(ledger: Pick<Ledger, 'listIngestions'>, tenant: string): Promise<void> {
  const active = await ledger.listIngestions(tenant, {
    statuses: ['planning', 'running', 'paused'],
    limit: MOST_ACTIVE_INGESTIONS,
  });
  if (active.length >= MOST_ACTIVE_INGESTIONS)
    throw new SightlineError('too_many_ingestions', `${MOST_ACTIVE_INGESTIONS} are going: let some end, or cancel them.`);
}
