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

/** A pack that computes in a thread of its own: one request at a time, in the order of asking. */
export class ModelEngine {
  readonly tokensPerImage: number;
  readonly #thread: Worker;
  readonly #turns = new Slots(() => 1);
  readonly #listeners = new Map<number, Listener>();
  #asked = 0;
  #gone: Error | null = null;

  private constructor(thread: Worker, tokensPerImage: number) {
    this.#thread = thread;
    this.tokensPerImage = tokensPerImage;
    thread.on('message', (message: FromEngine) => this.#hear(message));
    thread.once('error', (error) => this.#lose(error));
    thread.once('exit', () => this.#lose(new Error('The computing thread ended.')));
  }

  /** Error: `pack_invalid`. */
  static async open(pack: ModelPack, { threads = ownedCores() }: { threads?: number } = {}): Promise<ModelEngine> {
    const workerData: EngineOrder = { pack, threads };
    const thread = new Worker(new URL('./engine-thread.ts', import.meta.url), { workerData });
    const [message] = (await once(thread, 'message')) as [FromEngine];
    if (message.type === 'loaded') return new ModelEngine(thread, message.tokensPerImage);
    await thread.terminate();
    const isOfPack = message.type === 'load_failed' && message.code === 'pack_invalid';
    throw new SightlineError(isOfPack ? 'pack_invalid' : 'internal', message.type === 'load_failed' ? message.detail : undefined);
  }

  /**
   * Answers when its turn has come. An aborted signal ends the computing before its next run of a graph: what waits rejects with the
   * signal's reason, what computes resolves as `cancelled`. Errors: `ChatRefused`; any other when the thread is gone.
   */
  async answer(asked: Asked, { signal, onToken }: { signal: AbortSignal; onToken: (token: SaidToken) => void }): Promise<Ended> {
    const giveBack = await this.#turns.take(signal);
    const isCancelled = new Int32Array(new SharedArrayBuffer(4));
    const cancel = () => void Atomics.store(isCancelled, 0, 1);
    signal.addEventListener('abort', cancel);
    const id = this.#asked++;
    try {
      return await new Promise<Ended>((resolve, reject) => {
        if (this.#gone) return reject(this.#gone);
        this.#listeners.set(id, { onToken, resolve, reject });
        this.#thread.postMessage({ id, asked, isCancelled } satisfies ToEngine);
      });
    } finally {
      this.#listeners.delete(id);
      signal.removeEventListener('abort', cancel);
      giveBack();
    }
  }

  /** Resolves when the thread is gone by itself, never when it was closed. */
  async lost(): Promise<Error> {
    const [error] = (await once(this.#thread, 'error')) as [Error];
    return error;
  }

  async close(): Promise<void> {
    await this.#thread.terminate();
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
    for (const { reject } of this.#listeners.values()) reject(this.#gone);
  }
}
