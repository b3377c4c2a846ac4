import type { Admin } from 'kafkajs';
import { SightlineError } from '../runtime/errors.ts';
import { sleep } from '../runtime/sleep.ts';
import { kafkaErrorType } from './kafka-client.ts';

const LOOKS = 50;
const LOOK_EVERY_MS = 100;

/**
 * Makes the topics that are not there; those that are stay as they are. Error: `events_unavailable`, naming the topics that are
 * missing where this user may not make them.
 */
export async function ensureKafkaTopics(
  admin: Admin,
  topics: string[],
  { partitions, replication }: { partitions?: number | undefined; replication?: number | undefined },
): Promise<void> {
  const present = new Set(await admin.listTopics());
  const missing = topics.filter((topic) => !present.has(topic));
  if (missing.length === 0) return;
  try {
    await admin.createTopics({
      // kafkajs gives up on a broker that has not heard of the new topic yet.
      waitForLeaders: false,
      topics: missing.map((topic) => ({
        topic,
        ...(partitions !== undefined && { numPartitions: partitions }),
        ...(replication !== undefined && { replicationFactor: replication }),
      })),
    });
  } catch (error) {
    const causes: unknown[] = error instanceof Error && 'errors' in error && Array.isArray(error.errors) ? error.errors : [error];
    const refused = causes.map(kafkaErrorType).filter((type) => type !== 'TOPIC_ALREADY_EXISTS');
    // Another process was quicker.
    if (refused.length === 0) return await untilLed(admin, topics);
    throw new SightlineError(
      'events_unavailable',
      `The topics ${missing.join(', ')} are not there and cannot be made (${refused.join(', ') || 'no reason given'}): make them, or let this user do so.`,
      { cause: error },
    );
  }
  await untilLed(admin, topics);
}

/** Each partition has a leader, as far as the broker that is asked has heard; its caller's deadline ends the waiting. */
async function untilLed(admin: Admin, topics: string[]): Promise<void> {
  for (let attempt = 0; attempt < LOOKS; attempt++) {
    const present = new Set(await admin.listTopics());
    if (topics.every((topic) => present.has(topic))) {
      const metadata = await admin.fetchTopicMetadata({ topics }).catch(() => null);
      if (metadata?.topics.every(({ partitions }) => partitions.every(({ leader }) => leader >= 0))) return;
    }
    await sleep(LOOK_EVERY_MS);
  }
  throw new SightlineError('events_unavailable', `The new topics ${topics.join(', ')} have no leaders.`);
}
