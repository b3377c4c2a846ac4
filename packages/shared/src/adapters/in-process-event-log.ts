import type { Logger } from 'pino';
import { EVENTS } from '../contracts/events.ts';
import type { SightlineEvent } from '../contracts/events.ts';
import type { EventHandler, EventLog, EventSubscription } from '../ports/event-log.ts';
import { SightlineError } from '../runtime/errors.ts';
import { sleep } from '../runtime/sleep.ts';

export interface InProcessEventLogDeps {
  logger?: Logger;
  /** Events kept for groups that are behind; the oldest are dropped then, as a broker's retention does. */
  keepEvents?: number;
  /** First pause after a handler threw; it doubles up to 30 s. */
  retryMs?: number;
}

const MAX_BATCH = 256;
const LONGEST_PAUSE_MS = 30_000;

/** A group's place, and its members: the first of them gets the events, the others stand by. */
interface Group {
  /** Number of the next event, counted from the log's beginning. */
  next: number;
  members: Member[];
}

interface Member {
  handler: EventHandler;
  over: AbortController;
  /** Settles when the member has nothing in hand; null while it stands by. */
  running: Promise<void> | null;
}

/**
 * The event log of a stack in one process: what is published lies in memory until every group had it, and is gone with the
 * process. Nothing is kept while nobody subscribes.
 */
export class InProcessEventLog implements EventLog {
  readonly #logger: Logger | undefined;
  readonly #keepEvents: number;
  readonly #retryMs: number;
  readonly #groups = new Map<string, Group>();
  #events: SightlineEvent[] = [];
  /** Number of the first of `#events`. */
  #first = 0;
  #closed = false;

  constructor(deps: InProcessEventLogDeps = {}) {
    this.#logger = deps.logger;
    this.#keepEvents = deps.keepEvents ?? 10_000;
    this.#retryMs = deps.retryMs ?? 500;
  }

  async publish(events: SightlineEvent[]): Promise<void> {
    this.#assertOpen();
    const parsed: SightlineEvent[] = events.map((event) => EVENTS[event.type].schema.parse(event));
    this.#events.push(...parsed);
    this.#trim();
    for (const group of this.#groups.values()) this.#wake(group);
  }

  async subscribe(name: string, handler: EventHandler): Promise<EventSubscription> {
    this.#assertOpen();
    const group = this.#groups.get(name) ?? { next: this.#first + this.#events.length, members: [] };
    this.#groups.set(name, group);
    const member: Member = { handler, over: new AbortController(), running: null };
    group.members.push(member);
    this.#wake(group);
    return {
      close: async () => {
        member.over.abort();
        await member.running;
        group.members = group.members.filter((other) => other !== member);
        this.#wake(group);
      },
    };
  }

  async ping(): Promise<void> {
    this.#assertOpen();
  }

  async close(): Promise<void> {
    this.#closed = true;
    const members = [...this.#groups.values()].flatMap((group) => group.members);
    for (const member of members) member.over.abort();
    await Promise.all(members.map(async (member) => member.running));
  }

  #assertOpen(): void {
    if (this.#closed) throw new SightlineError('events_unavailable', 'The event log is closed.');
  }

  #wake(group: Group): void {
    const member = group.members[0];
    if (!member || member.running || this.#closed) return;
    member.running = this.#run(group, member).finally(() => {
      member.running = null;
      // What came in while it was ending.
      if (!member.over.signal.aborted && group.next < this.#first + this.#events.length) this.#wake(group);
    });
  }

  async #run(group: Group, { handler, over: { signal } }: Member): Promise<void> {
    // Never within the call that published.
    await Promise.resolve();
    let pauseMs = this.#retryMs;
    while (!signal.aborted) {
      const from = Math.max(group.next, this.#first);
      const batch = this.#events.slice(from - this.#first, from - this.#first + MAX_BATCH);
      if (batch.length === 0) return;
      try {
        await handler(batch, signal);
        group.next = from + batch.length;
        pauseMs = this.#retryMs;
        this.#trim();
      } catch (error) {
        if (signal.aborted) return;
        this.#logger?.warn({ err: error, pauseMs }, 'events were not handled and come again');
        await sleep(pauseMs, signal).catch(() => undefined);
        pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
      }
    }
  }

  /** Drops what every group had, and what is over the limit. */
  #trim(): void {
    const end = this.#first + this.#events.length;
    let keepFrom = end;
    for (const { next } of this.#groups.values()) keepFrom = Math.min(keepFrom, next);
    if (end - keepFrom > this.#keepEvents) {
      this.#logger?.warn(
        { dropped: end - keepFrom - this.#keepEvents },
        'a group is too far behind: its oldest events are dropped',
      );
      keepFrom = end - this.#keepEvents;
    }
    if (keepFrom <= this.#first) return;
    this.#events = this.#events.slice(keepFrom - this.#first);
    this.#first = keepFrom;
  }
}
