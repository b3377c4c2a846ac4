import type { QueueEngine } from '../ports/queue-engine.ts';

/** Adding is one round trip each; so many at a time. */
const ADDS_AT_ONCE = 8;

/**
 * Has due deliveries sent. The same delivery twice is one job while it waits or runs; `again`: one more after the one that runs. A job
 * that is lost is added again by the sweep of generate-worker, as are the later tries of a delivery when they are due.
 */
export async function driveDeliveries(
  queue: Pick<QueueEngine, 'add'>,
  deliveries: { tenant: string; deliveryId: string }[],
  { again = false }: { again?: boolean } = {},
): Promise<void> {
  for (let first = 0; first < deliveries.length; first += ADDS_AT_ONCE) {
    const added = deliveries
      .slice(first, first + ADDS_AT_ONCE)
      .map(({ tenant, deliveryId }) =>
        queue.add(
          'webhook',
          { tenant, deliveryId },
          { lane: 'event', jobId: `delivery-${deliveryId}`, ...(again && { andAfter: true }) },
        ),
      );
    await Promise.all(added);
  }
}
