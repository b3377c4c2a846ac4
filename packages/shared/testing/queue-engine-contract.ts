import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { openQueueEngine } from '../src/adapters/bullmq-queue-engine.ts';
import type { QueuePlace } from '../src/adapters/bullmq-backends.ts';
import type { JobData } from '../src/contracts/jobs.ts';
import { SightlineError } from '../src/runtime/errors.ts';
import type { JobContext, QueueEngine } from '../src/ports/queue-engine.ts';
import { queueScheduleContract } from './queue-schedule-contract.ts';

export interface QueueServer {
  /** A place that no other test has used. */
  freshPlace(): Promise<QueuePlace>;
  /** Lets no worker take a job of the queue, as a worker that hangs would. */
  pause(place: QueuePlace, queue: string): Promise<void>;
  /** Null where the server cannot be stopped by the test. */
  stop: (() => Promise<void>) | null;
  start: (() => Promise<void>) | null;
}

/** Short, so that what waits for a lost lock does not wait long. */
const LOCK_MS = 1_000;
const FINGERPRINTS = { image: 'image-fingerprint', text: 'text-fingerprint' };

const encodeJob = (chunkNo: number): JobData<'encode'> => ({
  tenant: 'default',
  ingestionId: 'ingestion',
  chunkNo,
  fingerprints: FINGERPRINTS,
  traceId: 'trace',
});
const queryJob = (): JobData<'encode-query'> => ({
  tenant: 'default',
  fingerprints: FINGERPRINTS,
  query: 'red shoe',
  traceId: 'trace',
  expiresAt: Date.now() + 60_000,
});

/** What every queue engine does, on whichever database. `server` is called inside tests only. */
export function queueEngineContract(backend: string, server: () => QueueServer): void {
  const opened: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of opened.splice(0).reverse()) await close();
  });
  const open = async (place: QueuePlace): Promise<QueueEngine> => {
    const engine = await openQueueEngine(place, { logger: pino({ level: 'silent' }), lockMs: LOCK_MS });
    opened.push(() => engine.close());
    return engine;
  };
  const openWorkerProcess = async (place: QueuePlace): Promise<WorkerProcess> => {
    const worker = new WorkerProcess(place);
    opened.push(() => worker.kill());
    await worker.line('ready');
    return worker;
  };

  queueScheduleContract(backend, async () => {
    const place = await server().freshPlace();
    return { open: () => open(place) };
  });

  test(`${backend}: lanes go in order of priority, within a lane in order of age`, async () => {
    const engine = await open(await server().freshPlace());
    await engine.add('encode', encodeJob(1), { lane: 'bulk' });
    await engine.add('encode', encodeJob(2), { lane: 'bulk' });
    await engine.add('encode', encodeJob(3), { lane: 'event' });
    await engine.add('encode', encodeJob(4), { lane: 'interactive' });
    const seen: number[] = [];
    const all = Promise.withResolvers<void>();
    const handler = async ({ chunkNo }: JobData<'encode'>) => {
      seen.push(chunkNo);
      if (seen.length === 4) all.resolve();
    };
    await engine.work('encode', handler, { concurrency: 1 });
    await all.promise;
    expect(seen).toEqual([4, 3, 1, 2]);
  });

  test(`${backend}: a job that a worker hands back goes to another, as often as it takes, without an attempt`, async () => {
    const engine = await open(await server().freshPlace());
    const attempts: number[] = [];
    const taken = Promise.withResolvers<void>();
    const handler = async (_: JobData<'encode'>, { attempt }: JobContext) => {
      attempts.push(attempt);
      if (attempts.length < 3) throw new SightlineError('job_handed_back');
      taken.resolve();
    };
    await engine.add('encode', encodeJob(1), { lane: 'bulk', jobId: 'chunk-1' });
    await engine.work('encode', handler, { concurrency: 1 });
    await taken.promise;
    expect(attempts).toEqual([1, 1, 1]);
  });

  test(`${backend}: within a lane lower places go first, and no place reaches into another lane`, async () => {
    const engine = await open(await server().freshPlace());
    for (let no = 0; no < 4; no += 1) await engine.add('encode', encodeJob(no), { lane: 'bulk', place: no });
    await engine.add('encode', encodeJob(10), { lane: 'bulk', place: 0 });
    await engine.add('encode', encodeJob(11), { lane: 'bulk', place: 999 });
    await engine.add('encode', encodeJob(12), { lane: 'bulk', place: 5_000 });
    await engine.add('encode', encodeJob(20), { lane: 'event', place: 999 });
    await engine.add('encode', encodeJob(30), { lane: 'interactive', place: 999 });
    const seen: number[] = [];
    await engine.work('encode', async ({ chunkNo }) => void seen.push(chunkNo), { concurrency: 1 });
    await until(() => seen.length === 9);
    expect(seen).toEqual([30, 20, 0, 10, 1, 2, 3, 11, 12]);
  });

  test(`${backend}: a job that is added again moves to its new place, one that runs or is over is not upset`, async () => {
    const engine = await open(await server().freshPlace());
    const add = (no: number, place: number, again = false) =>
      engine.add('encode', encodeJob(no), { lane: 'bulk', jobId: `chunk-${no}`, place, again });
    await add(1, 500);
    await add(2, 10);
    await add(1, 3);
    expect((await engine.stats('encode')).waiting).toBe(2);
    await add(1, 3, true);
    await add(3, 1, true);
    expect((await engine.stats('encode')).waiting).toBe(3);
    const seen: number[] = [];
    const release = Promise.withResolvers<void>();
    const handler = async ({ chunkNo }: JobData<'encode'>) => {
      seen.push(chunkNo);
      if (chunkNo === 1) await release.promise;
    };
    await engine.work('encode', handler, { concurrency: 1 });
    await until(() => seen.length === 2);
    await add(1, 0, true);
    release.resolve();
    await until(() => seen.length === 3);
    expect(seen).toEqual([3, 1, 2]);
    expect(await engine.stats('encode')).toMatchObject({ waiting: 0, failed: 0 });
  });

  test(`${backend}: a retryable failure is tried again, a final one is not`, async () => {
    const engine = await open(await server().freshPlace());
    const contexts: Pick<JobContext, 'attempt' | 'lastAttempt'>[] = [];
    const succeeded = Promise.withResolvers<void>();
    const handler = async ({ chunkNo }: JobData<'encode'>, { attempt, lastAttempt }: JobContext) => {
      contexts.push({ attempt, lastAttempt });
      if (chunkNo === 1) throw new SightlineError('picture_corrupt');
      if (attempt === 1) throw new SightlineError('object_store_unavailable');
      succeeded.resolve();
    };
    await engine.work('encode', handler, { concurrency: 1 });
    await engine.add('encode', encodeJob(1), { lane: 'bulk' });
    await engine.add('encode', encodeJob(2), { lane: 'bulk' });
    await succeeded.promise;
    expect(contexts).toEqual([
      { attempt: 1, lastAttempt: false },
      { attempt: 1, lastAttempt: false },
      { attempt: 2, lastAttempt: false },
    ]);
    expect((await engine.stats('encode')).failed).toBe(1);
  });

  test(`${backend}: the same job id is one job while it waits or runs, and a new one after it has ended`, async () => {
    const engine = await open(await server().freshPlace());
    for (let i = 0; i < 3; i += 1) await engine.add('encode', encodeJob(1), { lane: 'bulk', jobId: 'chunk-1' });
    expect((await engine.stats('encode')).waiting).toBe(1);
    const ids: string[] = [];
    let release = Promise.withResolvers<void>();
    let started = Promise.withResolvers<void>();
    const handler = async (_: JobData<'encode'>, { jobId }: JobContext) => {
      ids.push(jobId);
      started.resolve();
      await release.promise;
      throw new SightlineError('picture_corrupt');
    };
    await engine.work('encode', handler, { concurrency: 2 });
    await started.promise;
    await engine.add('encode', encodeJob(1), { lane: 'bulk', jobId: 'chunk-1' });
    expect(await engine.stats('encode')).toMatchObject({ waiting: 0, active: 1 });
    release.resolve();
    await until(async () => (await engine.stats('encode')).active === 0);
    [release, started] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    release.resolve();
    await engine.add('encode', encodeJob(1), { lane: 'bulk', jobId: 'chunk-1' });
    await started.promise;
    expect(ids).toEqual(['chunk-1', 'chunk-1']);
  });

  test(`${backend}: of what is added behind a job that runs one more runs afterwards, with the newest data`, async () => {
    const engine = await open(await server().freshPlace());
    const add = (no: number) => engine.add('encode', encodeJob(no), { lane: 'event', jobId: 'changes', andAfter: true });
    const seen: number[] = [];
    let running = 0;
    let release = Promise.withResolvers<void>();
    const handler = async ({ chunkNo }: JobData<'encode'>) => {
      seen.push(chunkNo);
      expect((running += 1)).toBe(1);
      await release.promise;
      running -= 1;
    };
    // While it waits, many are one.
    for (let no = 0; no < 5; no += 1) await add(no);
    expect((await engine.stats('encode')).waiting).toBe(1);
    await engine.work('encode', handler, { concurrency: 4 });
    await until(() => seen.length === 1);
    for (let no = 10; no < 30; no += 1) await add(no);
    await sleep(200);
    expect(seen.length).toBe(1);
    release.resolve();
    release = Promise.withResolvers<void>();
    await until(() => seen.length === 2);
    // And behind that one another.
    await add(40);
    await add(41);
    release.resolve();
    release = Promise.withResolvers<void>();
    release.resolve();
    await until(() => seen.length === 3);
    await until(async () => (await engine.stats('encode')).active === 0);
    await sleep(200);
    expect(seen.slice(1)).toEqual([29, 41]);
    // It is over: the next is a new one.
    await add(50);
    await until(() => seen.length === 4);
    expect(seen.at(-1)).toBe(50);
  });

  test.each([
    ['fails for good', 'picture_corrupt', 1],
    ['fails and is tried again', 'object_store_unavailable', 2],
    ['is handed back', 'job_handed_back', 2],
  ] as const)(`${backend}: what was added behind a job runs also when that one %s`, async (_, code, runs) => {
    const engine = await open(await server().freshPlace());
    const add = (no: number) => engine.add('encode', encodeJob(no), { lane: 'event', jobId: 'changes', andAfter: true });
    const seen: number[] = [];
    const release = Promise.withResolvers<void>();
    const handler = async ({ chunkNo }: JobData<'encode'>) => {
      seen.push(chunkNo);
      if (seen.length > 1) return;
      await release.promise;
      throw new SightlineError(code);
    };
    await add(1);
    await engine.work('encode', handler, { concurrency: 2 });
    await until(() => seen.length === 1);
    await add(2);
    await add(3);
    release.resolve();
    await until(() => seen.includes(3));
    await until(async () => (await engine.stats('encode')).active === 0);
    expect(seen.filter((no) => no === 3)).toEqual([3]);
    expect(seen.filter((no) => no === 1).length).toBeLessThanOrEqual(runs);
    expect(seen).not.toContain(2);
  });

  test(`${backend}: what was added behind a job of a killed worker runs after it`, async () => {
    const place = await server().freshPlace();
    const engine = await open(place);
    const add = (no: number) => engine.add('encode', encodeJob(no), { lane: 'event', jobId: 'changes', andAfter: true });
    const victim = await openWorkerProcess(place);
    await add(7);
    await victim.line('start 7');
    await add(8);
    await add(9);
    await victim.kill();
    const seen: number[] = [];
    await engine.work('encode', async ({ chunkNo }) => void seen.push(chunkNo), { concurrency: 1 });
    await until(() => seen.includes(9));
    expect(seen).toEqual([7, 9]);
  });

  test(`${backend}: a request gets its result, or its error by code`, async () => {
    const engine = await open(await server().freshPlace());
    let calls = 0;
    const handler = async () => {
      calls += 1;
      if (calls > 1) throw new SightlineError('picture_truncated', 'half of it');
      return { answer: [0.25, -1] };
    };
    await engine.work('encode-query', handler, { concurrency: 2 });
    await expect(engine.request('encode-query', queryJob(), { lane: 'interactive', timeoutMs: 5_000 })).resolves.toEqual({
      answer: [0.25, -1],
    });
    await expect(engine.request('encode-query', queryJob(), { lane: 'interactive', timeoutMs: 5_000 })).rejects.toMatchObject({
      code: 'picture_truncated',
      detail: 'half of it',
    });
  });

  test(`${backend}: fifty requests at once each get their own result`, async () => {
    const place = await server().freshPlace();
    const [asking, answering] = [await open(place), await open(place)];
    await answering.work('encode-query', async ({ query }) => query, { concurrency: 8 });
    const asked = Array.from({ length: 50 }, (_, i) => `query ${i}`);
    const answers = await Promise.all(
      asked.map((query) => asking.request('encode-query', { ...queryJob(), query }, { lane: 'interactive', timeoutMs: 10_000 })),
    );
    expect(answers).toEqual(asked);
  });

  test(`${backend}: a request that nobody answers ends in time and leaves no job behind`, async () => {
    const engine = await open(await server().freshPlace());
    await expect(engine.request('encode-query', queryJob(), { lane: 'interactive', timeoutMs: 150 })).rejects.toMatchObject({
      code: 'encoder_unavailable',
    });
    await until(async () => (await engine.stats('encode-query')).waiting === 0);
    const stop = new AbortController();
    const request = engine.request('encode-query', queryJob(), { lane: 'interactive', timeoutMs: 60_000, signal: stop.signal });
    stop.abort(new Error('the client is gone'));
    await expect(request).rejects.toThrow('the client is gone');
    await until(async () => (await engine.stats('encode-query')).waiting === 0);
  });

  test(`${backend}: closing a busy worker hands its job back, and no attempt is lost`, async () => {
    const place = await server().freshPlace();
    const [leaving, staying] = [await open(place), await open(place)];
    const started = Promise.withResolvers<void>();
    const worker = await leaving.work(
      'encode',
      (_, { signal }) =>
        new Promise((__, reject) => {
          started.resolve();
          signal.addEventListener('abort', () => reject(signal.reason));
        }),
      { concurrency: 1 },
    );
    await leaving.add('encode', encodeJob(1), { lane: 'bulk' });
    await started.promise;
    const attempt = Promise.withResolvers<number>();
    const startedClosingAt = performance.now();
    await worker.close(400);
    await staying.work('encode', async (_, context) => attempt.resolve(context.attempt), { concurrency: 1 });
    expect(await attempt.promise).toBe(1);
    // Not by the stalled check, which would take longer than the lock.
    expect(performance.now() - startedClosingAt).toBeLessThan(LOCK_MS);
  });

  test(`${backend}: closing a worker waits for a job that ends in time`, async () => {
    const engine = await open(await server().freshPlace());
    const started = Promise.withResolvers<void>();
    let ended = false;
    const handler = async () => {
      started.resolve();
      await sleep(200);
      ended = true;
    };
    const worker = await engine.work('encode', handler, { concurrency: 1 });
    await engine.add('encode', encodeJob(1), { lane: 'bulk' });
    await started.promise;
    await worker.close(5_000);
    expect(ended).toBe(true);
    expect(await engine.stats('encode')).toMatchObject({ waiting: 0, active: 0, failed: 0 });
  });

  test(`${backend}: a job of a killed worker process is done by another`, async () => {
    const place = await server().freshPlace();
    const engine = await open(place);
    const victim = await openWorkerProcess(place);
    await engine.add('encode', encodeJob(7), { lane: 'bulk', jobId: 'chunk-7' });
    await victim.line('start 7');
    await victim.kill();
    const done = Promise.withResolvers<number>();
    await engine.work('encode', async ({ chunkNo }) => done.resolve(chunkNo), { concurrency: 1 });
    expect(await done.promise).toBe(7);
  });

  test(`${backend}: a worker that lost its lock while it was stopped is told to give up`, async () => {
    const place = await server().freshPlace();
    const engine = await open(place);
    const frozen = await openWorkerProcess(place);
    await engine.add('encode', encodeJob(3), { lane: 'bulk' });
    await frozen.line('start 3');
    frozen.signal('SIGSTOP');
    const taken = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const handler = async () => {
      taken.resolve();
      await release.promise;
    };
    await engine.work('encode', handler, { concurrency: 1 });
    await taken.promise;
    frozen.signal('SIGCONT');
    await frozen.line('aborted 3');
    release.resolve();
    await until(async () => (await engine.stats('encode')).active === 0);
    expect(await engine.stats('encode')).toMatchObject({ waiting: 0, delayed: 0, failed: 0 });
  });

  test(`${backend}: while the server is away adding fails by code, and afterwards everything goes on`, async () => {
    const { freshPlace, stop, start } = server();
    if (!stop || !start) return;
    const engine = await open(await freshPlace());
    const seen: number[] = [];
    await engine.work('encode', async ({ chunkNo }) => void seen.push(chunkNo), { concurrency: 1 });
    await engine.work('encode-query', async () => 'vector', { concurrency: 1 });
    await engine.add('encode', encodeJob(1), { lane: 'bulk' });
    await engine.request('encode-query', queryJob(), { lane: 'interactive', timeoutMs: 5_000 });
    await until(() => seen.length === 1);
    await stop();
    try {
      const startedAt = performance.now();
      await expect(engine.add('encode', encodeJob(2), { lane: 'bulk' })).rejects.toMatchObject({ code: 'queue_unavailable' });
      await expect(engine.ping()).rejects.toMatchObject({ code: 'queue_unavailable' });
      expect(performance.now() - startedAt).toBeLessThan(10_000);
    } finally {
      await start();
    }
    await until(() =>
      engine.add('encode', encodeJob(3), { lane: 'bulk' }).then(
        () => true,
        () => false,
      ),
    );
    await until(() => seen.includes(3));
    await expect(engine.request('encode-query', queryJob(), { lane: 'interactive', timeoutMs: 10_000 })).resolves.toBe('vector');
  }, 60_000);

  test(`${backend}: a worker that takes nothing although jobs wait is not ready`, async () => {
    const { freshPlace, pause } = server();
    const place = await freshPlace();
    const engine = await openQueueEngine(place, { logger: pino({ level: 'silent' }), lockMs: LOCK_MS, stuckAfterMs: 200 });
    opened.push(() => engine.close());
    await engine.work('encode', async () => undefined, { concurrency: 1 });
    await engine.ping();
    await pause(place, 'encode');
    await engine.add('encode', encodeJob(1), { lane: 'bulk' });
    await until(() =>
      engine.ping().then(
        () => false,
        () => true,
      ),
    );
    await expect(engine.ping()).rejects.toMatchObject({ code: 'queue_unavailable' });
  });

  test(`${backend}: depth and age are told, a delayed job waits`, async () => {
    const engine = await open(await server().freshPlace());
    await engine.add('encode', encodeJob(1), { lane: 'bulk' });
    await sleep(50);
    await engine.add('encode', encodeJob(2), { lane: 'interactive' });
    await engine.add('encode', encodeJob(3), { lane: 'bulk', delayMs: 60_000 });
    const stats = await engine.stats('encode');
    expect(stats).toMatchObject({ waiting: 2, active: 0, delayed: 1, failed: 0 });
    expect(stats.oldestWaitingSeconds).toBeGreaterThanOrEqual(0.05);
  });

  test(`${backend}: each lane's depth and age are told, over all its places`, async () => {
    const engine = await open(await server().freshPlace());
    await engine.add('encode', encodeJob(0), { lane: 'bulk', place: 40 });
    await sleep(100);
    for (let no = 1; no < 40; no += 1) await engine.add('encode', encodeJob(no), { lane: 'bulk', place: no });
    await engine.add('encode', encodeJob(50), { lane: 'event' });
    const { lanes, waiting, oldestWaitingSeconds } = await engine.stats('encode');
    expect(waiting).toBe(41);
    expect([lanes.interactive.waiting, lanes.event.waiting, lanes.bulk.waiting]).toEqual([0, 1, 40]);
    expect(lanes.interactive.oldestWaitingSeconds).toBe(0);
    expect(lanes.bulk.oldestWaitingSeconds).toBeGreaterThanOrEqual(0.1);
    expect(lanes.event.oldestWaitingSeconds).toBeLessThan(lanes.bulk.oldestWaitingSeconds);
    expect(oldestWaitingSeconds).toBe(lanes.bulk.oldestWaitingSeconds);
  });

  test(`${backend}: a payload of another shape is refused where it is added`, async () => {
    const engine = await open(await server().freshPlace());
    await expect(engine.add('encode', { ...encodeJob(1), chunkNo: -1 }, { lane: 'bulk' })).rejects.toThrow();
    expect((await engine.stats('encode')).waiting).toBe(0);
  });

  test(`${backend}: after closing, adding fails by code`, async () => {
    const engine = await open(await server().freshPlace());
    await engine.close();
    await expect(engine.add('encode', encodeJob(1), { lane: 'bulk' })).rejects.toMatchObject({ code: 'queue_unavailable' });
  });
}

class WorkerProcess {
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];

  constructor(place: QueuePlace) {
    this.#child = spawn(
      process.execPath,
      [fileURLToPath(new URL('queue-worker-process.ts', import.meta.url)), JSON.stringify(place), String(LOCK_MS)],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    if (this.#child.stdout) createInterface({ input: this.#child.stdout }).on('line', (line) => void this.#lines.push(line));
  }

  async line(wanted: string): Promise<void> {
    await until(() => this.#lines.includes(wanted));
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await exited;
  }
}

/** Waits for what another process or connection does; the test's own time-out ends it. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const endsAt = performance.now() + 25_000;
  while (!(await condition())) {
    if (performance.now() > endsAt) throw new Error('what was waited for did not happen');
    await sleep(20);
  }
}
