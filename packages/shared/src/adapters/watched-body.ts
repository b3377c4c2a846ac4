/**
 * What a caller hands in to be written, read part by part. An aborted signal ends the wait for a part, and what the body itself
 * throws is kept: it is the caller's own error, not the store's.
 */
export class WatchedBody implements AsyncIterable<Uint8Array> {
  readonly #body: AsyncIterable<Uint8Array>;
  readonly #signal: AbortSignal | undefined;
  #thrown: { error: unknown } | null = null;

  constructor(body: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined) {
    this.#body = body;
    this.#signal = signal;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    const parts = this.#body[Symbol.asyncIterator]();
    const aborted = Promise.withResolvers<never>();
    aborted.promise.catch(() => undefined);
    const onAbort = (): void => aborted.reject(this.#signal?.reason);
    this.#signal?.addEventListener('abort', onAbort, { once: true });
    let isOver = false;
    try {
      for (;;) {
        this.#signal?.throwIfAborted();
        const part = await Promise.race([parts.next(), aborted.promise]);
        isOver = part.done === true;
        if (part.done) return;
        yield part.value;
      }
    } catch (error) {
      isOver = !this.#signal?.aborted;
      this.#thrown = { error };
      throw error;
    } finally {
      this.#signal?.removeEventListener('abort', onAbort);
      // Not waited for: a body that hangs answers to nothing.
      if (!isOver) void Promise.resolve(parts.return?.()).catch(() => undefined);
    }
  }

  /** Why the writing failed: the abort's reason, the body's own error, or else `error`. */
  causeOf(error: unknown): unknown {
    if (this.#signal?.aborted) return this.#signal.reason;
    return this.#thrown ? this.#thrown.error : error;
  }
}
