import type { Admin, Consumer, EachBatchPayload, Kafka, KafkaMessage } from 'kafkajs';
import type { Logger } from 'pino';
import { sleep } from '../runtime/sleep.ts';
import { eventsUnavailable, kafkaErrorType, within, withKafkaAdmin } from './kafka-client.ts';
import { lagOf, placesOfNewGroup, unplacedPartitions, type GroupPlace } from './kafka-group.ts';

export interface KafkaMessageIn {
  topic: string;
  partition: number;
  message: KafkaMessage;
}

export interface KafkaConsumerOptions {
  groupId: string;
  topics: string[];
  /** Those of the topics that a new group reads from their beginning; of the others it gets what comes from now on. */
  wholeTopics?: string[];
  /** Messages of one partition, in order. When it throws they come again after a pause. */
  handler: (messages: KafkaMessageIn[], signal: AbortSignal) => Promise<void>;
  /** First pause after a handler threw; it doubles up to 30 s. */
  retryMs: number;
  /** A partition that has messages and whose place does not move for so long has its consumer restarted. */
  stalledAfterMs: number;
  /** A member that is not heard of for so long loses its partitions. */
  sessionTimeoutMs: number;
  onRestart: () => void;
}

const MAX_BATCH = 256;
const LONGEST_PAUSE_MS = 30_000;
const OPEN_DEADLINE_MS = 20_000;
const STOP_DEADLINE_MS = 15_000;
/** What says that the partitions are another member's by now. */
const LOST = new Set(['UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION', 'FENCED_INSTANCE_ID']);

/**
 * One member of a consumer group. The group's place moves on only after the handler returned. A crashed consumer is started again,
 * and so is one that still says it runs while its partitions stand: kafkajs has been seen in that state after brokers went away.
 */
export class KafkaConsumer {
  readonly #kafka: Kafka;
  readonly #options: KafkaConsumerOptions;
  readonly #logger: Logger;
  readonly #over = new AbortController();
  #consumer: Consumer | null = null;
  #assigned: Record<string, number[]> = {};
  #handling = 0;
  /** Of a partition, while its messages come again and again. */
  readonly #pauses = new Map<string, number>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #moved = new Map<string, { offset: string; at: number }>();
  #watching: Promise<void> | null = null;
  #restarting: Promise<void> | null = null;
  #isStalled = false;

  constructor(kafka: Kafka, options: KafkaConsumerOptions, logger: Logger) {
    this.#kafka = kafka;
    this.#options = options;
    this.#logger = logger.child({ groupId: options.groupId });
  }

  /** Joins the group; a new one has its place, durably, when this returns. Error: `events_unavailable`. */
  async open(): Promise<void> {
    const { groupId, topics, wholeTopics = [] } = this.#options;
    try {
      const places = (admin: Admin): Promise<GroupPlace[] | null> => placesOfNewGroup(admin, groupId, topics, wholeTopics);
      await this.#start(await withKafkaAdmin(this.#kafka, places, OPEN_DEADLINE_MS));
    } catch (error) {
      this.#over.abort();
      await this.#stop();
      throw eventsUnavailable(error);
    }
    this.#watching = this.#watch();
  }

  /** True from when a stall was seen until the place moves again. */
  get isStalled(): boolean {
    return this.#isStalled || this.#restarting !== null;
  }

  /** Waits for the handler, then leaves the group. */
  async close(): Promise<void> {
    this.#over.abort();
    await this.#restarting;
    await this.#stop();
    await this.#watching;
  }

  async #start(placesIfNew: GroupPlace[] | null): Promise<void> {
    const { groupId, topics, sessionTimeoutMs } = this.#options;
    const consumer = this.#kafka.consumer({
      groupId,
      sessionTimeout: sessionTimeoutMs,
      rebalanceTimeout: Math.max(60_000, sessionTimeoutMs),
      heartbeatInterval: sessionTimeoutMs / 6,
      maxWaitTimeInMs: 500,
      maxBytesPerPartition: 1024 * 1024,
      allowAutoTopicCreation: false,
      // Restarts have one place: here.
      retry: { retries: 3, initialRetryTime: 200, maxRetryTime: 2_000, restartOnFailure: async () => false },
    });
    this.#consumer = consumer;
    this.#assigned = {};
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      this.#assigned = payload.memberAssignment;
      this.#moved.clear();
    });
    let isOpening = true;
    let crash: Error | undefined;
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      crash = payload.error;
      if (!isOpening && this.#consumer === consumer) this.#restart(payload.error);
    });
    await consumer.connect();
    // A partition without a place was added after the group began: all of it is for the group.
    await consumer.subscribe({ topics, fromBeginning: true });
    const joined = consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: (payload) => this.#eachBatch(payload),
    });
    const all = topics.map((topic) => ({ topic }));
    // Before anything is fetched; kafkajs takes it as soon as it was told to run.
    if (placesIfNew) consumer.pause(all);
    await joined;
    if (crash) throw crash;
    if (placesIfNew) {
      await this.#place(consumer, placesIfNew);
      consumer.resume(all);
    }
    isOpening = false;
    if (crash) throw crash;
  }

  /** Writes a new group's place down, as a member of it; where another member did so meanwhile, its word stands. */
  async #place(consumer: Consumer, places: GroupPlace[]): Promise<void> {
    const { groupId, topics } = this.#options;
    const { isUnplaced } = await withKafkaAdmin(this.#kafka, (admin) => unplacedPartitions(admin, groupId, topics));
    const due = places.filter(isUnplaced);
    for (const place of due) consumer.seek(place);
    if (due.length > 0) await consumer.commitOffsets(due);
  }

  async #stop(): Promise<void> {
    const consumer = this.#consumer;
    this.#consumer = null;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#pauses.clear();
    if (!consumer) return;
    // Waits for a batch in hand, leaves the group, closes connections.
    await within(STOP_DEADLINE_MS, consumer.disconnect()).catch((error: unknown) => {
      this.#logger.warn({ err: error }, 'a consumer did not end');
    });
  }

  #restart(reason: unknown): void {
    if (this.#restarting || this.#over.signal.aborted) return;
    this.#logger.warn({ err: reason }, 'the consumer is started again');
    this.#options.onRestart();
    this.#restarting = (async () => {
      for (
        let pauseMs = this.#options.retryMs;
        !this.#over.signal.aborted;
        pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS / 3)
      ) {
        await this.#stop();
        await sleep(pauseMs, this.#over.signal).catch(() => undefined);
        if (this.#over.signal.aborted) return;
        try {
          return await this.#start(null);
        } catch (error) {
          this.#logger.warn({ err: error }, 'the consumer did not start');
        }
      }
    })().finally(() => {
      this.#restarting = null;
      this.#moved.clear();
    });
  }

  async #eachBatch(payload: EachBatchPayload): Promise<void> {
    const { batch, resolveOffset, commitOffsetsIfNecessary, heartbeat, isRunning, isStale, pause } = payload;
    const { topic, partition } = batch;
    const lost = new AbortController();
    const signal = AbortSignal.any([this.#over.signal, lost.signal]);
    // A rebalance begins at the next heartbeat outside of this: the others wait for what is in hand.
    const beat = setInterval(() => {
      heartbeat().catch((error: unknown) => {
        if (LOST.has(kafkaErrorType(error) ?? '')) lost.abort();
      });
    }, this.#options.sessionTimeoutMs / 6);
    this.#handling += 1;
    try {
      for (let from = 0; from < batch.messages.length; from += MAX_BATCH) {
        if (!isRunning() || isStale() || signal.aborted) return;
        const messages = batch.messages.slice(from, from + MAX_BATCH);
        try {
          await this.#options.handler(messages.map((message) => ({ topic, partition, message })), signal); // prettier-ignore
        } catch (error) {
          if (!signal.aborted) this.#comeAgain(`${topic} ${partition}`, pause(), error);
          return;
        }
        this.#pauses.delete(`${topic} ${partition}`);
        const last = messages.at(-1)?.offset ?? batch.lastOffset();
        resolveOffset(last);
        const next = String(BigInt(last) + 1n);
        await commitOffsetsIfNecessary({ topics: [{ topic, partitions: [{ partition, offset: next }] }] });
      }
    } finally {
      clearInterval(beat);
      this.#handling -= 1;
    }
  }

  /** What was not resolved is fetched again once the partition is let go; the others go on meanwhile. */
  #comeAgain(place: string, resume: () => void, error: unknown): void {
    const pauseMs = this.#pauses.get(place) ?? this.#options.retryMs;
    this.#pauses.set(place, Math.min(pauseMs * 2, LONGEST_PAUSE_MS));
    this.#logger.warn({ err: error, place, pauseMs }, 'events were not handled and come again');
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      resume();
    }, pauseMs);
    this.#timers.add(timer);
  }

  /** Progress, not the client's word, says whether it runs. */
  async #watch(): Promise<void> {
    const { groupId, topics, stalledAfterMs } = this.#options;
    for (;;) {
      await sleep(stalledAfterMs / 4, this.#over.signal).catch(() => undefined);
      if (this.#over.signal.aborted) return;
      // A handler at work or a pause after one is no stall; what an unreachable broker hides is seen when it answers.
      if (this.#restarting || this.#handling > 0 || this.#timers.size > 0) {
        this.#moved.clear();
        continue;
      }
      const lags = await withKafkaAdmin(this.#kafka, (admin) => lagOf(admin, groupId, topics)).catch(() => null);
      if (!lags) continue;
      const now = performance.now();
      // A member that has no partition, which may be right or a stall, is watched for all of them: to start it again costs little.
      const hasAny = Object.values(this.#assigned).some((partitions) => partitions.length > 0);
      let stalledForMs = 0;
      for (const { topic, partition, offset, lag } of lags) {
        if (hasAny && !this.#assigned[topic]?.includes(partition)) continue;
        const place = `${topic} ${partition}`;
        const before = this.#moved.get(place);
        if (lag === 0n || before?.offset !== offset) this.#moved.set(place, { offset, at: now });
        else stalledForMs = Math.max(stalledForMs, now - before.at);
      }
      this.#isStalled = stalledForMs > stalledAfterMs / 2;
      if (stalledForMs > stalledAfterMs) this.#restart(new Error(`no progress for ${Math.round(stalledForMs)} ms`));
    }
  }
}
