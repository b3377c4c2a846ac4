import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { ownedCores } from '@sightline/shared/runtime/owned-cores';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { Slots } from '../core/slots.ts';
import { ChatRefused } from './chat-request.ts';
import type { EngineOrder, FromEngine, ToEngine } from './engine-protocol.ts';
import type { Asked, Ended, SaidToken } from './llava.ts';
import type { ModelPack } from './model-pack.ts';

interface Listener {
  onToken: (token: SaidToken) => void;
  resolve: (ended: Ended) => void;
  reject: (error: Error) => void;
}

/** One run of a graph on a slow machine is over by then, as an answer that was cancelled is. */
const CANCEL_PATIENCE_MS = 60_000;

/** A pack that computes in a thread of its own: one request at a time, in the order of asking. */
export class ModelEngine {
  readonly tokensPerImage: number;
  readonly #thread: Worker;
  readonly #turns = new Slots(() => 1);
  readonly #listeners = new Map<number, Listener>();
  readonly #cancelPatienceMs: number;
  readonly #lost = Promise.withResolvers<Error>();
  #asked = 0;
  #gone: Error | null = null;
  #isClosed = false;

  private constructor(
    thread: Worker,
    { tokensPerImage, cancelPatienceMs }: { tokensPerImage: number; cancelPatienceMs: number },
  ) {
    this.#thread = thread;
    this.tokensPerImage = tokensPerImage;
    this.#cancelPatienceMs = cancelPatienceMs;
    thread.on('message', (message: FromEngine) => this.#hear(message));
    thread.once('error', (error) => this.#lose(error));
    thread.once('exit', () => this.#lose(new Error('The computing thread ended.')));
  }

  /** `cancelPatienceMs`: how long a cancelled answer may go on before its thread is ended. Error: `pack_invalid`. */
  static async open(
    pack: ModelPack,
    { threads = ownedCores(), cancelPatienceMs = CANCEL_PATIENCE_MS }: { threads?: number; cancelPatienceMs?: number } = {},
  ): Promise<ModelEngine> {
    const workerData: EngineOrder = { pack, threads };
    const thread = new Worker(new URL('./engine-thread.ts', import.meta.url), { workerData });
    const [message] = (await once(thread, 'message')) as [FromEngine];
    if (message.type === 'loaded') return new ModelEngine(thread, { tokensPerImage: message.tokensPerImage, cancelPatienceMs });
    await thread.terminate();
    const isOfPack = message.type === 'load_failed' && message.code === 'pack_invalid';
    throw new SightlineError(isOfPack ? 'pack_invalid' : 'internal', message.type === 'load_failed' ? message.detail : undefined);
  }

  /**
   * Answers when its turn has come. An aborted signal ends the computing before its next run of a graph: what waits rejects with the
   * signal's reason, what computes resolves as `cancelled`; one that goes on for too long all the same costs the thread. Errors: `ChatRefused`;
   * any other when the thread is gone.
   */
  async answer(asked: Asked, { signal, onToken }: { signal: AbortSignal; onToken: (token: SaidToken) => void }): Promise<Ended> {
    const giveBack = await this.#turns.take(signal);
    const isCancelled = new Int32Array(new SharedArrayBuffer(4));
    let patience: NodeJS.Timeout | undefined;
    const cancel = () => {
      Atomics.store(isCancelled, 0, 1);
      // Not every loop looks at that word: a pack's template is a program too.
      patience = setTimeout(() => this.#end(new Error('A cancelled answer did not end.')), this.#cancelPatienceMs);
    };
    signal.addEventListener('abort', cancel);
    const id = this.#asked++;
    try {
      return await new Promise<Ended>((resolve, reject) => {
        if (this.#gone) return reject(this.#gone);
        this.#listeners.set(id, { onToken, resolve, reject });
        this.#thread.postMessage({ id, asked, isCancelled } satisfies ToEngine);
      });
    } finally {
      clearTimeout(patience);
      this.#listeners.delete(id);
      signal.removeEventListener('abort', cancel);
      giveBack();
    }
  }

  /** Resolves when the thread is gone by itself, never when it was closed. */
  async lost(): Promise<Error> {
    return this.#lost.promise;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#thread.terminate();
  }

  #end(error: Error): void {
    this.#lose(error);
    void this.#thread.terminate();
  }

  #hear(message: FromEngine): void {
    if (message.type === 'loaded' || message.type === 'load_failed') return;
    const listener = this.#listeners.get(message.id);
    if (message.type === 'token') listener?.onToken(message.token);
    else if (message.type === 'ended') listener?.resolve(message.ended);
    else if (message.status === null) listener?.reject(new Error(message.message));
    else listener?.reject(new ChatRefused(message.code, message.message, message.status));
  }

  #lose(error: Error): void {
    this.#gone ??= error;
    if (!this.#isClosed) this.#lost.resolve(this.#gone);
    for (const { reject } of this.#listeners.values()) reject(this.#gone);
  }
}
