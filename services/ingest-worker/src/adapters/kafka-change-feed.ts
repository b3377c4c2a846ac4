import type { Kafka } from 'kafkajs';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { parseBucketNotification } from '@sightline/shared/contracts/bucket-notification';
import { parseItemMessage } from '@sightline/shared/contracts/item-message';
import { assertMayName } from '@sightline/shared/ingestion/source-policy';
import { deadLetterTopic, eventGroup } from '@sightline/shared/contracts/events';
import type { ChangeFeed, Noticed } from '../core/change-feed.ts';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { openKafkaClient, withKafkaAdmin, type KafkaPlace } from '@sightline/shared/adapters/kafka-client';
import { KafkaConsumer, type KafkaMessageIn } from '@sightline/shared/adapters/kafka-consumer';
import { deadLetter } from '@sightline/shared/adapters/kafka-dead-letter';
import { openEventMetrics, type EventMetrics } from '@sightline/shared/adapters/kafka-event-metrics';
import { KafkaProducer, type KafkaMessageOut } from '@sightline/shared/adapters/kafka-producer';
import { ensureKafkaTopics } from '@sightline/shared/adapters/kafka-topics';

export interface KafkaChangeFeedPlace extends KafkaPlace {
  /** Where the object store sends its bucket notifications. The name is the store's: it has no prefix. */
  notificationsTopic: string;
  /** Where catalogue records come from; read from its beginning. */
  itemsTopic: string;
  /** Places of the object store that records may name pictures of: see assertAllowed. */
  allowedSources: readonly string[];
}

export interface KafkaChangeFeedDeps {
  logger: Logger;
  registry?: Registry;
  /** First pause after a handler threw or a consumer crashed. */
  retryMs?: number;
  /** A partition whose place does not move for so long, with messages waiting, has its consumer started again. */
  stalledAfterMs?: number;
  /** A member of the group that is not heard of for so long loses its partitions to the others. */
  sessionTimeoutMs?: number;
}

/** What a message tells, and what of it could not be read. Throws for a message that is none of its topic's. */
type Reading = { noticed: Noticed[]; unreadable: string | null };

/**
 * Changes heard of over Kafka: bucket notifications, and catalogue records. All processes that start one share the partitions as one consumer group. Makes
 * its topics where they are not there: a gateway wants them before it starts to send. Error: `events_unavailable`.
 */
export async function openKafkaChangeFeed(place: KafkaChangeFeedPlace, deps: KafkaChangeFeedDeps): Promise<ChangeFeed> {
  const kafka = openKafkaClient(place, deps.logger);
  const topics = [place.notificationsTopic, place.itemsTopic];
  await withKafkaAdmin(kafka, (admin) => ensureKafkaTopics(admin, [...topics, ...topics.map(deadLetterTopic)], place));
  return new KafkaChangeFeed(kafka, place, topics, deps);
}

class KafkaChangeFeed implements ChangeFeed {
  readonly #kafka: Kafka;
  readonly #place: KafkaChangeFeedPlace;
  readonly #topics: string[];
  readonly #deps: KafkaChangeFeedDeps;
  readonly #metrics: EventMetrics;
  readonly #producer: KafkaProducer;
  #consumer: KafkaConsumer | null = null;
  #closing: Promise<void> | undefined;

  constructor(kafka: Kafka, place: KafkaChangeFeedPlace, topics: string[], deps: KafkaChangeFeedDeps) {
    this.#kafka = kafka;
    this.#place = place;
    this.#topics = topics;
    this.#deps = deps;
    this.#metrics = openEventMetrics(deps.registry);
    this.#producer = new KafkaProducer(kafka, {});
  }

  async start(handler: (noticed: Noticed[], signal: AbortSignal) => Promise<void>): Promise<void> {
    // What a process that died had is not heard of until its session is over.
    const { logger, retryMs = 1_000, stalledAfterMs = 60_000, sessionTimeoutMs = 12_000 } = this.#deps;
    const consumer = new KafkaConsumer(
      this.#kafka,
      {
        groupId: eventGroup(this.#place.prefix, 'changes'),
        topics: this.#topics,
        wholeTopics: [this.#place.itemsTopic],
        handler: (messages, signal) => this.#handle(messages, handler, signal),
        retryMs,
        stalledAfterMs,
        sessionTimeoutMs,
        onRestart: () => this.#metrics.restarted('changes'),
      },
      logger,
    );
    await consumer.open();
    this.#consumer = consumer;
  }

  async ping(): Promise<void> {
    if (this.#closing || !this.#consumer) throw new SightlineError('events_unavailable', 'The change feed does not run.');
    if (this.#consumer.isStalled)
      throw new SightlineError('events_unavailable', 'Notifications wait, but the consumer of this process makes no progress.');
  }

  close(): Promise<void> {
    return (this.#closing ??= (async () => {
      await this.#consumer?.close();
      await this.#producer.close();
    })());
  }

  /** Throws when the handler does, or when what cannot be read cannot be put aside either. */
  async #handle(
    messages: KafkaMessageIn[],
    handler: (noticed: Noticed[], signal: AbortSignal) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const noticed: Noticed[] = [];
    const dead: KafkaMessageOut[] = [];
    for (const incoming of messages) {
      // A compacted topic's deletion marks say nothing.
      if (incoming.message.value === null) continue;
      try {
        const value: unknown = JSON.parse(incoming.message.value.toString());
        const reading = incoming.topic === this.#place.itemsTopic ? readItem(value, this.#place) : readNotification(value);
        noticed.push(...reading.noticed);
        if (reading.unreadable !== null) dead.push(deadLetter(incoming, reading.unreadable));
      } catch (error) {
        dead.push(deadLetter(incoming, error));
      }
    }
    if (noticed.length > 0) await handler(noticed, signal);
    if (dead.length === 0) return;
    await this.#producer.send(dead);
    for (const { topic } of dead) this.#metrics.dead(topic, 1);
    const { topic, partition } = messages[0] ?? {};
    this.#deps.logger.warn({ topic, partition, count: dead.length }, 'messages that cannot be read were put aside');
  }
}

function readNotification(value: unknown): Reading {
  const { objects, unreadable } = parseBucketNotification(value);
  return { noticed: objects.map((object) => ({ kind: 'object', ...object })), unreadable };
}

/** Errors: `item_message_invalid`, `source_not_allowed`. */
function readItem(value: unknown, { allowedSources }: KafkaChangeFeedPlace): Reading {
  const item = parseItemMessage(value);
  assertMayName(item.change.record?.pictures ?? [], { tenant: item.tenant, allowedSources });
  return { noticed: [{ kind: 'item', ...item }], unreadable: null };
}
