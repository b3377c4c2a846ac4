interface Waiting {
  key: string;
  enter: () => void;
}

/** Room for so many at once, and for so many of one key, so that one slow receiver does not take every place. First come, first served. */
export class GuardedSlots {
  readonly #most: number;
  readonly #mostOfKey: number;
  readonly #taken = new Map<string, number>();
  #takenInAll = 0;
  #waiting: Waiting[] = [];

  constructor(most: number, mostOfKey: number) {
    this.#most = most;
    this.#mostOfKey = mostOfKey;
  }

  /** Waits for a place and gives what frees it. Rejects with the signal's reason when that comes first. */
  async take(key: string, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#hasRoom(key)) return this.#enter(key);
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting = this.#waiting.filter((one) => one !== waiting);
        reject(signal.reason);
      };
      const enter = () => {
        signal.removeEventListener('abort', onAbort);
        resolve(this.#enter(key));
      };
      const waiting = { key, enter };
      this.#waiting.push(waiting);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #hasRoom(key: string): boolean {
    return this.#takenInAll < this.#most && (this.#taken.get(key) ?? 0) < this.#mostOfKey;
  }

  #enter(key: string): () => void {
    this.#count(key, 1);
    return () => {
      this.#count(key, -1);
      const next = this.#waiting.findIndex((one) => this.#hasRoom(one.key));
      if (next >= 0) this.#waiting.splice(next, 1)[0]?.enter();
    };
  }

  #count(key: string, change: 1 | -1): void {
    const count = (this.#taken.get(key) ?? 0) + change;
    if (count === 0) this.#taken.delete(key);
    else this.#taken.set(key, count);
    this.#takenInAll += change;
  }
}
