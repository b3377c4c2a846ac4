import { Readable } from 'node:stream';

/** A body that did not come whole. The same request may succeed: `get` and `stream` ask again. */
export class BodyFault extends Error {
  override readonly name = 'BodyFault';
}

/**
 * The chunks of an answer's body. A body that is silent for `stallTimeoutMs` or breaks off is a `BodyFault`; the time that the
 * reader takes between chunks does not count. Whoever stops reading closes the connection.
 */
export async function* bodyChunks(
  body: unknown,
  { stallTimeoutMs, signal }: { stallTimeoutMs: number; signal?: AbortSignal },
): AsyncGenerator<Uint8Array> {
  if (!(body instanceof Readable)) throw new BodyFault('The answer has no body.');
  const onAbort = (): void => void body.destroy(new BodyFault('aborted'));
  const onStall = (): void => void body.destroy(new BodyFault(`No byte came for ${stallTimeoutMs} ms.`));
  signal?.addEventListener('abort', onAbort, { once: true });
  let timer = setTimeout(onStall, stallTimeoutMs);
  try {
    signal?.throwIfAborted();
    for await (const chunk of body) {
      clearTimeout(timer);
      yield chunk;
      timer = setTimeout(onStall, stallTimeoutMs);
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof BodyFault ? error : new BodyFault('The body broke off.', { cause: error });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    body.destroy();
  }
}

/** Closes an answer that nobody reads: its connection would be held for ever. */
export function discardBody(body: unknown): void {
  // Destroyed without a listener, a broken body would end the process.
  if (body instanceof Readable) body.on('error', () => undefined).destroy();
}
