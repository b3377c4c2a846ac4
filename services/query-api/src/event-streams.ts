import type { FastifyReply } from 'fastify';
import { SightlineError } from '@sightline/shared/runtime/errors';

export interface EventStreamsDeps {
  maxListeners: number;
  heartbeatMs: number;
}

export interface ServerSentEvent {
  id: string | number;
  event: string;
  /** JSON, so that it is one line. */
  data: string;
}

/** One listener of server-sent events. */
export interface EventStream {
  /** What was sent has not left yet: whoever sends more lets it pile up. */
  readonly isFull: boolean;
  send(event: ServerSentEvent): void;
  end(): void;
  /** Told when there is room again. */
  onRoom(tell: () => void): void;
  onClose(tell: () => void): void;
}

/**
 * Replies that are streams of server-sent events: at most so many, each with heartbeats, until it ends, its listener is gone or no
 * longer allowed. A listener who has taken nothing between two heartbeats while something waited for it is let go.
 */
export class EventStreams {
  readonly #deps: EventStreamsDeps;
  readonly #open = new Set<FastifyReply['raw']>();
  #closed = false;

  constructor(deps: EventStreamsDeps) {
    this.#deps = deps;
  }

  /** Takes the reply over. `isStillAllowed` is asked with every heartbeat. Error: `overloaded`. */
  open(reply: FastifyReply, isStillAllowed: () => Promise<boolean>): EventStream {
    if (this.#closed || this.#open.size >= this.#deps.maxListeners) throw new SightlineError('overloaded', 'Too many listeners.');
    const { raw } = reply;
    reply.hijack();
    raw.writeHead(200, {
      ...Object.fromEntries(
        Object.entries(reply.getHeaders()).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
      ),
      'content-type': 'text/event-stream; charset=utf-8',
      'x-accel-buffering': 'no',
    });
    raw.flushHeaders();
    let isStuck = false;
    const heartbeat = setInterval(() => {
      const isWaiting = raw.writableNeedDrain || (raw.writableEnded && !raw.writableFinished);
      if (isWaiting && isStuck) raw.destroy();
      isStuck = isWaiting;
      void beat(raw, isStillAllowed);
    }, this.#deps.heartbeatMs);
    raw.on('drain', () => (isStuck = false));
    raw.on('error', () => undefined);
    this.#open.add(raw);
    raw.once('close', () => {
      clearInterval(heartbeat);
      this.#open.delete(raw);
    });
    return {
      get isFull() {
        return raw.writableNeedDrain;
      },
      send: ({ id, event, data }) => void raw.write(`id: ${id}\nevent: ${event}\ndata: ${data}\n\n`),
      end: () => void raw.end(),
      onRoom: (tell) => void raw.on('drain', tell),
      onClose: (tell) => void raw.once('close', tell),
    };
  }

  /** Ends every stream, and opens none any more. */
  close(): void {
    this.#closed = true;
    for (const raw of this.#open) raw.end();
  }
}

/** Never rejects: a ledger that is away for a while ends no stream. */
async function beat(raw: FastifyReply['raw'], isStillAllowed: () => Promise<boolean>): Promise<void> {
  if (!(await isStillAllowed().catch(() => true))) raw.end();
  else if (!raw.writableNeedDrain && !raw.writableEnded) raw.write(': heartbeat\n\n');
}
