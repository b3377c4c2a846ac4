import { DelayedError, UnrecoverableError, WaitingError, Worker } from 'bullmq';
import type { IQueueBackend, Job } from 'bullmq';
import type { Logger } from 'pino';
import { JOBS } from '../contracts/jobs.ts';
import type { JobName } from '../contracts/jobs.ts';
import { ERRORS, SightlineError, toSightlineError } from '../runtime/errors.ts';
import type { JobHandler, JobWorker } from '../ports/queue-engine.ts';
import type { QueueBackends } from './bullmq-backends.ts';
import type { JobMetrics } from './bullmq-job-metrics.ts';
import { encodeJobError } from './bullmq-job-error.ts';

export interface JobWorkerDeps {
  backends: QueueBackends;
  logger: Logger;
  metrics: JobMetrics;
  onError: (error: Error) => void;
  /** A job whose lock is not renewed for so long goes back to the queue. */
  lockMs: number;
}

type AnyWorker = Worker<unknown, unknown, string, IQueueBackend>;

/**
 * How often a job may be taken from a dead worker before it fails for good. BullMQ's default of 1 would fail a healthy job
 * after two crashes of its process; the ledger's sweep re-drives what ends here.
 */
const MAX_STALLED_COUNT = 8;

/** After a worker that does not serve it handed a job back, how long before the next may take it, up to twice that; a job may say less. */
const HAND_BACK_MS = 1_000;

/** Works `name` with `handler` until closed. Errors: `queue_unavailable` when the queue cannot be reached at the start. */
export async function openJobWorker<N extends JobName>(
  name: N,
  handler: JobHandler<N>,
  options: { concurrency: number },
  deps: JobWorkerDeps,
): Promise<JobWorker> {
  const { queue, schema } = JOBS[name];
  const entry: (typeof JOBS)[JobName] = JOBS[name];
  const handBackMs = 'handBackMs' in entry ? entry.handBackMs : HAND_BACK_MS;
  const logger = deps.logger.child({ queue, job: name });
  const stop = new AbortController();
  let lastProgressAt = performance.now();
  let running = 0;

  const handle = async (job: Job, signal: AbortSignal): Promise<unknown> => {
    const parsed = schema.safeParse(job.data);
    if (!parsed.success)
      throw new SightlineError('request_invalid', `The payload of job ${name} does not have its shape.`, { cause: parsed.error });
    // The schema that was just applied is this name's own; the compiler does not follow the index.
    const data = parsed.data as Parameters<typeof handler>[0];
    const lastAttempt = job.attemptsMade + 1 >= (job.opts.attempts ?? 1);
    return handler(data, {
      jobId: job.opts.deduplication?.id ?? job.id ?? '',
      attempt: job.attemptsMade + 1,
      lastAttempt,
      signal,
    });
  };

  const processor = async (job: Job, token: string | undefined, lock: AbortSignal | undefined): Promise<unknown> => {
    const signal = AbortSignal.any(lock ? [lock, stop.signal] : [stop.signal]);
    const startedAt = performance.now();
    running += 1;
    lastProgressAt = startedAt;
    deps.metrics.waited(queue, Math.max(0, Date.now() - job.timestamp - job.delay));
    try {
      const result = await handle(job, signal);
      deps.metrics.finished(queue, 'completed', performance.now() - startedAt);
      return result;
    } catch (thrown) {
      if (stop.signal.aborted) {
        // The process goes down, the job is not at fault: another worker takes it, and no attempt is counted.
        deps.metrics.finished(queue, 'handed_back', performance.now() - startedAt);
        await job.moveToWait(token);
        throw new WaitingError();
      }
      const error = toSightlineError(thrown);
      if (error.code === 'job_handed_back') {
        deps.metrics.finished(queue, 'handed_back', performance.now() - startedAt);
        const delayMs = handBackMs * (1 + Math.random());
        if (deps.backends.kind === 'redis') {
          await job.moveToDelayed(Date.now() + delayMs, token);
          throw new DelayedError();
        }
        // Delaying counts an attempt on PostgreSQL; waiting here first keeps this worker from taking it again at once.
        await settledWithin(new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve())), delayMs);
        await job.moveToWait(token);
        throw new WaitingError();
      }
      throw failure(job, error, performance.now() - startedAt);
    } finally {
      running -= 1;
      lastProgressAt = performance.now();
    }
  };

  const failure = (job: Job, error: SightlineError, tookMs: number): Error => {
    const final = !error.retryable || job.attemptsMade + 1 >= (job.opts.attempts ?? 1);
    deps.metrics.finished(queue, final ? 'failed' : 'retried', tookMs);
    // A user's broken picture is an answer, not an incident.
    logger[final && ERRORS[error.code].httpStatus >= 500 ? 'error' : 'warn'](
      { err: error, code: error.code, jobId: job.id, attempt: job.attemptsMade + 1 },
      final ? 'job failed' : 'job failed, will be retried',
    );
    return error.retryable ? new Error(encodeJobError(error), { cause: error }) : new UnrecoverableError(encodeJobError(error));
  };

  const worker: AnyWorker = new Worker<unknown, unknown, string, IQueueBackend>(
    queue,
    // Three parameters: BullMQ hands out the lock's signal only to processors that declare it.
    (job: Job, token?: string, signal?: AbortSignal) => processor(job, token, signal),
    {
      connection: deps.backends.consumer.connection,
      prefix: deps.backends.consumer.prefix,
      autorun: false,
      concurrency: options.concurrency,
      lockDuration: deps.lockMs,
      stalledInterval: deps.lockMs / 2,
      maxStalledCount: MAX_STALLED_COUNT,
      drainDelay: 5,
      // After an outage; BullMQ's default is 15 s, in which a search would wait for nothing.
      runRetryDelay: 1_000,
    },
    deps.backends.consumer.factory,
  );
  worker.on('error', deps.onError);
  // BullMQ only tells; the handler goes on working on a job that another worker may already have.
  worker.on('lockRenewalFailed', (jobIds: string[]) => {
    for (const jobId of jobIds) {
      logger.warn({ jobId }, 'lock lost, job aborted');
      worker.cancelJob(jobId, 'lock lost');
    }
  });
  try {
    await worker.waitUntilReady();
  } catch (error) {
    await worker.close(true);
    throw new SightlineError('queue_unavailable', undefined, { cause: error });
  }
  worker.run().catch(deps.onError);

  let closing: Promise<void> | undefined;
  return {
    idleMs: () => (running > 0 ? 0 : performance.now() - lastProgressAt),
    close: (deadlineMs) => (closing ??= drain(worker, stop, deadlineMs)),
  };
}

/** `worker.close()` waits for ever: past the deadline the handlers are aborted, and past a second one abandoned to the stalled check. */
async function drain(worker: AnyWorker, stop: AbortController, deadlineMs: number): Promise<void> {
  const handBackMs = Math.min(2_000, deadlineMs / 4);
  const closed = worker.close();
  if (await settledWithin(closed, deadlineMs - handBackMs)) return;
  stop.abort(new Error('the worker is closing'));
  if (await settledWithin(closed, handBackMs)) return;
  await worker.disconnect().catch(() => undefined);
}

async function settledWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), Math.max(0, ms));
  });
  try {
    return await Promise.race([
      promise.then(
        () => true,
        () => true,
      ),
      timeout,
    ]);
  } finally {
    clearTimeout(timer);
  }
}
