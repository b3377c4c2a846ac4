import { setTimeout as sleepFor } from 'node:timers/promises';

/** The `sleep` that `main.ts` and services hand to their core. Rejects with the signal's reason wrapped as an AbortError. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  await sleepFor(ms, undefined, { signal });
}
