import { deadLetterTopic } from '../contracts/events.ts';
import type { KafkaMessageIn } from './kafka-consumer.ts';
import type { KafkaMessageOut } from './kafka-producer.ts';

const MAX_HEADER_CHARS = 1_000;
/** Of a message that could not be read: with its headers it has to pass the limit that it passed once. */
const MAX_DEAD_BYTES = 800_000;

/** The message as it was, with where it came from and why it could not be read, for its topic's dead letters. */
export function deadLetter(
  { topic, partition, message: { key, value, offset } }: KafkaMessageIn,
  error: unknown,
): KafkaMessageOut {
  const reason = error instanceof Error ? error.message : String(error);
  const isCut = (value?.length ?? 0) > MAX_DEAD_BYTES;
  return {
    topic: deadLetterTopic(topic),
    key: key?.toString().slice(0, MAX_HEADER_CHARS) ?? null,
    value: isCut ? (value?.subarray(0, MAX_DEAD_BYTES) ?? null) : value,
    headers: {
      ...(isCut && { 'sightline-cut-from-bytes': String(value?.length) }),
      'sightline-reason': reason.slice(0, MAX_HEADER_CHARS),
      'sightline-topic': topic,
      'sightline-partition': String(partition),
      'sightline-offset': offset,
    },
  };
}
