import { setTimeout as sleep } from 'node:timers/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import { changesView, type ChangesView } from '@sightline/shared/contracts/changes-http';
import {
  failurePage,
  ingestionAccepted,
  ingestionView,
  type FailurePage,
  type IngestionView,
} from '@sightline/shared/contracts/http';
import type { Source } from '@sightline/shared/contracts/records';
import { ERRORS } from '@sightline/shared/runtime/errors';
import { kafkaMissing, type KafkaServer } from '@sightline/shared/testing/kafka-server';
import { qdrantMissing, type QdrantServer } from '@sightline/shared/testing/qdrant-server';
import { redisMissing, type RedisServer } from '@sightline/shared/testing/redis-server';
import { s3Missing, type S3Server } from '@sightline/shared/testing/s3-server';
import { ApiClient, ApiError } from '../../scripts/api-client.ts';
import { ServiceProcess } from '../../scripts/service-process.ts';
import { runAudit, type AuditOutput } from './audit-command.ts';
import { SEED } from '@sightline/shared/testing/seeded';
import { StackBucket } from './stack-bucket.ts';
import {
  closeAll,
  openStackParts,
  type ProcessSlot,
  type ProductionStackOptions,
  type StackParts,
  type StackProxies,
} from './stack-parts.ts';

/** Why there cannot be a stack here; null when there can. Without a Qdrant the index is the SQLite file that all services share. */
export const stackMissing: string | null = redisMissing ?? s3Missing;
export { kafkaMissing, qdrantMissing };

const START_TIMEOUT_MS = 120_000;
const POLL_MS = 50;
const FINAL: ReadonlySet<string> = new Set(['completed', 'failed', 'cancelled']);

/** The four services as processes of their own against real engines, for tests that do harm to either. */
export class ProductionStack {
  readonly url: string;
  readonly client: ApiClient;
  readonly dataDir: string;
  readonly redis: RedisServer;
  readonly s3: S3Server;
  readonly qdrant: QdrantServer | null;
  readonly kafka: KafkaServer | null;
  readonly topicPrefix: string;
  readonly queuePrefix: string;
  readonly notificationsTopic: string;
  readonly #proxies: StackProxies | null;
  readonly #slots: Map<string, ProcessSlot>;
  readonly #engineEnv: Record<string, string>;
  readonly #s3Client: S3Client;
  readonly #closers: (() => unknown)[];
  readonly #buckets: string[];

  private constructor(parts: StackParts) {
    this.url = `http://127.0.0.1:${parts.port}`;
    this.client = new ApiClient(this.url);
    this.dataDir = parts.dataDir;
    this.redis = parts.redis;
    this.s3 = parts.s3;
    this.qdrant = parts.qdrant;
    this.kafka = parts.kafka;
    this.topicPrefix = parts.topicPrefix;
    this.queuePrefix = parts.queuePrefix;
    this.notificationsTopic = parts.notificationsTopic;
    this.#proxies = parts.proxies;
    this.#slots = parts.slots;
    this.#engineEnv = parts.engineEnv;
    this.#s3Client = parts.s3Client;
    this.#closers = parts.closers;
    this.#buckets = parts.buckets;
  }

  /** All services ready. What it opened is closed again when it fails. */
  static async open(options: ProductionStackOptions = {}): Promise<ProductionStack> {
    const closers: (() => unknown)[] = [];
    try {
      const stack = new ProductionStack(await openStackParts(options, closers));
      await Promise.all([...stack.#slots.keys()].map((name) => stack.start(name)));
      return stack;
    } catch (error) {
      await closeAll(closers);
      throw error;
    }
  }

  get processNames(): string[] {
    return [...this.#slots.keys()];
  }

  /** The proxies that the stack was opened with. */
  get proxies(): StackProxies {
    if (!this.#proxies) throw new Error('the stack was opened without proxies');
    return this.#proxies;
  }

  /** The process that runs under this name now. */
  process(name: string): ServiceProcess {
    const { process } = this.#slot(name);
    if (!process) throw new Error(`${name} does not run`);
    return process;
  }

  /** Starts a process that ended, on its old ports, and waits until it is ready. */
  async start(name: string): Promise<void> {
    await this.#ready(name, this.launch(name));
  }

  /** As `start`, without waiting. */
  launch(name: string): ServiceProcess {
    const slot = this.#slot(name);
    if (slot.process && slot.process.ended === null) throw new Error(`${name} runs already`);
    return (slot.process = new ServiceProcess(slot.plan, { env: slot.env, healthPort: slot.healthPort }));
  }

  /** SIGKILL. */
  kill(name: string): Promise<void> {
    return this.process(name).kill();
  }

  /** SIGTERM; answers its exit code. */
  stop(name: string): Promise<number | string | null> {
    return this.process(name).stop();
  }

  /** Starts again what has ended, and waits until all are ready. */
  async startAll(): Promise<void> {
    for (const [name, { process }] of this.#slots) if (!process || process.ended !== null) this.launch(name);
    await Promise.all(this.processNames.map((name) => this.#ready(name, this.process(name))));
  }

  /** A bucket that nothing else has, with pictures that no other bucket of this stack has. */
  newBucket(): StackBucket {
    const name = this.#buckets.shift();
    if (name === undefined) throw new Error('a stack has no more buckets');
    return new StackBucket(this.#s3Client, name, SEED * 1_000 + this.#buckets.length);
  }

  /** Starts an ingestion and answers its id; asks again while nobody answers or what answers says that it may pass. */
  async ingest(source: Source): Promise<string> {
    const { ingestion_id } = await this.#insist(() => this.client.post('/v1/ingestions', { source }, ingestionAccepted));
    return ingestion_id;
  }

  progress(ingestionId: string): Promise<IngestionView> {
    return this.#insist(() => this.client.get(`/v1/ingestions/${ingestionId}`, ingestionView));
  }

  /** Waits until so many objects are done, or the ingestion has ended. */
  async waitForDone(ingestionId: string, objects: number, timeoutMs = 400_000): Promise<IngestionView> {
    return this.waitFor(ingestionId, (view) => doneOf(view) >= objects || FINAL.has(view.status), timeoutMs);
  }

  /** Waits for the end, whatever it is. */
  waitForEnd(ingestionId: string, timeoutMs = 400_000): Promise<IngestionView> {
    return this.waitFor(ingestionId, ({ status }) => FINAL.has(status), timeoutMs);
  }

  async waitFor(ingestionId: string, condition: (view: IngestionView) => boolean, timeoutMs = 400_000): Promise<IngestionView> {
    for (const endsAt = performance.now() + timeoutMs; ; await sleep(POLL_MS)) {
      const view = await this.progress(ingestionId);
      if (condition(view)) return view;
      if (performance.now() > endsAt) throw new Error(`not in time: ${JSON.stringify(view)}\n${this.outputs()}`);
    }
  }

  /** What is owed of changes that were told of. */
  changes(): Promise<ChangesView> {
    return this.#insist(() => this.client.get('/v1/changes', changesView));
  }

  /** All failures of an ingestion. */
  async failures(ingestionId: string): Promise<FailurePage['failures']> {
    const failures: FailurePage['failures'] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const from: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`;
      const page: FailurePage = await this.#insist(() =>
        this.client.get(`/v1/ingestions/${ingestionId}/failures?limit=1000${from}`, failurePage),
      );
      failures.push(...page.failures);
      cursor = page.next_cursor;
    }
    return failures;
  }

  /** The real `npm run audit` against the engines themselves. */
  audit(flags: string[] = []): Promise<AuditOutput> {
    return runAudit({ ...this.#engineEnv, DATA_DIR: this.dataDir }, flags);
  }

  /** The last that each process wrote, for a test's message. */
  outputs(): string {
    return [...this.#slots]
      .map(([name, { process }]) => `--- ${name} (${process?.ended ?? 'runs'})\n${process?.output.slice(-2_000) ?? ''}`)
      .join('\n');
  }

  /** SIGTERM to all; answers what did not end with 0. */
  async stopAll(): Promise<string[]> {
    const ends = await Promise.all(
      [...this.#slots].map(async ([name, { process }]) => {
        if (!process || process.ended !== null) return [];
        process.signal('SIGCONT');
        const code = await process.stop();
        return code === 0 ? [] : [`${name} ended with ${code}: ${process.output}`];
      }),
    );
    return ends.flat();
  }

  async close(): Promise<void> {
    await closeAll(this.#closers);
  }

  /** What keeps one from being ready is often another: all are told of. */
  async #ready(name: string, process: ServiceProcess): Promise<void> {
    try {
      await process.ready(START_TIMEOUT_MS);
    } catch (error) {
      const states = [...this.#slots].map(async ([other, { healthPort }]) => {
        const answer = await fetch(`http://127.0.0.1:${healthPort}/readyz`).then((response) => response.text(), String);
        return `${other}: ${answer}`;
      });
      throw new Error(`${name} did not come up.\n${(await Promise.all(states)).join('\n')}\n${this.outputs()}`, { cause: error });
    }
  }

  #slot(name: string): ProcessSlot {
    const slot = this.#slots.get(name);
    if (!slot) throw new Error(`no process is called ${name}`);
    return slot;
  }

  /** query-api may be what was just killed, or what it needs. */
  async #insist<T>(ask: () => Promise<T>): Promise<T> {
    for (const endsAt = performance.now() + START_TIMEOUT_MS; ; await sleep(200)) {
      try {
        return await ask();
      } catch (error) {
        const isFinal = error instanceof ApiError && !ERRORS[error.code].retryable;
        if (isFinal || performance.now() > endsAt) throw error;
      }
    }
  }
}

export function doneOf({ counts }: IngestionView): number {
  return counts.indexed + counts.unchanged + counts.duplicate + counts.failed;
}
