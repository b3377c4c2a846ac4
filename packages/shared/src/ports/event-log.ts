import type { SightlineEvent } from '../contracts/events.ts';

/**
 * What happened, for whoever wants to know. At least once: an event can be delivered twice, its id is the same each time. Events
 * of one subject come in the order they were published. Errors: `events_unavailable` (may pass).
 */
export interface EventLog {
  /**
   * Durable when it returns, where the log is. When it throws some of the events may be in the log all the same: publish all of
   * them again. An outage shows within some ten seconds; publishing works again by itself once it is over.
   */
  publish(events: SightlineEvent[]): Promise<void>;
  /**
   * Hands events to `handler` in batches. A group that is new gets those published from when this returns; a group's place is durable
   * where the log is, and moves on only after the handler returned: when it throws the same events come again after a pause. Members of one group
   * share the events, each group gets all of them. Events that cannot be read are put aside and stop nothing; those of unknown
   * types are skipped.
   */
  subscribe(group: string, handler: EventHandler): Promise<EventSubscription>;
  /** Throws while the log cannot be written, or a subscription of this process makes no progress. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** `signal`: aborted when the subscription closes or the events are another member's from now on. */
export type EventHandler = (events: SightlineEvent[], signal: AbortSignal) => Promise<void>;

export interface EventSubscription {
  /** Waits for the batch that is being handled. */
  close(): Promise<void>;
}
