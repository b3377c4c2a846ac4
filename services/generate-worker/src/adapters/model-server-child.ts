import { fork, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { sleep } from '@sightline/shared/runtime/sleep';

const PROGRAM = fileURLToPath(new URL('../model-server/main.ts', import.meta.url));
const START_TIMEOUT_MS = 30_000;
const BACKOFF_MS = { first: 200, most: 10_000 };

/** Where the embedded stack's own model server is: as any other of the OpenAI protocol. */
export interface ModelServerPlace {
  baseUrl: string;
  apiKey: string;
}

/**
 * The embedded model server, kept running in a process of its own: started again when it ends, at the same address, until closed. Nobody else
 * on the machine knows its key.
 */
export class ModelServerChild {
  readonly #logger: Logger;
  readonly #apiKey = randomBytes(32).toString('hex');
  readonly #closing = new AbortController();
  #child: ChildProcess | null = null;
  #port = 0;
  #restarting: Promise<void> = Promise.resolve();

  private constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Error: `generator_unavailable` when it does not come up. */
  static async open({ logger }: { logger: Logger }): Promise<ModelServerChild> {
    const server = new ModelServerChild(logger);
    await server.#start();
    return server;
  }

  get place(): ModelServerPlace {
    return { baseUrl: `http://127.0.0.1:${this.#port}/v1`, apiKey: this.#apiKey };
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#child?.kill('SIGKILL');
    await this.#restarting;
  }

  async #start(): Promise<void> {
    const child = fork(PROGRAM, [], { env: {}, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.#child = child;
    let said = '';
    // One that cannot be started tells two errors, the second of the message that found nobody: unheard it would end this process.
    child.on('error', () => undefined);
    child.stderr?.on('data', (chunk: Buffer) => (said = `${said}${chunk.toString()}`.slice(-2_000)));
    child.send({ port: this.#port, apiKey: this.#apiKey });
    const timer = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT_MS);
    try {
      this.#port = await new Promise<number>((resolve, reject) => {
        child.once('message', (message: { port: number }) => resolve(message.port));
        child.once('error', reject);
        child.once('exit', (code, signal) =>
          reject(new Error(`The model server ended (${signal ?? `exit code ${code}`}). ${said}`)),
        );
      });
    } catch (error) {
      throw new SightlineError('generator_unavailable', undefined, { cause: error });
    } finally {
      clearTimeout(timer);
    }
    child.removeAllListeners('exit');
    child.once('exit', (code, signal) => {
      if (this.#closing.signal.aborted) return;
      this.#logger.error({ code, signal, said }, 'the model server ended and is started again');
      this.#restarting = this.#restart();
    });
  }

  async #restart(): Promise<void> {
    const { signal } = this.#closing;
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        await this.#start();
        if (signal.aborted) this.#child?.kill('SIGKILL');
        return;
      } catch (error) {
        this.#logger.error({ err: error, attempt }, 'the model server could not be started');
        await sleep(Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** attempt), signal).catch(() => {});
      }
    }
  }
}
