import type { Webhook } from '@sightline/shared/ports/webhook-ledger';

/**
 * Whether an attempt that failed ends more than itself. 410 says that nobody is there any more: the webhook is disabled as `gone` at
 * once. It is disabled as `failing` when a delivery's whole schedule ran out (about three days) and every attempt has failed since
 * before that delivery was added: one success in all that time and it stays. A question's own address has nothing to disable.
 */
export function disabledBy(
  failed: { status: number | null; isLast: boolean; deliveryCreatedAt: number },
  webhook: Pick<Webhook, 'failingSince'> | null,
): 'gone' | 'failing' | null {
  if (!webhook) return null;
  if (failed.status === 410) return 'gone';
  const { failingSince } = webhook;
  return failed.isLast && failingSince !== null && failingSince < failed.deliveryCreatedAt ? 'failing' : null;
}
