/** A bounded amount of something: bytes in flight, decoded pictures. Waiters are served in their order. */
export class Budget {
  readonly #total: number;
  #free: number;
  readonly #waiting: { amount: number; grant: () => void }[] = [];

  constructor(total: number) {
    this.#total = total;
    this.#free = total;
  }

  /** Waits for `amount` (more than the whole budget counts as the whole); the answer gives it back, once. */
  async take(amount: number, signal?: AbortSignal): Promise<() => void> {
    const wanted = Math.min(Math.max(amount, 0), this.#total);
    signal?.throwIfAborted();
    if (this.#waiting.length > 0 || wanted > this.#free) {
      await new Promise<void>((resolve, reject) => {
        const onAbort = (): void => {
          this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
          this.#serve();
          reject(signal?.reason as Error);
        };
        const grant = (): void => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        };
        const waiter = { amount: wanted, grant };
        this.#waiting.push(waiter);
        signal?.addEventListener('abort', onAbort, { once: true });
      });
    } else this.#free -= wanted;
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#free += wanted;
      this.#serve();
    };
  }

  #serve(): void {
    for (let next = this.#waiting[0]; next && next.amount <= this.#free; next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#free -= next.amount;
      next.grant();
    }
  }
}
