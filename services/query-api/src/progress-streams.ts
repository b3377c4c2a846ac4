import type { FastifyReply } from 'fastify';
import type { Logger } from 'pino';
import type { Ingestion, Ledger } from '@sightline/shared/ports/ledger';
import { FINAL_STATUSES, type Progress } from './core/progress.ts';
import { EventStreams, type EventStream, type EventStreamsDeps } from './event-streams.ts';

export interface ProgressStreamsDeps extends EventStreamsDeps {
  ledger: Ledger;
  progress: Progress;
  logger: Logger;
  intervalMs: number;
}

interface Listener {
  stream: EventStream;
  /** What was sent last; only changes are sent. */
  last: string;
}

/** One ingestion that is being listened to: one poll of the ledger serves all its listeners. */
interface Channel {
  tenant: string;
  listeners: Set<Listener>;
  timer: NodeJS.Timeout | null;
  sent: number;
}

/**
 * Server-sent events of ingestions. Progress crosses processes through the ledger, so this polls it, once per ingestion however
 * many listen. Every event carries the whole state, so a reconnection (Last-Event-ID) needs no memory here. A listener that reads
 * slowly skips states, it never makes them pile up.
 */
export class ProgressStreams {
  readonly #deps: ProgressStreamsDeps;
  readonly #streams: EventStreams;
  readonly #channels = new Map<string, Channel>();
  #closed = false;

  constructor(deps: ProgressStreamsDeps) {
    this.#deps = deps;
    this.#streams = new EventStreams(deps);
  }

  /**
   * Takes the reply over until the ingestion is over, the listener is gone, or no longer allowed: asked with every heartbeat.
   * Error: `overloaded`.
   */
  open(ingestion: Ingestion, reply: FastifyReply, isStillAllowed: () => Promise<boolean>): void {
    const listener: Listener = { stream: this.#streams.open(reply, isStillAllowed), last: '' };
    const channel = this.#channelOf(ingestion);
    channel.listeners.add(listener);
    listener.stream.onClose(() => this.#drop(ingestion, listener));
    this.#send(channel, listener, ingestion);
  }

  /** Ends every stream. */
  close(): void {
    this.#closed = true;
    this.#streams.close();
    for (const { timer } of this.#channels.values()) if (timer) clearTimeout(timer);
    this.#channels.clear();
  }

  #channelOf({ ingestionId, tenant }: Ingestion): Channel {
    const name = channelName({ tenant, ingestionId });
    let channel = this.#channels.get(name);
    if (!channel) {
      channel = { tenant, listeners: new Set(), timer: null, sent: 0 };
      this.#channels.set(name, channel);
      this.#poll(ingestionId, channel);
    }
    return channel;
  }

  #poll(ingestionId: string, channel: Channel): void {
    channel.timer = setTimeout(() => {
      void this.#tell(ingestionId, channel).then(() => {
        if (!this.#closed && channel.listeners.size > 0) this.#poll(ingestionId, channel);
      });
    }, this.#deps.intervalMs);
  }

  /** Never rejects: a ledger that is away for a while ends no stream. */
  async #tell(ingestionId: string, channel: Channel): Promise<void> {
    try {
      const ingestion = await this.#deps.ledger.getIngestion(channel.tenant, ingestionId);
      for (const listener of channel.listeners) {
        if (ingestion) this.#send(channel, listener, ingestion);
        // Pruned while it was watched: there is nothing more to tell.
        else listener.stream.end();
      }
    } catch (error) {
      this.#deps.logger.warn({ err: error, ingestionId }, 'progress could not be read');
    }
  }

  #send(channel: Channel, listener: Listener, ingestion: Ingestion): void {
    const isFinal = FINAL_STATUSES.includes(ingestion.status);
    // What has not left yet is enough for a slow reader; the last state is sent whatever waits.
    if (listener.stream.isFull && !isFinal) return;
    const data = JSON.stringify(this.#deps.progress.view(ingestion));
    if (data === listener.last) return;
    listener.last = data;
    channel.sent++;
    listener.stream.send({ id: channel.sent, event: isFinal ? 'done' : 'progress', data });
    if (isFinal) listener.stream.end();
  }

  #drop(ingestion: Ingestion, listener: Listener): void {
    const name = channelName(ingestion);
    const channel = this.#channels.get(name);
    if (!channel) return;
    channel.listeners.delete(listener);
    if (channel.listeners.size > 0) return;
    if (channel.timer) clearTimeout(channel.timer);
    this.#channels.delete(name);
  }
}

function channelName({ tenant, ingestionId }: Pick<Ingestion, 'tenant' | 'ingestionId'>): string {
  return JSON.stringify([tenant, ingestionId]);
}
