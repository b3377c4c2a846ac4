import type { Kafka } from 'kafkajs';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import {
  deadLetterTopic,
  EVENT_CONTENT_TYPE,
  EVENTS,
  eventGroup,
  eventTopic,
  eventTopics,
  parseEvent,
  type SightlineEvent,
} from '../contracts/events.ts';
import type { EventHandler, EventLog, EventSubscription } from '../ports/event-log.ts';
import { SightlineError } from '../runtime/errors.ts';
import { openKafkaClient, withKafkaAdmin, type KafkaPlace } from './kafka-client.ts';
import { KafkaConsumer, type KafkaMessageIn } from './kafka-consumer.ts';
import { openEventMetrics, type EventMetrics } from './kafka-event-metrics.ts';
import { deadLetter } from './kafka-dead-letter.ts';
import { KafkaProducer, type KafkaMessageOut } from './kafka-producer.ts';
import { ensureKafkaTopics } from './kafka-topics.ts';

export interface KafkaEventLogDeps {
  logger: Logger;
  registry?: Registry;
  /** A publish that takes longer has failed. */
  publishTimeoutMs?: number;
  /** First pause after a handler threw or a consumer crashed. */
  retryMs?: number;
  /** A partition whose place does not move for so long, with messages waiting, has its consumer started again. */
  stalledAfterMs?: number;
  /** A member of a group that is not heard of for so long loses its partitions to the others. */
  sessionTimeoutMs?: number;
}

/**
 * The event log on Kafka: CloudEvents in structured mode, keyed by subject. Makes its topics where they are not there.
 * Error: `events_unavailable`, with what an operator can do where that is known.
 */
export async function openKafkaEventLog(place: KafkaPlace, deps: KafkaEventLogDeps): Promise<EventLog> {
  const kafka = openKafkaClient(place, deps.logger);
  const topics = eventTopics(place.prefix);
  await withKafkaAdmin(kafka, (admin) => ensureKafkaTopics(admin, [...topics, ...topics.map(deadLetterTopic)], place));
  return new KafkaEventLog(kafka, place.prefix, deps);
}

class KafkaEventLog implements EventLog {
  readonly #kafka: Kafka;
  readonly #prefix: string;
  readonly #deps: KafkaEventLogDeps;
  readonly #metrics: EventMetrics;
  readonly #producer: KafkaProducer;
  readonly #consumers = new Set<KafkaConsumer>();
  #closing: Promise<void> | undefined;

  constructor(kafka: Kafka, prefix: string, deps: KafkaEventLogDeps) {
    this.#kafka = kafka;
    this.#prefix = prefix;
    this.#deps = deps;
    this.#metrics = openEventMetrics(deps.registry);
    this.#producer = new KafkaProducer(kafka, {
      ...(deps.publishTimeoutMs !== undefined && { timeoutMs: deps.publishTimeoutMs }),
    });
  }

  async publish(events: SightlineEvent[]): Promise<void> {
    const messages = events.map((event): KafkaMessageOut => {
      const { type, subject } = event;
      return {
        topic: eventTopic(this.#prefix, type),
        key: subject,
        value: JSON.stringify(EVENTS[type].schema.parse(event)),
        headers: { 'content-type': EVENT_CONTENT_TYPE },
      };
    });
    const startedAt = performance.now();
    try {
      await this.#producer.send(messages);
    } catch (error) {
      this.#metrics.failed();
      throw error;
    }
    if (events.length > 0) this.#metrics.published(events.map(({ type }) => type), performance.now() - startedAt); // prettier-ignore
  }

  async subscribe(group: string, handler: EventHandler): Promise<EventSubscription> {
    this.#assertOpen();
    const { logger, retryMs = 1_000, stalledAfterMs = 60_000, sessionTimeoutMs = 30_000 } = this.#deps;
    const groupId = eventGroup(this.#prefix, group);
    const topics = eventTopics(this.#prefix);
    const consumer = new KafkaConsumer(
      this.#kafka,
      {
        groupId,
        topics,
        handler: (messages, signal) => this.#handle(messages, handler, signal),
        retryMs,
        stalledAfterMs,
        sessionTimeoutMs,
        onRestart: () => this.#metrics.restarted(group),
      },
      logger,
    );
    this.#consumers.add(consumer);
    try {
      await consumer.open();
    } catch (error) {
      this.#consumers.delete(consumer);
      throw error;
    }
    return {
      close: async () => {
        this.#consumers.delete(consumer);
        await consumer.close();
      },
    };
  }

  async ping(): Promise<void> {
    this.#assertOpen();
    if ([...this.#consumers].some(({ isStalled }) => isStalled))
      throw new SightlineError('events_unavailable', 'Events wait, but a consumer of this process makes no progress.');
    const topics = eventTopics(this.#prefix);
    const metadata = await withKafkaAdmin(this.#kafka, (admin) => admin.fetchTopicMetadata({ topics }));
    const leaderless = metadata.topics.filter(({ partitions }) => partitions.some(({ leader }) => leader < 0));
    if (leaderless.length > 0)
      throw new SightlineError('events_unavailable', `No broker leads ${leaderless.map(({ name }) => name).join(', ')}.`);
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  /** Consumers first: what they put aside needs the producer. */
  async #close(): Promise<void> {
    await Promise.allSettled([...this.#consumers].map((consumer) => consumer.close()));
    await this.#producer.close();
  }

  #assertOpen(): void {
    if (this.#closing) throw new SightlineError('events_unavailable', 'The event log is closed.');
  }

  /** Throws when the handler does, or when what cannot be read cannot be put aside either. */
  async #handle(messages: KafkaMessageIn[], handler: EventHandler, signal: AbortSignal): Promise<void> {
    const events: SightlineEvent[] = [];
    const dead: KafkaMessageOut[] = [];
    for (const incoming of messages) {
      try {
        const event = parseEvent(JSON.parse(incoming.message.value?.toString() ?? ''));
        if (event) events.push(event);
      } catch (error) {
        dead.push(deadLetter(incoming, error));
      }
    }
    if (events.length > 0) await handler(events, signal);
    if (dead.length === 0) return;
    await this.#producer.send(dead);
    for (const { topic } of dead) this.#metrics.dead(topic, 1);
    const { topic, partition } = messages[0] ?? {};
    this.#deps.logger.warn({ topic, partition, count: dead.length }, 'messages that are no events were put aside');
  }
}
