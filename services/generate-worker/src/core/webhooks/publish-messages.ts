import { parseEvent, type SightlineEvent } from '@sightline/shared/contracts/events';
import type { EventLog } from '@sightline/shared/ports/event-log';
import type { WebhookLedger } from '@sightline/shared/ports/webhook-ledger';

export interface PublishDeps {
  ledger: Pick<WebhookLedger, 'unpublishedMessages' | 'settlePublished'>;
  events: Pick<EventLog, 'publish'>;
  warn: (error: unknown, message: string) => void;
}

/**
 * Publishes events that wait in the outbox, oldest first, under the ids that webhooks carry: at least once, because whoever dies
 * after publishing has not settled it. Answers how many it looked at. Errors: `events_unavailable`, and nothing is settled then.
 */
export async function publishMessages({ ledger, events, warn }: PublishDeps, limit: number): Promise<number> {
  const messages = await ledger.unpublishedMessages(limit);
  const readable: SightlineEvent[] = [];
  for (const { messageId, event } of messages) {
    const parsed = read(event);
    if (parsed) readable.push(parsed);
    // Left in the outbox it would stand before all the others for ever.
    else warn({ messageId }, 'an event of the outbox is none that is known, and is not published');
  }
  if (readable.length > 0) await events.publish(readable);
  if (messages.length > 0) await ledger.settlePublished(messages.map(({ messageId }) => messageId));
  return messages.length;
}

function read(event: string): SightlineEvent | null {
  try {
    return parseEvent(JSON.parse(event));
  } catch {
    return null;
  }
}
