import type { ApiClient } from '../../scripts/api-client.ts';
import type { ToldEvent } from '../../scripts/server-sent-events.ts';

/** All events of a stream that ends by itself. */
export async function allEvents(client: ApiClient, path: string): Promise<ToldEvent[]> {
  const events: ToldEvent[] = [];
  for await (const event of client.events(path)) events.push(event);
  return events;
}
