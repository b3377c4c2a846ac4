import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Lane } from '@sightline/shared/contracts/jobs';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { EncoderGoneError } from '../core/batch-scheduler.ts';
import type { BatchInput, FromEncoder, GraphFacts, LoadRequest, ToEncoder } from './encoder-protocol.ts';

export type BatchReply = Extract<FromEncoder, { type: 'done' }>;

interface StartOptions {
  startTimeoutMs: number;
  batchTimeoutMs: number;
  /** Ends the process while it loads, which can take a minute. */
  signal?: AbortSignal;
}

/** One encoder process, from its fork to its end. It is not restarted: a new one is started instead. */
export class EncoderChild {
  readonly #process: ChildProcess;
  readonly #batchTimeoutMs: number;
  readonly #pending = new Map<
    number,
    { resolve: (reply: BatchReply) => void; reject: (error: Error) => void; timer: NodeJS.Timeout }
  >();
  #nextId = 1;
  #ended: string | null = null;
  /** Resolves, with why, when the process is gone. */
  readonly ended: Promise<string>;
  facts: GraphFacts[] = [];

  private constructor(child: ChildProcess, batchTimeoutMs: number) {
    this.#process = child;
    this.#batchTimeoutMs = batchTimeoutMs;
    this.ended = new Promise((resolve) => {
      child.once('error', (error) => this.#end(error.message, resolve));
      child.once('exit', (code, signal) => this.#end(`the encoder process ended (${signal ?? `exit code ${code}`})`, resolve));
    });
    child.on('message', (reply: FromEncoder) => this.#receive(reply));
  }

  /** Errors: `pack_invalid` when ONNX Runtime does not take a graph, `config_invalid` when it lacks a provider, `encoder_unavailable` when the process ends. */
  static async start(load: LoadRequest, { startTimeoutMs, batchTimeoutMs, signal }: StartOptions): Promise<EncoderChild> {
    const process = fork(fileURLToPath(new URL('./encoder-process.ts', import.meta.url)), [], {
      serialization: 'advanced',
      execArgv: ['--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const child = new EncoderChild(process, batchTimeoutMs);
    let timer: NodeJS.Timeout | undefined;
    const abort = () => process.kill('SIGKILL');
    signal?.addEventListener('abort', abort, { once: true });
    try {
      child.facts = await Promise.race([
        new Promise<GraphFacts[]>((resolve, reject) => {
          process.on('message', (reply: FromEncoder) => {
            if (reply.type === 'loaded') resolve(reply.facts);
            if (reply.type === 'load_failed') reject(loadError(reply, load));
          });
          process.send(
            { type: 'load', load } satisfies ToEncoder,
            (error) => error && reject(new SightlineError('encoder_unavailable', error.message)),
          );
        }),
        child.ended.then((why) => Promise.reject(new SightlineError('encoder_unavailable', `While loading, ${why}.`))),
        new Promise<never>((_, reject) => {
          timer = setTimeout(
            () => reject(new SightlineError('encoder_unavailable', `The pack was not loaded within ${startTimeoutMs} ms.`)),
            startTimeoutMs,
          );
        }),
      ]);
      return child;
    } catch (error) {
      await child.close();
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Rejects with EncoderGoneError when the process ends first, with an Error when the batch fails as a whole. */
  run(input: BatchInput, lane: Lane): Promise<BatchReply> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== null) return reject(new EncoderGoneError(this.#ended));
      const id = this.#nextId++;
      // A process that neither answers nor ends holds its batches for ever; ending it is what frees them.
      const timer = setTimeout(() => this.#process.kill('SIGKILL'), this.#batchTimeoutMs);
      this.#pending.set(id, { resolve, reject, timer });
      this.#process.send({ type: 'run', id, lane, input } satisfies ToEncoder, (error) => {
        if (error) this.#settle(id)?.reject(new EncoderGoneError(error.message));
      });
    });
  }

  async close(): Promise<void> {
    if (this.#ended !== null) return;
    if (this.#process.connected) this.#process.disconnect();
    this.#process.kill('SIGKILL');
    await this.ended;
  }

  #receive(reply: FromEncoder): void {
    if (reply.type === 'done') this.#settle(reply.id)?.resolve(reply);
    else if (reply.type === 'failed') this.#settle(reply.id)?.reject(new Error(reply.message));
  }

  #settle(id: number) {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    clearTimeout(pending?.timer);
    return pending;
  }

  #end(why: string, resolve: (why: string) => void): void {
    if (this.#ended !== null) return;
    this.#ended = why;
    for (const id of this.#pending.keys()) this.#settle(id)?.reject(new EncoderGoneError(why));
    resolve(why);
  }
}

function loadError({ message, isProvider }: Extract<FromEncoder, { type: 'load_failed' }>, load: LoadRequest): SightlineError {
  if (!isProvider) return new SightlineError('pack_invalid', message);
  return new SightlineError(
    'config_invalid',
    `EXECUTION_PROVIDERS=${load.executionProviders.join(',')}: this installation of onnxruntime-node cannot use them all (CUDA needs Linux x64, an NVIDIA driver and the CUDA libraries of its install script). ${message}`,
  );
}
