/** Hands out as many slots as there are at the moment, in the order they were asked for. */
export class Slots {
  readonly #available: () => number;
  readonly #waiting = new Set<{ grant: () => void; refuse: (reason: unknown) => void }>();
  #taken = 0;

  /** `available`: how many may be taken at once; `pump` is called when it has grown. */
  constructor(available: () => number) {
    this.#available = available;
  }

  get taken(): number {
    return this.#taken;
  }

  /** Resolves to what gives the slot back, and may be called twice. Rejects with the signal's reason, or that of `refuseWaiting`. */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const leave = () => {
        this.#waiting.delete(one);
        signal.removeEventListener('abort', abort);
      };
      const one = {
        grant: () => {
          leave();
          this.#taken++;
          resolve();
        },
        refuse: (reason: unknown) => {
          leave();
          reject(reason);
        },
      };
      const abort = () => one.refuse(signal.reason);
      signal.addEventListener('abort', abort, { once: true });
      this.#waiting.add(one);
      this.pump();
    });
    let isBack = false;
    return () => {
      if (isBack) return;
      isBack = true;
      this.#taken--;
      this.pump();
    };
  }

  pump(): void {
    for (const one of this.#waiting) {
      if (this.#taken >= this.#available()) return;
      one.grant();
    }
  }

  refuseWaiting(reason: unknown): void {
    for (const one of this.#waiting) one.refuse(reason);
  }
}
