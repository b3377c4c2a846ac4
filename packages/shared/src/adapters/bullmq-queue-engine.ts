import { Queue } from 'bullmq';
import type { IQueueBackend, JobsOptions } from 'bullmq';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { JOBS, LANE_PLACES, LANE_PRIORITY } from '../contracts/jobs.ts';
import type { JobData, JobName, Lane } from '../contracts/jobs.ts';
import { SightlineError } from '../runtime/errors.ts';
import type { AddOptions, JobHandler, JobWorker, QueueEngine } from '../ports/queue-engine.ts';
import { openQueueBackends } from './bullmq-backends.ts';
import type { QueueBackends, QueuePlace } from './bullmq-backends.ts';
import { openJobMetrics } from './bullmq-job-metrics.ts';
import { openJobWorker } from './bullmq-job-worker.ts';
import { ProgressWatchdog } from './bullmq-progress-watchdog.ts';
import { openJobResults } from './bullmq-job-results.ts';
import type { JobResults } from './bullmq-job-results.ts';
import { laneStats, moveTo } from './bullmq-lanes.ts';

export interface QueueEngineDeps {
  logger: Logger;
  registry?: Registry;
  /** A job whose lock is not renewed for so long goes back to the queue; half of it is the interval of the check. */
  lockMs?: number;
  /** Jobs that wait for so long beside an idle worker make `ping` fail. */
  stuckAfterMs?: number;
}

type AnyQueue = Queue<unknown, unknown, string, unknown, unknown, string, IQueueBackend>;

/** First wait after a failed attempt; it doubles, less up to half of it at random. */
const BACKOFF_MS = 1_000;
/** Kept for looking at, not for state: finished jobs are forgotten in minutes, failed ones in a day. */
const KEEP_COMPLETED = { age: 300, count: 200, limit: 500 };
const KEEP_FAILED = { age: 86_400, count: 1_000, limit: 500 };
/** Results of requests are read at once. */
const KEEP_RESULTS = { age: 30, count: 200, limit: 500 };
const CLOSE_DEADLINE_MS = 5_000;

/** BullMQ on Redis or on PostgreSQL. Errors: `queue_unavailable`. */
export async function openQueueEngine(place: QueuePlace, deps: QueueEngineDeps): Promise<QueueEngine> {
  const onError = quietly(deps.logger);
  const backends = await openQueueBackends(place, { onError });
  const queues = new Map<string, AnyQueue>();
  try {
    for (const name of new Set(Object.values(JOBS).map((job) => job.queue)))
      queues.set(name, await openQueue(name, backends, onError));
  } catch (error) {
    await Promise.allSettled([...queues.values()].map((queue) => queue.close()));
    await backends.close();
    throw new SightlineError('queue_unavailable', undefined, { cause: error });
  }
  return new BullmqQueueEngine(backends, queues, deps, onError);
}

function retriesOf(name: JobName) {
  return {
    attempts: JOBS[name].attempts,
    backoff: { type: 'exponential', delay: BACKOFF_MS, jitter: 0.5 },
    removeOnComplete: KEEP_COMPLETED,
    removeOnFail: KEEP_FAILED,
  };
}

async function openQueue(name: string, backends: QueueBackends, onError: (error: Error) => void): Promise<AnyQueue> {
  const { connection, prefix, factory } = backends.producer;
  const queue: AnyQueue = new Queue<unknown, unknown, string, unknown, unknown, string, IQueueBackend>(
    name,
    { connection, prefix, streams: { events: { maxLen: 1_000 } } },
    factory,
  );
  queue.on('error', onError);
  // A queue that was constructed while the database was away would stay rejected for good: be sure before it is used.
  await queue.waitUntilReady();
  return queue;
}

class BullmqQueueEngine implements QueueEngine {
  readonly #backends: QueueBackends;
  readonly #queues: Map<string, AnyQueue>;
  readonly #deps: QueueEngineDeps;
  readonly #onError: (error: Error) => void;
  readonly #workers = new Set<JobWorker>();
  readonly #results = new Map<string, Promise<JobResults>>();
  readonly #metrics;
  readonly #watchdog: ProgressWatchdog;
  #closing: Promise<void> | undefined;

  constructor(backends: QueueBackends, queues: Map<string, AnyQueue>, deps: QueueEngineDeps, onError: (error: Error) => void) {
    this.#backends = backends;
    this.#queues = queues;
    this.#deps = deps;
    this.#onError = onError;
    this.#metrics = openJobMetrics(deps.registry);
    this.#watchdog = new ProgressWatchdog(deps.stuckAfterMs ?? 120_000, deps.logger);
  }

  async add<N extends JobName>(name: N, data: JobData<N>, options: AddOptions): Promise<void> {
    const priority = LANE_PRIORITY[options.lane] + Math.min(Math.max(options.place ?? 0, 0), LANE_PLACES - 1);
    const job = await this.#add(name, data, {
      priority,
      ...retriesOf(name),
      // Not BullMQ's own job id: a finished job that is still kept would swallow the next one of that id.
      ...(options.jobId !== undefined && {
        deduplication: { id: options.jobId, ...(options.andAfter && { keepLastIfActive: true }) },
      }),
      ...(options.delayMs !== undefined && { delay: options.delayMs }),
    });
    if (options.again && options.jobId !== undefined) await this.#reaching(() => moveTo(job, priority));
  }

  async request<N extends JobName>(
    name: N,
    data: JobData<N>,
    options: { lane: Lane; timeoutMs: number; signal?: AbortSignal },
  ): Promise<unknown> {
    const results = await this.#resultsOf(JOBS[name].queue);
    const startedAt = performance.now();
    const job = await this.#add(name, data, {
      priority: LANE_PRIORITY[options.lane],
      attempts: 1,
      removeOnComplete: KEEP_RESULTS,
      removeOnFail: KEEP_RESULTS,
    });
    const timeoutMs = Math.max(0, options.timeoutMs - (performance.now() - startedAt));
    return results.wait(job, { timeoutMs, signal: options.signal });
  }

  async work<N extends JobName>(name: N, handler: JobHandler<N>, options: { concurrency: number }): Promise<JobWorker> {
    const { logger, lockMs = 15_000 } = this.#deps;
    const worker = await openJobWorker(name, handler, options, {
      backends: this.#backends,
      logger,
      lockMs,
      metrics: this.#metrics,
      onError: this.#onError,
    });
    this.#workers.add(worker);
    this.#watchdog.watch({
      queue: JOBS[name].queue,
      idleMs: worker.idleMs,
      waiting: async () => (await this.stats(name)).waiting,
    });
    return worker;
  }

  async schedule<N extends JobName>(
    name: N,
    id: string,
    data: JobData<N>,
    { lane, everyMs }: { lane: Lane; everyMs: number },
  ): Promise<void> {
    const parsed = JOBS[name].schema.parse(data);
    const opts = { priority: LANE_PRIORITY[lane], ...retriesOf(name) };
    await this.#reaching(() =>
      this.#queue(JOBS[name].queue).upsertJobScheduler(id, { every: everyMs }, { name, data: parsed, opts }),
    );
  }

  async unschedule(name: JobName, id: string): Promise<void> {
    await this.#reaching(() => this.#queue(JOBS[name].queue).removeJobScheduler(id));
  }

  async stats(name: JobName): ReturnType<QueueEngine['stats']> {
    const queue = this.#queue(JOBS[name].queue);
    return this.#reaching(async () => {
      const counts = await queue.getJobCounts('waiting', 'prioritized', 'active', 'delayed', 'failed');
      const lanes = await laneStats(queue, counts['prioritized'] ?? 0);
      return {
        waiting: (counts['waiting'] ?? 0) + (counts['prioritized'] ?? 0),
        active: counts['active'] ?? 0,
        delayed: counts['delayed'] ?? 0,
        failed: counts['failed'] ?? 0,
        oldestWaitingSeconds: Math.max(...Object.values(lanes).map(({ oldestWaitingSeconds }) => oldestWaitingSeconds)),
        lanes,
      };
    });
  }

  async ping(): Promise<void> {
    await this.#reaching(() => this.#backends.ping());
    const stuck = this.#watchdog.stuck();
    if (stuck.length > 0)
      throw new SightlineError('queue_unavailable', `Jobs wait, but the workers of ${stuck.join(', ')} take none.`);
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  /** Workers first, then what reads events, then producers, connections last: BullMQ's classes hang on a connection that went before them. */
  async #close(): Promise<void> {
    this.#watchdog.close();
    await Promise.allSettled([...this.#workers].map((worker) => worker.close(CLOSE_DEADLINE_MS)));
    await Promise.allSettled([...this.#results.values()].map(async (results) => (await results).close()));
    await Promise.allSettled([...this.#queues.values()].map((queue) => within(queue.close(), CLOSE_DEADLINE_MS)));
    await within(this.#backends.close(), CLOSE_DEADLINE_MS);
  }

  async #add<N extends JobName>(name: N, data: JobData<N>, options: JobsOptions) {
    const parsed = JOBS[name].schema.parse(data);
    return this.#reaching(() => this.#queue(JOBS[name].queue).add(name, parsed, options));
  }

  #queue(name: string): AnyQueue {
    const queue = this.#queues.get(name);
    if (!queue || this.#closing) throw new SightlineError('queue_unavailable', 'The queue is closed.');
    return queue;
  }

  #resultsOf(queueName: string): Promise<JobResults> {
    let results = this.#results.get(queueName);
    if (!results) {
      results = openJobResults(this.#queue(queueName), { backends: this.#backends, onError: this.#onError });
      // What failed to open is opened anew by the next request.
      results.catch(() => this.#results.delete(queueName));
      this.#results.set(queueName, results);
    }
    return results;
  }

  async #reaching<T>(step: () => Promise<T>): Promise<T> {
    try {
      return await step();
    } catch (error) {
      throw error instanceof SightlineError ? error : new SightlineError('queue_unavailable', undefined, { cause: error });
    }
  }
}

async function within(promise: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([
    promise.catch(() => undefined),
    new Promise((resolve) => {
      timer = setTimeout(resolve, ms);
    }),
  ]);
  clearTimeout(timer);
}

/** While a database is away every connection reports it several times a second: the first of a message is logged, then one in ten seconds. */
function quietly(logger: Logger): (error: Error) => void {
  const loggedAt = new Map<string, number>();
  return (error) => {
    const now = performance.now();
    if (now - (loggedAt.get(error.message) ?? -Infinity) < 10_000) return;
    if (loggedAt.size > 100) loggedAt.clear();
    loggedAt.set(error.message, now);
    logger.warn({ err: error }, 'queue connection');
  };
}
