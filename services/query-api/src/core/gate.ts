import { SightlineError } from '@sightline/shared/runtime/errors';

/** Bounds what runs at once. Beyond `waiting` in line it refuses, so that nobody waits for what will not come in time. */
export class Gate {
  readonly #running: number;
  readonly #waiting: number;
  readonly #what: string;
  readonly #line: (() => void)[] = [];
  #active = 0;

  constructor(what: string, limits: { running: number; waiting: number }) {
    this.#what = what;
    this.#running = limits.running;
    this.#waiting = limits.waiting;
  }

  /** Error: `overloaded`. */
  async run<T>(step: () => Promise<T>): Promise<T> {
    if (this.#active >= this.#running) {
      if (this.#line.length >= this.#waiting) throw new SightlineError('overloaded', `Too many ${this.#what} at once.`);
      await new Promise<void>((resolve) => this.#line.push(resolve));
    } else {
      this.#active++;
    }
    try {
      return await step();
    } finally {
      // The place passes on to the next in line, or becomes free.
      const next = this.#line.shift();
      if (next) next();
      else this.#active--;
    }
  }
}
