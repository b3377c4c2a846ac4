import { QueueEvents } from 'bullmq';
import type { IQueueBackend } from 'bullmq';
import { SightlineError } from '../runtime/errors.ts';
import type { QueueBackends } from './bullmq-backends.ts';
import { decodeJobError } from './bullmq-job-error.ts';

/** Waits for results of jobs that this process added. */
export interface JobResults {
  /** Errors: the job's own, `encoder_unavailable` when the time is over. */
  wait(job: RequestedJob, options: { timeoutMs: number; signal?: AbortSignal | undefined }): Promise<unknown>;
  close(): Promise<void>;
}

export interface RequestedJob {
  id?: string | undefined;
  remove(): Promise<void>;
}

interface FinishedJob {
  finishedOn?: number | undefined;
  failedReason?: string | undefined;
  returnvalue: unknown;
}

/**
 * Events on PostgreSQL can be passed over (ids are drawn before they commit, and a reader without news starts from the newest
 * again), so a waiting request also looks for itself, seldom.
 */
const LOOK_EVERY_MS = 200;

type Settle = { resolve: (value: unknown) => void; reject: (error: Error) => void };

export async function openJobResults(
  queue: { name: string; getJob(id: string): Promise<FinishedJob | undefined> },
  deps: { backends: QueueBackends; onError: (error: Error) => void },
): Promise<JobResults> {
  const { connection, prefix, factory } = deps.backends.consumer;
  const waiting = new Map<string, Settle>();
  const events = new QueueEvents<unknown, IQueueBackend>(queue.name, { connection, prefix }, factory);
  events.on('error', deps.onError);
  events.on('completed', ({ jobId, returnvalue }) => waiting.get(jobId)?.resolve(returnvalue));
  events.on('failed', ({ jobId, failedReason }) => waiting.get(jobId)?.reject(decodeJobError(failedReason)));
  try {
    await events.waitUntilReady();
  } catch (error) {
    await events.close().catch(() => undefined);
    throw new SightlineError('queue_unavailable', undefined, { cause: error });
  }

  const look = async (id: string, settle: Settle) => {
    const job = await queue.getJob(id).catch(() => undefined);
    if (job?.finishedOn === undefined) return;
    if (job.failedReason) settle.reject(decodeJobError(job.failedReason));
    else settle.resolve(job.returnvalue);
  };

  return {
    wait: async (job, { timeoutMs, signal }) => {
      const id = job.id ?? '';
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      const settle = { resolve, reject };
      waiting.set(id, settle);
      const give = (error: unknown) => {
        reject(error);
        // Nobody waits any more; while it runs it cannot be removed, and its own expiry ends it.
        job.remove().catch(() => undefined);
      };
      const timer = setTimeout(
        () => give(new SightlineError('encoder_unavailable', `No answer within ${Math.round(timeoutMs)} ms.`)),
        timeoutMs,
      );
      const looking = setInterval(() => void look(id, settle), LOOK_EVERY_MS);
      const onAbort = () => give(signal?.reason);
      if (signal?.aborted) onAbort();
      signal?.addEventListener('abort', onAbort, { once: true });
      // It may have finished before this line.
      void look(id, settle);
      try {
        return await promise;
      } finally {
        waiting.delete(id);
        clearTimeout(timer);
        clearInterval(looking);
        signal?.removeEventListener('abort', onAbort);
      }
    },
    close: async () => {
      for (const settle of waiting.values()) settle.reject(new SightlineError('queue_unavailable', 'The queue is closed.'));
      await events.close();
    },
  };
}
