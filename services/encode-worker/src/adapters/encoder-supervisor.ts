import type { Logger } from 'pino';
import type { Lane } from '@sightline/shared/contracts/jobs';
import { SightlineError, toSightlineError } from '@sightline/shared/runtime/errors';
import { EncoderChild, type BatchReply, type EncoderProgram } from './encoder-child.ts';
import type { BatchInput, GraphFacts, LoadRequest } from './encoder-protocol.ts';

interface SupervisorDeps {
  load: LoadRequest;
  startTimeoutMs: number;
  batchTimeoutMs: number;
  /** A process that has grown by this much, what new shapes of batches took not counted, is replaced between two batches. */
  recycleGrowthBytes: number;
  program?: EncoderProgram | undefined;
  /** Holds a process that has just loaded against its golden vectors; what it throws keeps the process from serving. */
  prove(facts: GraphFacts[]): Promise<void>;
  /** A proven process serves from now on. */
  onServing(): void;
  /** No process serves until `onServing`. */
  onDown(): void;
  /** Starting has failed several times; it goes on, but nobody should wait for it. */
  onGivenUp(error: SightlineError): void;
  /** Resolves when no batch is under way. */
  drained(): Promise<void>;
  logger: Logger;
  sleep: (ms: number) => Promise<void>;
}

const BACKOFF_MS = { first: 200, most: 10_000 };
const STARTS_BEFORE_GIVING_UP = 3;

/** Keeps one proven encoder process alive: starts another when it ends or has grown, with back-off, until closed. */
export class EncoderSupervisor {
  readonly #deps: SupervisorDeps;
  readonly #closing = new AbortController();
  #child: EncoderChild | null = null;
  #restarting: Promise<void> = Promise.resolve();
  #isServing = false;
  #isRecycling = false;
  #growth = new ProcessGrowth();

  constructor(deps: SupervisorDeps) {
    this.#deps = deps;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Errors: those of loading and of `prove`. */
  async start(): Promise<void> {
    const { load, startTimeoutMs, batchTimeoutMs, program } = this.#deps;
    const child = await EncoderChild.start(load, { startTimeoutMs, batchTimeoutMs, program, signal: this.#closing.signal });
    this.#child = child;
    this.#growth = new ProcessGrowth();
    if (child.passedOver) {
      const { providers, passedOver } = child;
      this.#deps.logger.warn({ wanted: load.executionProviders, providers, why: passedOver }, 'computing on another provider');
    }
    await this.#deps.prove(child.facts);
    void child.ended.then((why) => (this.#restarting = this.#restart(child, why)));
    this.#isServing = true;
    this.#deps.onServing();
  }

  /** Rejects as `EncoderChild.run` does. */
  async run(input: BatchInput, lane: Lane): Promise<BatchReply> {
    const child = this.#child;
    if (!child) throw new SightlineError('encoder_unavailable');
    const reply = await child.run(input, lane);
    if (child === this.#child) this.#recycleWhenGrown(input, reply.residentBytes);
    return reply;
  }

  /** Replaces the process once nothing is under way. Nothing is lost: batches wait meanwhile. */
  renew(why: string): void {
    const child = this.#child;
    if (this.#isRecycling || !this.#isServing || !child) return;
    this.#isRecycling = true;
    this.#deps.logger.info({ why, pid: child.pid }, 'the encoder process is replaced');
    this.#deps.onDown();
    void this.#deps.drained().then(() => child.close());
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#child?.close();
    await this.#restarting;
  }

  /** Native memory creeps and is never given back; a new process is the only cure. */
  #recycleWhenGrown(input: BatchInput, residentBytes: number): void {
    const grownBytes = this.#growth.after(input, residentBytes);
    if (this.#isServing && grownBytes >= this.#deps.recycleGrowthBytes)
      this.renew(`it has grown by ${grownBytes} bytes to ${residentBytes}`);
  }

  async #restart(child: EncoderChild, why: string): Promise<void> {
    if (this.#closing.signal.aborted || this.#child !== child) return;
    const { logger } = this.#deps;
    if (!this.#isRecycling) logger.error({ why, pid: child.pid }, 'the encoder process ended and is started again');
    this.#isRecycling = false;
    this.#isServing = false;
    this.#deps.onDown();
    for (let attempt = 1; !this.#closing.signal.aborted; attempt++) {
      try {
        await this.start();
        if (this.#closing.signal.aborted) await this.#child.close();
        return;
      } catch (error) {
        logger.error({ err: error, attempt }, 'the encoder process could not be started');
        await this.#child.close();
        if (attempt >= STARTS_BEFORE_GIVING_UP) {
          this.#deps.onGivenUp(new SightlineError('encoder_unavailable', toSightlineError(error).message, { cause: error }));
        }
        await this.#pause(Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** attempt));
      }
    }
  }

  async #pause(ms: number): Promise<void> {
    const { signal } = this.#closing;
    const closed = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    await Promise.race([closed, this.#deps.sleep(ms)]);
  }
}

/**
 * Growth that no new shape explains. The runtime allocates for each shape of batch when it first sees it, and keeps that: an
 * encoder that has just climbed its ladder is large, not leaking.
 */
class ProcessGrowth {
  readonly #seen = new Set<string>();
  #expectedBytes = 0;
  #lastBytes = 0;

  after(input: BatchInput, residentBytes: number): number {
    const size = input.kind === 'pixels' ? `${input.widthPx}x${input.heightPx}` : input.length;
    const shape = `${input.graph} ${size} ${input.rung}`;
    if (this.#seen.size === 0) this.#expectedBytes = residentBytes;
    else if (!this.#seen.has(shape)) this.#expectedBytes += Math.max(0, residentBytes - this.#lastBytes);
    this.#seen.add(shape);
    this.#lastBytes = residentBytes;
    return residentBytes - this.#expectedBytes;
  }
}
