/* oxlint-disable unicorn/require-post-message-target-origin -- threads have no origins */
import { Worker } from 'node:worker_threads';
import { SightlineError, type ErrorCode } from '../runtime/errors.ts';
import type { ThreadReply } from './sqlite-thread-worker.ts';

/** Synchronous methods over one database connection. Arguments and results cross threads: structured-clone values only. */
export type StoreMethods<M> = { [K in keyof M]: (...args: never[]) => unknown };

/** What a store module exports, so that a thread can load it by URL. */
export interface StoreModule<Options, Methods> {
  open(options: Options): { methods: Methods; close: () => void };
}

/** A store that lives in a thread of its own. Calls are answered in the order they were made, each as one unit. */
export interface SqliteThread<M extends StoreMethods<M>> {
  call<K extends keyof M & string>(method: K, ...args: Parameters<M[K]>): Promise<Awaited<ReturnType<M[K]>>>;
  /** Waits for the calls already made, closes the connection, ends the thread. Later calls throw `unavailable`. */
  close(): Promise<void>;
}

/**
 * Runs a store module in a worker thread, because node:sqlite's calls are synchronous and would block the event loop.
 *
 * `moduleUrl` names a module that implements StoreModule<Options, M>; `unavailable` is the code for what may pass (busy, full
 * disk, a dead thread). Errors thrown by the store arrive with their code; SQLite's own are mapped by sqlite-database.ts.
 */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- callers name the store's options, so that they are checked
export async function openSqliteThread<M extends StoreMethods<M>, Options>(
  moduleUrl: URL,
  options: Options,
  unavailable: ErrorCode,
): Promise<SqliteThread<M>> {
  const worker = new Worker(new URL('./sqlite-thread-worker.ts', import.meta.url), {
    workerData: { moduleUrl: moduleUrl.href, options, unavailable },
    // node:sqlite still announces itself as experimental once per thread.
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  const pending = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  let nextId = 0;
  let ended: SightlineError | null = null;

  const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  const end = (error: SightlineError): void => {
    ended ??= error;
    for (const { reject } of pending.values()) reject(ended);
    pending.clear();
  };
  worker.on('error', (error) => end(new SightlineError(unavailable, 'Its thread failed.', { cause: error })));
  worker.on('exit', () => end(new SightlineError(unavailable, 'Its thread has ended.')));
  worker.on('message', (reply: ThreadReply) => {
    const call = pending.get(reply.id);
    pending.delete(reply.id);
    if (!call) return;
    if (reply.error) call.reject(new SightlineError(reply.error.code, reply.error.detail, { cause: reply.error.cause }));
    // The store's own method made the value; its type is that method's.
    else call.resolve(reply.value as never);
  });

  const send = <T>(method: string | null, args: unknown[]): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      if (ended) return reject(ended);
      const id = nextId++;
      pending.set(id, { resolve, reject });
      worker.postMessage({ id, method, args });
    });

  let closing: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    const closed = send<void>(null, []);
    ended = new SightlineError(unavailable, 'It was closed.');
    try {
      await closed;
    } finally {
      await worker.terminate();
      await exited;
    }
  };

  try {
    await send<void>('open', []);
  } catch (error) {
    await worker.terminate();
    throw error;
  }
  return {
    call: (method, ...args) => send(`store.${method}`, args),
    close: () => (closing ??= ended ? exited : close()),
  };
}
