import type { Logger } from 'pino';
import type { Lane } from '@sightline/shared/contracts/jobs';
import { SightlineError, toSightlineError } from '@sightline/shared/runtime/errors';
import { EncoderChild, type BatchReply } from './encoder-child.ts';
import type { BatchInput, GraphFacts, LoadRequest } from './encoder-protocol.ts';

interface SupervisorDeps {
  load: LoadRequest;
  startTimeoutMs: number;
  batchTimeoutMs: number;
  /** A process that has grown by this much since it was proven is replaced between two batches. */
  recycleGrowthBytes: number;
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
  #provenBytes = 0;

  constructor(deps: SupervisorDeps) {
    this.#deps = deps;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Errors: those of loading and of `prove`. */
  async start(): Promise<void> {
    const { load, startTimeoutMs, batchTimeoutMs } = this.#deps;
    const child = await EncoderChild.start(load, { startTimeoutMs, batchTimeoutMs, signal: this.#closing.signal });
    this.#child = child;
    await this.#deps.prove(child.facts);
    void child.ended.then((why) => (this.#restarting = this.#restart(child, why)));
    this.#isServing = true;
    this.#deps.onServing();
  }

  /** Rejects with EncoderGoneError when the process ends first, with an Error when the batch fails as a whole. */
  async run(input: BatchInput, lane: Lane): Promise<BatchReply> {
    if (!this.#child) throw new SightlineError('encoder_unavailable');
    const reply = await this.#child.run(input, lane);
    this.#recycleWhenGrown(reply.residentBytes);
    return reply;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#child?.close();
    await this.#restarting;
  }

  /** Native memory creeps and is never given back; a new process is the only cure. Nothing is lost: batches wait meanwhile. */
  #recycleWhenGrown(residentBytes: number): void {
    if (!this.#isServing) {
      this.#provenBytes = residentBytes;
      return;
    }
    if (this.#isRecycling || residentBytes - this.#provenBytes < this.#deps.recycleGrowthBytes) return;
    this.#isRecycling = true;
    this.#deps.logger.info({ residentBytes, provenBytes: this.#provenBytes }, 'the encoder process has grown and is replaced');
    this.#deps.onDown();
    void this.#deps.drained().then(() => this.#child?.close());
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
