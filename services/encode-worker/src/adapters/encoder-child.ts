import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Lane } from '@sightline/shared/contracts/jobs';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { EncoderGoneError, OutOfMemoryError } from '../core/encoder-faults.ts';
import type { BatchInput, FromEncoder, GraphFacts, LoadRequest, ToEncoder } from './encoder-protocol.ts';

export type BatchReply = Extract<FromEncoder, { type: 'done' }>;

export interface StartOptions {
  startTimeoutMs: number;
  /** A process that neither begins nor ends a batch for so long is ended. */
  batchTimeoutMs: number;
  /** What is run as the encoder process. Tests have one that fails on command. */
  program?: EncoderProgram | undefined;
  /** Ends the process while it loads, which can take a minute. */
  signal?: AbortSignal;
}

export interface EncoderProgram {
  file: string;
  args: string[];
}

const PROGRAM: EncoderProgram = { file: fileURLToPath(new URL('./encoder-process.ts', import.meta.url)), args: [] };

/** One encoder process, from its fork to its end. It is not restarted: a new one is started instead. */
export class EncoderChild {
  readonly #process: ChildProcess;
  readonly #batchTimeoutMs: number;
  readonly #pending = new Map<number, { resolve: (reply: BatchReply) => void; reject: (error: Error) => void }>();
  #nextId = 1;
  /** The batch that the process has begun with. */
  #computing: number | null = null;
  #watchdog: NodeJS.Timeout | undefined;
  #killedBecause: string | null = null;
  #ended: string | null = null;
  /** Resolves, with why, when the process is gone. */
  readonly ended: Promise<string>;
  facts: GraphFacts[] = [];
  /** What it computes on. */
  providers: string[] = [];
  /** Why not on the first provider that the configuration names, in the runtime's words. */
  passedOver: string | null = null;

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
  static async start(load: LoadRequest, options: StartOptions): Promise<EncoderChild> {
    const { startTimeoutMs, batchTimeoutMs, signal, program = PROGRAM } = options;
    const process = fork(program.file, program.args, {
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
            if (reply.type === 'loaded') {
              [child.providers, child.passedOver] = [reply.providers, reply.passedOver];
              resolve(reply.facts);
            }
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

  /**
   * Rejects with EncoderGoneError when the process ends first, with OutOfMemoryError when it had no memory for the batch, with
   * an Error when the batch fails as a whole otherwise.
   */
  run(input: BatchInput, lane: Lane): Promise<BatchReply> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== null) return reject(new EncoderGoneError(this.#ended, false));
      const id = this.#nextId++;
      this.#pending.set(id, { resolve, reject });
      if (this.#pending.size === 1) this.#watch();
      // The channel closes before the process is known to have ended: its end settles what is pending, never this, or what is sent
      // again at once would be refused again at once, for ever.
      this.#process.send({ type: 'run', id, lane, input } satisfies ToEncoder, (error) => {
        if (error) this.#process.kill('SIGKILL');
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
    if (reply.type === 'begun') this.#computing = reply.id;
    else if (reply.type === 'done') this.#settle(reply.id)?.resolve(reply);
    else if (reply.type === 'failed')
      this.#settle(reply.id)?.reject(reply.isOutOfMemory ? new OutOfMemoryError(reply.message) : new Error(reply.message));
    else return;
    this.#watch();
  }

  /** A process that neither answers nor ends holds its batches for ever; ending it is what frees them. */
  #watch(): void {
    clearTimeout(this.#watchdog);
    if (this.#pending.size === 0 || this.#ended !== null) return;
    this.#watchdog = setTimeout(() => {
      this.#killedBecause = `the encoder process did not answer within ${this.#batchTimeoutMs} ms and was ended`;
      this.#process.kill('SIGKILL');
    }, this.#batchTimeoutMs);
  }

  #settle(id: number) {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (this.#computing === id) this.#computing = null;
    return pending;
  }

  #end(ended: string, resolve: (why: string) => void): void {
    if (this.#ended !== null) return;
    const why = this.#killedBecause ?? ended;
    this.#ended = why;
    clearTimeout(this.#watchdog);
    const computing = this.#computing;
    // Not even begun: then each of them may be what the process stumbled over while reading it.
    for (const id of this.#pending.keys())
      this.#settle(id)?.reject(new EncoderGoneError(why, computing === null || computing === id));
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
