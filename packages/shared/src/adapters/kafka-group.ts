import type { Admin } from 'kafkajs';
import { sleep } from '../runtime/sleep.ts';
import { isKafkaRetriable } from './kafka-client.ts';

const TRIES = 20;
const TRY_EVERY_MS = 300;

export interface PartitionLag {
  topic: string;
  partition: number;
  /** The group's place: the next offset it reads; -1 where it has none. */
  offset: string;
  lag: bigint;
}

/** How far a group is behind, partition by partition. */
export async function lagOf(admin: Admin, groupId: string, topics: string[]): Promise<PartitionLag[]> {
  const places = await admin.fetchOffsets({ groupId, topics });
  const lags: PartitionLag[] = [];
  for (const { topic, partitions } of places) {
    const ends = new Map((await admin.fetchTopicOffsets(topic)).map(({ partition, high }) => [partition, high]));
    for (const { partition, offset } of partitions) {
      const end = BigInt(ends.get(partition) ?? '0');
      const at = BigInt(offset) < 0n ? 0n : BigInt(offset);
      lags.push({ topic, partition, offset, lag: end > at ? end - at : 0n });
    }
  }
  return lags;
}

/** A partition and the offset that a group reads next. */
export interface GroupPlace {
  topic: string;
  partition: number;
  offset: string;
}

/**
 * The present ends of the topics' partitions, of whole topics their beginnings, for a group that has no place anywhere; null for a
 * group that has one.
 */
export async function placesOfNewGroup(
  admin: Admin,
  groupId: string,
  topics: string[],
  wholeTopics: string[],
): Promise<GroupPlace[] | null> {
  const unplaced = await unplacedPartitions(admin, groupId, topics);
  if (unplaced.hasPlaces) return null;
  const ends = topics.map(async (topic) => {
    const partitions = await retrying(() => admin.fetchTopicOffsets(topic));
    const isWhole = wholeTopics.includes(topic);
    return partitions.map(({ partition, low, high }) => ({ topic, partition, offset: isWhole ? low : high }));
  });
  return (await Promise.all(ends)).flat();
}

/** Where a group has no place. */
export async function unplacedPartitions(
  admin: Admin,
  groupId: string,
  topics: string[],
): Promise<{ hasPlaces: boolean; isUnplaced: (place: { topic: string; partition: number }) => boolean }> {
  const places = await retrying(() => admin.fetchOffsets({ groupId, topics }));
  const all = places.flatMap(({ topic, partitions }) => partitions.map((one) => ({ topic, ...one })));
  const unplaced = new Set(all.filter(({ offset }) => offset === '-1').map(({ topic, partition }) => `${topic} ${partition}`));
  return {
    hasPlaces: unplaced.size < all.length,
    isUnplaced: ({ topic, partition }) => unplaced.has(`${topic} ${partition}`),
  };
}

/** The first group of a cluster finds its coordinator still being made, a new topic its leaders. */
async function retrying<T>(step: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await step();
    } catch (error) {
      if (attempt === TRIES || !isKafkaRetriable(error)) throw error;
      await sleep(TRY_EVERY_MS);
    }
  }
}
