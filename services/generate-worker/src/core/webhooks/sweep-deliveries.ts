import type { WebhookLedger } from '@sightline/shared/ports/webhook-ledger';
import type { DeliveryRef, ReceiverSlots } from './receiver-slots.ts';

export interface SweepDeliveriesDeps {
  ledger: Pick<WebhookLedger, 'dueDeliveries' | 'pruneMessages'>;
  slots: Pick<ReceiverSlots, 'inLine' | 'isCalled'>;
  /** The same delivery twice is one job. */
  drive: (deliveries: DeliveryRef[]) => Promise<void>;
  now: () => number;
}

/** Of those due longest; the others have their turn when these are sent. */
const DUE_LIMIT = 200;
const PRUNE_LIMIT = 500;
const MOST_PRUNED = 100_000;

/** Adds jobs for what is due: tries after the first, and whatever the queue lost. Answers how many. */
export async function sweepDeliveries({ ledger, slots, drive, now }: SweepDeliveriesDeps): Promise<number> {
  // Beside those that stand in line here: a slow receiver's, due longest of all, must not hide the others.
  const due = await ledger.dueDeliveries({ at: now(), limit: DUE_LIMIT + slots.inLine });
  const found = due.filter(({ deliveryId }) => !slots.isCalled(deliveryId)).slice(0, DUE_LIMIT);
  await drive(found);
  return found.length;
}

/** Drops what the log no longer keeps. Answers how many messages. */
export async function pruneLog({ ledger, now }: SweepDeliveriesDeps, keepMs: number, signal: AbortSignal): Promise<number> {
  let dropped = 0;
  for (let some = PRUNE_LIMIT; some === PRUNE_LIMIT && dropped < MOST_PRUNED && !signal.aborted;) {
    some = await ledger.pruneMessages({ before: now() - keepMs, limit: PRUNE_LIMIT });
    dropped += some;
  }
  return dropped;
}
