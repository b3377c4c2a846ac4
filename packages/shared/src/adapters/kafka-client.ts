import { Kafka, logLevel } from 'kafkajs';
import type { Admin, LogEntry, SASLOptions } from 'kafkajs';
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js';
import type { Logger } from 'pino';
import { SightlineError } from '../runtime/errors.ts';

/** Where the event log is. */
export interface KafkaPlace {
  /** `host:port` of some of the brokers; the others are learned from them. */
  brokers: string[];
  /** Before the name of every topic and group: separates the stacks that share a cluster. */
  prefix: string;
  /** TLS; with `ca` the certificates (PEM) to trust in place of the system's. */
  ssl?: boolean | { ca: string };
  sasl?: { mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'; username: string; password: string };
  /** Of topics that are not there yet; those that are stay as they are. The broker's defaults where left out. */
  partitions?: number;
  replication?: number;
}

/** A request that is not answered for so long has failed; a publish makes several of them. */
const REQUEST_TIMEOUT_MS = 4_000;
const CONNECTION_TIMEOUT_MS = 2_000;
const ADMIN_DEADLINE_MS = 8_000;

// kafkajs 2.2.4 sets a timer whenever a response comes, with the negative time since an imaginary throttling began: a warning, and
// a needless wake-up each millisecond under load. A queue with nothing in it needs none. Remove when kafkajs does it by itself.
const schedule = RequestQueue.prototype.scheduleCheckPendingRequests;
RequestQueue.prototype.scheduleCheckPendingRequests = function scheduleWhenPending() {
  if (this.pending.length > 0) schedule.call(this);
};

/** One connection's settings for producers, consumers and administration. */
export function openKafkaClient(place: KafkaPlace, logger: Logger): Kafka {
  const sasl = place.sasl && saslOptions(place.sasl);
  return new Kafka({
    clientId: 'sightline',
    brokers: place.brokers,
    ssl: typeof place.ssl === 'object' ? { ca: [place.ssl.ca] } : (place.ssl ?? false),
    ...(sasl && { sasl }),
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    // Connecting and asking for metadata; what sends and what consumes has retries of its own.
    retry: { retries: 2, initialRetryTime: 100, maxRetryTime: 1_000 },
    logLevel: logLevel.WARN,
    logCreator: () => quietly(logger.child({ component: 'kafka' })),
  });
}

function saslOptions({ mechanism, username, password }: NonNullable<KafkaPlace['sasl']>): SASLOptions {
  if (mechanism === 'plain') return { mechanism, username, password };
  return mechanism === 'scram-sha-256' ? { mechanism, username, password } : { mechanism, username, password };
}

/** While brokers are away each connection says so several times a second: the first of a message is logged, then one in ten seconds. */
function quietly(logger: Logger): (entry: LogEntry) => void {
  const loggedAt = new Map<string, number>();
  return ({ level, namespace, log }) => {
    const now = performance.now();
    if (now - (loggedAt.get(log.message) ?? -Infinity) < 10_000) return;
    if (loggedAt.size > 100) loggedAt.clear();
    loggedAt.set(log.message, now);
    const { message, broker, topic, partition, groupId, error } = log;
    // Its errors are tries that it makes again; what is given up is thrown, and logged by who catches it.
    logger[level === logLevel.ERROR ? 'warn' : 'debug']({ namespace, broker, topic, partition, groupId, error }, message);
  };
}

/** A connection of its own for each errand: a kept one is closed by brokers when idle. Error: `events_unavailable`. */
export async function withKafkaAdmin<T>(
  kafka: Kafka,
  errand: (admin: Admin) => Promise<T>,
  deadlineMs = ADMIN_DEADLINE_MS,
): Promise<T> {
  const admin = kafka.admin();
  const connected = admin.connect();
  try {
    return await within(deadlineMs, connected.then(() => errand(admin))); // prettier-ignore
  } catch (error) {
    throw eventsUnavailable(error);
  } finally {
    connected.then(() => admin.disconnect()).catch(() => undefined);
  }
}

/** Rejects with `events_unavailable` when it takes longer; what was begun goes on. */
export async function within<T>(ms: number, step: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const tooLong = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new SightlineError('events_unavailable', 'No answer in time.')), ms);
  });
  try {
    return await Promise.race([step, tooLong]);
  } finally {
    clearTimeout(timer);
  }
}

/** Any failure of the client as `events_unavailable`, with what an operator can do about it where that is known. */
export function eventsUnavailable(error: unknown): SightlineError {
  if (error instanceof SightlineError) return error;
  return new SightlineError('events_unavailable', adviceOn(error), { cause: error });
}

/** Whether Kafka says that the same request may pass later. */
export function isKafkaRetriable(error: unknown): boolean {
  return error instanceof Error && 'retriable' in error && error.retriable === true;
}

/** Whether the broker knows this user and says no: trying again is of no use. */
export function isKafkaRefusal(error: unknown): boolean {
  const isUnknownUser = error instanceof Error && error.name === 'KafkaJSSASLAuthenticationError';
  return isUnknownUser || (kafkaErrorType(error)?.endsWith('AUTHORIZATION_FAILED') ?? false);
}

/** The broker's own word for an error, such as TOPIC_AUTHORIZATION_FAILED, wherever kafkajs wrapped it. */
export function kafkaErrorType(error: unknown): string | undefined {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if ('type' in at && typeof at.type === 'string') return at.type;
    if ('originalError' in at && at.originalError instanceof Error && at.originalError !== at) {
      const type = kafkaErrorType(at.originalError);
      if (type !== undefined) return type;
    }
  }
  return undefined;
}

function adviceOn(error: unknown): string | undefined {
  const type = kafkaErrorType(error);
  if (type === 'TOPIC_AUTHORIZATION_FAILED') return 'The broker does not allow this user the topic.';
  if (type === 'GROUP_AUTHORIZATION_FAILED') return 'The broker does not allow this user the consumer group.';
  if (type === 'CLUSTER_AUTHORIZATION_FAILED') return 'The broker does not allow this user to write with an idempotent producer.';
  if (error instanceof Error && error.name === 'KafkaJSSASLAuthenticationError')
    return 'The broker refuses the user name or password.';
  return type;
}
