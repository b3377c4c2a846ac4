import { setTimeout as sleep } from 'node:timers/promises';
import { Kafka, logLevel } from 'kafkajs';
import { newId } from '@sightline/shared/contracts/ids';
import { eventTopics, parseEvent, type SightlineEvent } from '@sightline/shared/contracts/events';

/** Reads all events of a stack from the beginning until `isEnough` says so, and fails after `timeoutMs`. */
export async function readEvents(
  { brokers, topicPrefix }: { brokers: string[]; topicPrefix: string },
  isEnough: (events: SightlineEvent[]) => boolean,
  timeoutMs = 30_000,
): Promise<SightlineEvent[]> {
  const kafka = new Kafka({ brokers, logLevel: logLevel.NOTHING, retry: { retries: 20, maxRetryTime: 1_000 } });
  const consumer = kafka.consumer({ groupId: newId() });
  const events: SightlineEvent[] = [];
  try {
    await consumer.connect();
    await consumer.subscribe({ topics: eventTopics(topicPrefix), fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ message }) => {
        const event = parseEvent(JSON.parse(message.value?.toString() ?? 'null'));
        if (event) events.push(event);
      },
    });
    for (const endsAt = performance.now() + timeoutMs; !isEnough(events); await sleep(100)) {
      if (performance.now() > endsAt) throw new Error(`${events.length} events, and these are not enough`);
    }
    return events;
  } finally {
    await consumer.disconnect();
  }
}
