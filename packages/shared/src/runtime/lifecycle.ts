import type { Logger } from 'pino';

/** A started service: `main.ts` closes it, health reads it. */
export interface RunningService {
  name: string;
  /** Throws with the reason while the service cannot do its work: a real encode, a real query. */
  ready(): Promise<void>;
  close(): Promise<void>;
}

/** Closes in reverse order of opening, each within the deadline; a failing or hanging close never keeps the others from theirs. */
export class Closer {
  readonly #steps: { name: string; close: () => Promise<void> | void }[] = [];
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** What opens registers its close on the next line. */
  push(name: string, close: () => Promise<void> | void): void {
    this.#steps.push({ name, close });
  }

  async closeAll(deadlineMs: number): Promise<void> {
    const endsAt = performance.now() + deadlineMs;
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      let timer: NodeJS.Timeout | undefined;
      const timeout = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error('close took too long')), Math.max(100, endsAt - performance.now()));
      });
      try {
        await Promise.race([Promise.resolve(step.close()), timeout]);
      } catch (error) {
        this.#logger.warn({ err: error, step: step.name }, 'close failed');
      } finally {
        clearTimeout(timer);
      }
    }
  }
}
