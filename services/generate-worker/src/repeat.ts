import type { Logger } from 'pino';
import { sleep } from '@sightline/shared/runtime/sleep';

/** Does something at once and then again and again until stopped; what fails is tried again at its next turn. */
export function repeat(
  name: string,
  { everyMs, logger }: { everyMs: number; logger: Logger },
  turn: (signal: AbortSignal) => Promise<void>,
): { stop: () => Promise<void> } {
  const stopping = new AbortController();
  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await turn(stopping.signal).catch((error: unknown) => {
        if (!stopping.signal.aborted) logger.warn({ err: error }, name);
      });
      await sleep(everyMs, stopping.signal).catch(() => {});
    }
  };
  const running = run();
  return {
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}
