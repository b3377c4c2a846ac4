import cliProgress from 'cli-progress';

/** Work that is told of while it is done: what, how much of it, how fast, how long still. */
export interface Progress {
  begin(what: string, total: number): { done: () => void; end: () => void };
}

export interface WorkOptions {
  progress: Progress;
  atOnce: number;
  signal: AbortSignal;
  /** Until what is refused for now is asked again. */
  waitMs?: number;
}

/** On standard error, so that what is printed can be piped; without a terminal a line now and then says the same. */
export const terminalProgress: Progress = {
  begin(what, total) {
    const startedMs = performance.now();
    let count = 0;
    const bar = new cliProgress.SingleBar({
      format: '  {what} {bar} {value}/{total} | {rate}/s | {eta_formatted} left',
      barsize: 20,
      barCompleteChar: '█',
      barIncompleteChar: '░',
      hideCursor: true,
      noTTYOutput: true,
      notTTYSchedule: 10_000,
      fps: 4,
      etaBuffer: 20,
      stream: process.stderr,
    });
    const labels = () => ({
      what: what.padEnd(34),
      rate: (count / Math.max(0.001, (performance.now() - startedMs) / 1000)).toFixed(1),
    });
    bar.start(total, 0, labels());
    return {
      done: () => {
        count++;
        bar.update(count, labels());
      },
      end: () => bar.stop(),
    };
  },
};

/** Works through all, `atOnce` at a time, in their order; answers in their order. What one throws ends it, and an abort does: with its reason. */
export async function workAll<T, R>(
  what: string,
  all: readonly T[],
  { progress, atOnce, signal }: WorkOptions,
  work: (one: T) => Promise<R>,
): Promise<R[]> {
  const answers = new Map<number, R>();
  const waiting = all.map((one, i) => [i, one] as const);
  const bar = progress.begin(what, all.length);
  const next = async (): Promise<void> => {
    for (let one = waiting.shift(); one; one = waiting.shift()) {
      signal.throwIfAborted();
      answers.set(one[0], await work(one[1]));
      // What ended because it was stopped is no answer.
      signal.throwIfAborted();
      bar.done();
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.max(1, atOnce) }, next));
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    waiting.length = 0;
    bar.end();
  }
  return [...answers].sort(([a], [b]) => a - b).map(([, answer]) => answer);
}
