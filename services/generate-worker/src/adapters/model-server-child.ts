import { fork, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { z } from 'zod';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { sleep } from '@sightline/shared/runtime/sleep';
import type { ModelProfile } from '../core/generator.ts';

const PROGRAM = fileURLToPath(new URL('../model-server/main.ts', import.meta.url));
/** A pack of a few gigabytes is read, hashed and loaded. */
const START_TIMEOUT_MS = 300_000;
const BACKOFF_MS = { first: 200, most: 10_000 };

/** Where the embedded stack's own model server is: as any other of the OpenAI protocol. */
export interface ModelServerPlace {
  baseUrl: string;
  apiKey: string;
}

/** What is known of a pack's model once it is loaded. */
export type PackProfile = Omit<ModelProfile, 'structured'>;

const started = z.object({
  port: z.int(),
  profile: z.object({
    model: z.string(),
    maxImages: z.int(),
    imageSidePx: z.int(),
    boxFrame: z.enum(['square_pixels', 'picture_pixels', 'unit', 'thousand']),
    contextTokens: z.int(),
    tokensPerImage: z.int(),
    logprobs: z.boolean(),
  }),
});
/** Codes of a pack that no further start makes better. */
const refused = z.object({ code: z.enum(['pack_not_found', 'pack_invalid']), detail: z.string().optional() });

/**
 * The embedded model server, kept running in a process of its own: started again when it ends, at the same address, until closed. Nobody else
 * on the machine knows its key.
 */
export class ModelServerChild {
  readonly #logger: Logger;
  readonly #packDirectory: string;
  readonly #apiKey = randomBytes(32).toString('hex');
  readonly #closing = new AbortController();
  #child: ChildProcess | null = null;
  #port = 0;
  #profile: PackProfile | null = null;
  #restarting: Promise<void> = Promise.resolve();

  private constructor(packDirectory: string, logger: Logger) {
    this.#packDirectory = packDirectory;
    this.#logger = logger;
  }

  /** Errors: `pack_not_found`, `pack_invalid`; `generator_unavailable` when it does not come up. */
  static async open({ packDirectory, logger }: { packDirectory: string; logger: Logger }): Promise<ModelServerChild> {
    const server = new ModelServerChild(packDirectory, logger);
    await server.#start();
    return server;
  }

  get place(): ModelServerPlace {
    return { baseUrl: `http://127.0.0.1:${this.#port}/v1`, apiKey: this.#apiKey };
  }

  get profile(): PackProfile {
    return this.#profile!;
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
    child.send({ port: this.#port, apiKey: this.#apiKey, packDirectory: this.#packDirectory });
    const timer = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT_MS);
    try {
      const message = await new Promise<unknown>((resolve, reject) => {
        child.once('message', resolve);
        child.once('error', reject);
        child.once('exit', (code, signal) =>
          reject(new Error(`The model server ended (${signal ?? `exit code ${code}`}). ${said}`)),
        );
      });
      const no = refused.safeParse(message);
      if (no.success) throw new SightlineError(no.data.code, no.data.detail);
      const { port, profile } = started.parse(message);
      this.#port = port;
      this.#profile = profile;
    } catch (error) {
      if (error instanceof SightlineError) throw error;
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
