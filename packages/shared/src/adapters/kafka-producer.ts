import { Partitioners } from 'kafkajs';
import type { Kafka, Producer } from 'kafkajs';
import { SightlineError } from '../runtime/errors.ts';
import { sleep } from '../runtime/sleep.ts';
import { eventsUnavailable, isKafkaRefusal, within } from './kafka-client.ts';

export interface KafkaMessageOut {
  topic: string;
  key: string | null;
  value: string | Buffer | null;
  headers: Record<string, string>;
}

export interface KafkaProducerOptions {
  /** After so long `send` gives up; what it began may still be written. */
  timeoutMs?: number;
}

/** One call of `send` that waits for its turn. */
interface Waiting {
  messages: KafkaMessageOut[];
  bytes: number;
  isGivenUp: boolean;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/** Brokers take 1 MiB a batch by default; the rest is for what the format adds. */
const MAX_REQUEST_BYTES = 900_000;
const MAX_REQUEST_MESSAGES = 1_000;
const MESSAGE_OVERHEAD_BYTES = 256;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
/** Of one producer: with the same sequence numbers, so that what was written already is not written twice. */
const RETRY = { retries: 3, initialRetryTime: 100, multiplier: 2, maxRetryTime: 1_000 };
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1_000;

/**
 * Writes to Kafka, durable on all in-sync replicas when `send` returns. One request is under way at a time and takes along whatever
 * came in meanwhile, so that messages of a key stay in order. After a failure the next request has a producer of its own: kafkajs
 * would use the failed request's sequence numbers for other messages, which the broker takes for ones that it has.
 * Error: `events_unavailable`.
 */
export class KafkaProducer {
  readonly #kafka: Kafka;
  readonly #timeoutMs: number;
  readonly #line: Waiting[] = [];
  #waitingBytes = 0;
  #producer: Producer | null = null;
  #partitionsUsed = new Set<string>();
  #running: Promise<void> | null = null;
  #closed = false;

  constructor(kafka: Kafka, options: KafkaProducerOptions = {}) {
    this.#kafka = kafka;
    this.#timeoutMs = options.timeoutMs ?? 10_000;
  }

  async send(messages: KafkaMessageOut[]): Promise<void> {
    if (this.#closed) throw new SightlineError('events_unavailable', 'The event log is closed.');
    if (messages.length === 0) return;
    const sizes = messages.map(sizeOf);
    if (sizes.some((size) => size > MAX_REQUEST_BYTES))
      throw new SightlineError('internal', 'A message is larger than brokers take.');
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    if (this.#waitingBytes > 0 && this.#waitingBytes + bytes > MAX_WAITING_BYTES)
      throw new SightlineError('events_unavailable', 'Too much waits to be published.');
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting: Waiting = { messages, bytes, isGivenUp: false, resolve, reject };
    this.#waitingBytes += bytes;
    this.#line.push(waiting);
    this.#running ??= this.#run();
    try {
      await within(this.#timeoutMs, promise);
    } finally {
      waiting.isGivenUp = true;
    }
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    await within(this.#timeoutMs, this.#running ?? Promise.resolve()).catch(() => undefined);
    await this.#discard();
  }

  async #run(): Promise<void> {
    // Never within the call that sends: what is sent in the same moment goes together.
    await Promise.resolve();
    for (let batch = this.#take(); batch.length > 0; batch = this.#take()) {
      await this.#sendBatch(batch);
      for (const { bytes } of batch) this.#waitingBytes -= bytes;
    }
    this.#running = null;
  }

  /** Tries while anybody waits: an outage of seconds is nobody's concern. */
  async #sendBatch(batch: Waiting[]): Promise<void> {
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      try {
        for (const slice of slicesOf(batch.flatMap(({ messages }) => messages))) await this.#sendSlice(slice);
        for (const { resolve } of batch) resolve();
        return;
      } catch (error) {
        await this.#discard();
        if (isKafkaRefusal(error) || batch.every(({ isGivenUp }) => isGivenUp)) {
          for (const { reject } of batch) reject(eventsUnavailable(error));
          return;
        }
      }
      await sleep(pauseMs);
    }
  }

  /** What goes together: as many calls as a request holds, or one that needs several. */
  #take(): Waiting[] {
    const batch: Waiting[] = [];
    let bytes = 0;
    for (let next = this.#line[0]; next; next = this.#line[0]) {
      if (next.isGivenUp) {
        this.#line.shift();
        this.#waitingBytes -= next.bytes;
        next.reject(new SightlineError('events_unavailable'));
        continue;
      }
      if (batch.length > 0 && bytes + next.bytes > MAX_REQUEST_BYTES) break;
      bytes += next.bytes;
      batch.push(next);
      this.#line.shift();
    }
    return batch;
  }

  async #sendSlice(messages: KafkaMessageOut[]): Promise<void> {
    const producer = await this.#open();
    const byTopic = Map.groupBy(messages, ({ topic }) => topic);
    this.#partitionsUsed.clear();
    const written = await producer.sendBatch({
      acks: -1,
      timeout: 5_000,
      topicMessages: [...byTopic].map(([topic, some]) => ({
        topic,
        messages: some.map(({ key, value, headers }) => ({ key, value, headers })),
      })),
    });
    // After a partition moved between brokers kafkajs can leave its messages out and still report success.
    const answered = new Set(written.map(({ topicName, partition }) => `${topicName} ${partition}`));
    if ([...this.#partitionsUsed].some((used) => !answered.has(used)))
      throw new SightlineError('events_unavailable', 'Not every partition answered.');
  }

  async #open(): Promise<Producer> {
    if (this.#producer) return this.#producer;
    const producer = this.#kafka.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      retry: RETRY,
      // Murmur2 over the key, as Kafka's own clients do it: other producers of these topics agree with it.
      createPartitioner: () => {
        const choose = Partitioners.DefaultPartitioner();
        return (args) => {
          const partition = choose(args);
          this.#partitionsUsed.add(`${args.topic} ${partition}`);
          return partition;
        };
      },
    });
    try {
      await producer.connect();
    } catch (error) {
      await producer.disconnect().catch(() => undefined);
      throw error;
    }
    this.#producer = producer;
    return producer;
  }

  async #discard(): Promise<void> {
    const producer = this.#producer;
    this.#producer = null;
    if (producer) await within(this.#timeoutMs, producer.disconnect()).catch(() => undefined);
  }
}

function sizeOf({ key, value, headers }: KafkaMessageOut): number {
  const parts = [key, value, ...Object.entries(headers).flat()];
  return parts.reduce((sum, part) => sum + (part === null ? 0 : Buffer.byteLength(part)), MESSAGE_OVERHEAD_BYTES);
}

function* slicesOf(messages: KafkaMessageOut[]): Generator<KafkaMessageOut[]> {
  let slice: KafkaMessageOut[] = [];
  let bytes = 0;
  for (const message of messages) {
    const size = sizeOf(message);
    if (slice.length === MAX_REQUEST_MESSAGES || bytes + size > MAX_REQUEST_BYTES) {
      yield slice;
      slice = [];
      bytes = 0;
    }
    slice.push(message);
    bytes += size;
  }
  if (slice.length > 0) yield slice;
}
