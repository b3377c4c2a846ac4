import { setTimeout as sleep } from 'node:timers/promises';
import { ERRORS } from '@sightline/shared/runtime/errors';
import { ApiError } from '../api-client.ts';

const REFUSED_FOR_NOW_MS = 2_000;
const MOST_REFUSALS = 30;

/** Asks again what is refused for now (too many requests, not ready), up to 30 times, `waitMs` apart. Error: the last refusal, or why it was aborted. */
export async function untilTaken<T>(
  ask: () => Promise<T>,
  { signal, waitMs = REFUSED_FOR_NOW_MS }: { signal: AbortSignal; waitMs?: number },
): Promise<T> {
  for (let refusals = 0; ; refusals++) {
    signal.throwIfAborted();
    try {
      return await ask();
    } catch (error) {
      const mayPass = error instanceof ApiError && ERRORS[error.code].retryable;
      if (!mayPass || refusals >= MOST_REFUSALS) throw error;
      await sleep(waitMs, undefined, { signal });
    }
  }
}
