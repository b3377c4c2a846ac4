/* oxlint-disable unicorn/require-post-message-target-origin -- threads have no origins */
import { parentPort, workerData } from 'node:worker_threads';
import type { ErrorCode } from '../runtime/errors.ts';
import { toStoreError } from './sqlite-database.ts';
import type { StoreModule } from './sqlite-thread.ts';

/** Answer to one call. */
export interface ThreadReply {
  id: number;
  value?: unknown;
  error?: { code: ErrorCode; detail: string | undefined; cause: unknown };
}

/** The thread's side of sqlite-thread.ts: loads the store module and answers calls in turn. Never imported, only run. */
type Method = (...args: unknown[]) => unknown;
type AnyStore = ReturnType<StoreModule<unknown, Record<string, Method>>['open']>;

const { moduleUrl, options, unavailable } = workerData as { moduleUrl: string; options: unknown; unavailable: ErrorCode };
let store: AnyStore | null = null;

async function answer(method: string | null, args: unknown[]): Promise<unknown> {
  if (method === 'open') {
    const module = (await import(moduleUrl)) as StoreModule<unknown, Record<string, Method>>;
    store = module.open(options);
    return undefined;
  }
  if (method === null) {
    store?.close();
    return undefined;
  }
  const found = store?.methods[method.slice('store.'.length)];
  if (!found) throw new Error(`${moduleUrl} has no method ${method}`);
  return found(...args);
}

parentPort?.on('message', ({ id, method, args }: { id: number; method: string | null; args: unknown[] }) => {
  answer(method, args).then(
    (value) => parentPort?.postMessage({ id, value } satisfies ThreadReply),
    (thrown: unknown) => {
      const error = toStoreError(thrown, unavailable);
      parentPort?.postMessage({
        id,
        error: { code: error.code, detail: error.detail, cause: error.cause instanceof Error ? error.cause.message : undefined },
      } satisfies ThreadReply);
    },
  );
});
