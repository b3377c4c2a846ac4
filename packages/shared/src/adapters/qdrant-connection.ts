import { QdrantClient } from '@qdrant/js-client-rest';
import { z } from 'zod';
import { SightlineError } from '../runtime/errors.ts';
import { sleep } from '../runtime/sleep.ts';

/** Where Qdrant answers. */
export interface QdrantPlace {
  /** Its HTTP address, such as `http://127.0.0.1:6333`; a port that is left out is the scheme's own. */
  url: string;
  apiKey?: string;
  /** How long one request may take. A request that took longer may have done its work all the same. */
  timeoutMs?: number;
}

export interface QdrantConnectionDeps {
  sleep?: (ms: number) => Promise<void>;
  /** From [0, 1). */
  random?: () => number;
}

const TIMEOUT_MS = 30_000;
const ATTEMPTS = 5;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2_000;

/** The client's own error class is not exported; its shape is. */
const apiError = z.object({ status: z.number(), data: z.unknown() });
const errorBody = z.object({ status: z.object({ error: z.string() }) });

/** The HTTP status of a failed request; null where there was no answer. */
export function statusOf(error: unknown): number | null {
  return apiError.safeParse(error).data?.status ?? null;
}

/** No answer or half of one, a server in trouble, or one that asks for patience: the same request may succeed later. */
function mayPass(error: unknown): boolean {
  const status = statusOf(error);
  return status === null || status >= 500 || status === 408 || status === 429;
}

function reason(error: unknown): string {
  const body = errorBody.safeParse(apiError.safeParse(error).data?.data);
  if (body.success) return body.data.status.error;
  return error instanceof Error ? error.message : String(error);
}

/**
 * Requests to one Qdrant. What may pass (no answer, time-outs, 5xx, 429) is tried five times, with two to three seconds of pauses, so every
 * request must be one that can be made twice. Errors: `index_unavailable`; `internal` for a request that Qdrant calls wrong.
 */
export class QdrantConnection {
  readonly #client: QdrantClient;
  readonly #sleep: (ms: number) => Promise<void>;
  readonly #random: () => number;
  readonly #running = new Set<Promise<unknown>>();
  #isClosed = false;

  constructor({ url, apiKey, timeoutMs = TIMEOUT_MS }: QdrantPlace, deps: QdrantConnectionDeps = {}) {
    this.#sleep = deps.sleep ?? sleep;
    this.#random = deps.random ?? Math.random;
    // The key goes as a header: the client's own option warns on the console wherever the address is not https. Without a port
    // the client would take 6333 also behind a proxy on 443; `null` leaves the address as it is written. It forgets a path.
    const { origin, pathname } = new URL(url);
    this.#client = new QdrantClient({
      url: origin,
      port: null,
      prefix: pathname.replace(/\/$/, ''),
      timeout: timeoutMs,
      checkCompatibility: false,
      // fetch would ask for gzip, which costs both sides more than the wire between them.
      headers: { 'accept-encoding': 'identity', ...(apiKey && { 'api-key': apiKey }) },
    });
  }

  /** Runs one request; `answers` lists error statuses that the caller reads itself (they come back as null). */
  async call<T>(run: (client: QdrantClient) => Promise<T>): Promise<T>;
  async call<T>(run: (client: QdrantClient) => Promise<T>, answers: number[]): Promise<T | null>;
  async call<T>(run: (client: QdrantClient) => Promise<T>, answers: number[] = []): Promise<T | null> {
    if (this.#isClosed) throw new SightlineError('index_unavailable', 'It was closed.');
    const running = this.#attempt(run, answers);
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  /** Waits for the requests that are under way; later ones are refused. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(this.#running);
  }

  async #attempt<T>(run: (client: QdrantClient) => Promise<T>, answers: number[]): Promise<T | null> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await run(this.#client);
      } catch (error) {
        if (answers.includes(statusOf(error) ?? 0)) return null;
        if (!mayPass(error)) throw refused(error);
        if (attempt === ATTEMPTS) throw new SightlineError('index_unavailable', `Qdrant: ${reason(error)}.`, { cause: error });
        // Half fixed, half random: many workers that lost the same server do not come back in the same millisecond.
        const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt);
        await this.#sleep((pauseMs * (1 + this.#random())) / 2);
      }
    }
  }
}

function refused(error: unknown): SightlineError {
  const status = statusOf(error);
  // 401 and 403 are a key that may be mended, 404 a collection that was dropped or is being restored.
  const code = status === 401 || status === 403 || status === 404 ? 'index_unavailable' : 'internal';
  return new SightlineError(code, `Qdrant refused a request (${status}): ${reason(error)}.`, { cause: error });
}
