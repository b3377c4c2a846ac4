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

export interface AddOptions {
  lane: Lane;
  jobId?: string;
  delayMs?: number;
  /**
   * Place within the lane, from 0 to 999: jobs of a lower place go first, equal ones in the order they came. The bulk lane's fair
   * shares are made of it. 0 when left out.
   */
  place?: number;
  /** With a `jobId` that may run already: one more runs after it, with the newest data, so that nothing that came late is passed over. */
  andAfter?: boolean;
  /** With a `jobId` that may wait already: it then moves to this place. What waited long gets further so. */
  again?: boolean;
}

/** Of one lane, or of all. */
export interface LaneStats {
  waiting: number;
  oldestWaitingSeconds: number;
}

/**
 * BullMQ as the services see it, on PostgreSQL or on Redis: nothing of either connection shows here. Payloads are parsed on
 * both sides. Errors: `queue_unavailable` (may pass).
 */
export interface QueueEngine {
  /** The same `jobId` twice while the first still waits or runs is one job. */
  add<N extends JobName>(name: N, data: JobData<N>, options: AddOptions): Promise<void>;
  /** Adds a job and waits for its result (unparsed). Throws `encoder_unavailable` when nobody answers in time; the job is then dropped. */
  request<N extends JobName>(
    name: N,
    data: JobData<N>,
    options: { lane: Lane; timeoutMs: number; signal?: AbortSignal },
  ): Promise<unknown>;
  /**
   * Works one kind of job until closed. What is thrown is retried with back-off and jitter when its code is retryable, else final;
   * an error without a code counts as `internal`, which is retryable. `job_handed_back` is no failure: the job waits a moment and may
   * be taken by another worker, no attempt is counted.
   */
  work<N extends JobName>(name: N, handler: JobHandler<N>, options: { concurrency: number }): Promise<JobWorker>;
  /**
   * Has a job added every so often, from now on and for ever, whoever else lives: the same `id` is one schedule however many ask for
   * it, and asking again with the same interval leaves its turns as they are. Each turn's job has an id of its own, the same
   * each time it is tried. A turn that comes while the one before it still waits may be left out.
   */
  schedule<N extends JobName>(name: N, id: string, data: JobData<N>, options: { lane: Lane; everyMs: number }): Promise<void>;
  /** Ends a schedule, with the turn that waits for its time; one that is not there is left so. */
  unschedule(name: JobName, id: string): Promise<void>;
  /** Depth and age of the oldest waiting job, in total and per lane. */
  stats(name: JobName): Promise<LaneStats & { active: number; delayed: number; failed: number; lanes: Record<Lane, LaneStats> }>;
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
