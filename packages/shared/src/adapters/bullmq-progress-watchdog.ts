import type { Logger } from 'pino';

export interface Watched {
  queue: string;
  /** Milliseconds without anything taken or finished; 0 while a job runs. */
  idleMs(): number;
  /** Jobs that wait for a worker. */
  waiting(): Promise<number>;
}

/**
 * A worker can hang over a fail-over of its database while it still says that it runs. What shows is that jobs wait and none is
 * taken: that is looked for here, and makes the service not ready, so that its orchestrator replaces it.
 */
export class ProgressWatchdog {
  readonly #watched = new Set<Watched>();
  readonly #stuck = new Set<string>();
  readonly #stuckAfterMs: number;
  readonly #logger: Logger;
  readonly #timer: NodeJS.Timeout;

  constructor(stuckAfterMs: number, logger: Logger) {
    this.#stuckAfterMs = stuckAfterMs;
    this.#logger = logger;
    this.#timer = setInterval(() => void this.#look(), stuckAfterMs / 4);
    this.#timer.unref();
  }

  watch(watched: Watched): void {
    this.#watched.add(watched);
  }

  /** The queues whose workers make no progress. */
  stuck(): string[] {
    return [...this.#stuck];
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    for (const { queue, idleMs, waiting } of this.#watched) {
      const isIdle = idleMs() > this.#stuckAfterMs;
      // A queue that does not answer is another failure, and another message.
      const isStuck = isIdle && (await waiting().catch(() => 0)) > 0;
      if (isStuck && !this.#stuck.has(queue))
        this.#logger.error({ queue, idleMs: Math.round(idleMs()) }, 'jobs wait, but the worker takes none');
      if (isStuck) this.#stuck.add(queue);
      else this.#stuck.delete(queue);
    }
  }
}
