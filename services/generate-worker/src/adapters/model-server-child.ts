import { fork, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { Logger } from 'pino';
import { z } from 'zod';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { sleep } from '@sightline/shared/runtime/sleep';
import type { ModelProfile } from '../core/generator.ts';

const PROGRAM = fileURLToPath(new URL('../model-server/main.ts', import.meta.url));
/** A pack of a few gigabytes is read and loaded. */
const START_TIMEOUT_MS = 300_000;
const MOST_SHOWN = 500;
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
const failed = z.object({ code: z.string(), detail: z.string().optional() });
const told = z.union([started, failed]);
/** Codes of a pack that no further start makes better. */
const ofPack = z.enum(['pack_not_found', 'pack_invalid']);

/**
 * The embedded model server, kept running in a process of its own: started again when it ends until closed, at the same address or, where
 * that was taken meanwhile, at another. Nobody else on the machine knows its key.
 */
export class ModelServerChild {
  readonly #logger: Logger;
  readonly #packDirectory: string;
  readonly #apiKey = randomBytes(32).toString('hex');
  readonly #closing = new AbortController();
  #child: ChildProcess | null = null;
  #port = 0;
  #isUp = false;
  #profile: PackProfile | null = null;
  #restarting: Promise<void> = Promise.resolve();

  private constructor(packDirectory: string, logger: Logger) {
    this.#packDirectory = packDirectory;
    this.#logger = logger;
  }

  /** Errors: `pack_not_found`, `pack_invalid`; `generator_unavailable`, with the reason, when it does not come up. */
  static async open({ packDirectory, logger }: { packDirectory: string; logger: Logger }): Promise<ModelServerChild> {
    const server = new ModelServerChild(packDirectory, logger);
    await server.#start();
    return server;
  }

  get place(): ModelServerPlace {
    return { baseUrl: `http://127.0.0.1:${this.#port}/v1`, apiKey: this.#apiKey };
  }

  /**
   * For addresses below any `place.baseUrl` that there was: asks where the server listens now. Rejects while it is started again, since another
   * process may listen there, which is not to see the key.
   */
  readonly fetch: typeof globalThis.fetch = async (input, init) => {
    if (!this.#isUp) throw new Error('The model server is being started again.');
    const isRequest = input instanceof Request;
    const url = new URL(isRequest ? input.url : input);
    url.port = String(this.#port);
    return globalThis.fetch(isRequest ? new Request(url, input) : url, init);
  };

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
      const outcome = told.parse(message);
      if ('code' in outcome) {
        const code = ofPack.safeParse(outcome.code).data ?? 'generator_unavailable';
        throw new SightlineError(code, outcome.detail ?? outcome.code);
      }
      this.#port = outcome.port;
      this.#profile = outcome.profile;
      this.#isUp = true;
    } catch (error) {
      if (error instanceof SightlineError) throw error;
      const why = error instanceof Error ? error.message : String(error);
      throw new SightlineError('generator_unavailable', why.slice(0, MOST_SHOWN), { cause: error });
    } finally {
      clearTimeout(timer);
    }
    child.removeAllListeners('exit');
    child.once('exit', (code, signal) => {
      this.#isUp = false;
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
