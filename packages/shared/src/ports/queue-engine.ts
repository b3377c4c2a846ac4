import type { JobData, JobName, Lane } from '../contracts/jobs.ts';

/** What a handler is given beside its data. */
export interface JobContext {
  jobId: string;
  /** From 1. */
  attempt: number;
  /** True when a throw now ends the job for good: write the failure down instead. */
  lastAttempt: boolean;
  /** Aborts when the lock is lost or the process stops; every await in a handler honours it. */
  signal: AbortSignal;
}

export type JobHandler<N extends JobName> = (data: JobData<N>, context: JobContext) => Promise<unknown>;

/**
 * BullMQ as the services see it, on PostgreSQL or on Redis: nothing of either connection shows here. Payloads are parsed on
 * both sides. Errors: `queue_unavailable` (may pass).
 */
export interface QueueEngine {
  /** The same `jobId` twice while the first still waits or runs is one job. */
  add<N extends JobName>(name: N, data: JobData<N>, options: { lane: Lane; jobId?: string; delayMs?: number }): Promise<void>;
  /** Adds a job and waits for its result (unparsed). Throws `encoder_unavailable` when nobody answers in time; the job is then dropped. */
  request<N extends JobName>(
    name: N,
    data: JobData<N>,
    options: { lane: Lane; timeoutMs: number; signal?: AbortSignal },
  ): Promise<unknown>;
  /**
   * Works one kind of job until closed. What is thrown is retried with back-off and jitter when its code is retryable, else final;
   * an error without a code counts as `internal`, which is retryable.
   */
  work<N extends JobName>(name: N, handler: JobHandler<N>, options: { concurrency: number }): Promise<JobWorker>;
  /** Depth per lane and the age of the oldest waiting job. */
  stats(
    name: JobName,
  ): Promise<{ waiting: number; active: number; delayed: number; failed: number; oldestWaitingSeconds: number }>;
  /** Throws while the queue does not answer, or a worker of this process takes nothing although jobs wait. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

export interface JobWorker {
  /** Milliseconds since a job was last taken or finished, for the progress watchdog. */
  idleMs(): number;
  /** Takes no more, waits for what runs until the deadline, then hands back. */
  close(deadlineMs: number): Promise<void>;
}
