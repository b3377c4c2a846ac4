import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { S3Client } from '@aws-sdk/client-s3';
import { Kafka, logLevel } from 'kafkajs';
import { TINY_PACK } from '@sightline/generate-worker/testing/tiny-pack';
import { newId } from '@sightline/shared/contracts/ids';
import { freePort } from '@sightline/shared/testing/free-port';
import { openKafkaServer, type KafkaServer } from '@sightline/shared/testing/kafka-server';
import { openQdrantServer, qdrantMissing, type QdrantServer } from '@sightline/shared/testing/qdrant-server';
import { openRedisServer, type RedisServer } from '@sightline/shared/testing/redis-server';
import { openS3Server, type S3Server } from '@sightline/shared/testing/s3-server';
import { PRODUCTION_PROCESSES, type ProcessPlan, type ServiceProcess } from '../../scripts/service-process.ts';
import { openFaultProxy, type FaultProxy } from './fault-proxy.ts';
import { openHttpFaultProxy, type HttpFaultProxy } from './http-fault-proxy.ts';

/** What query-api takes as sources is named when it starts. */
const BUCKETS = 16;

export interface ProductionStackOptions {
  /** With a Kafka, which takes some ten seconds to come up. */
  kafka?: boolean;
  /** Has the S3 gateway tell that Kafka of every object that is put or deleted; needs a gateway and a Kafka of the test's own. */
  bucketEvents?: boolean;
  /** The SQLite index, also where a Qdrant can be had. */
  index?: 'sqlite';
  /** Puts fault proxies in front of Redis, Qdrant and S3, for the services; the test and the audit go round them. */
  proxies?: boolean;
  /** A directory that exists; else one of the stack's own. */
  dataDir?: string;
  /** Beside those of PRODUCTION_PROCESSES. */
  moreProcesses?: ProcessPlan[];
  /** For every service, and for single ones by their process' name. */
  env?: Record<string, string>;
  envOf?: Record<string, Record<string, string>>;
}

/** One process of the stack, whoever runs under its name at the time. */
export interface ProcessSlot {
  plan: ProcessPlan;
  env: Record<string, string>;
  healthPort: number;
  process: ServiceProcess | null;
}

export interface StackProxies {
  redis: FaultProxy;
  qdrant: FaultProxy | null;
  s3: HttpFaultProxy;
}

/** What a stack is made of, before its services start. */
export interface StackParts {
  port: number;
  dataDir: string;
  redis: RedisServer;
  s3: S3Server;
  qdrant: QdrantServer | null;
  kafka: KafkaServer | null;
  topicPrefix: string;
  queuePrefix: string;
  notificationsTopic: string;
  proxies: StackProxies | null;
  slots: Map<string, ProcessSlot>;
  engineEnv: Record<string, string>;
  s3Client: S3Client;
  closers: (() => unknown)[];
  buckets: string[];
}

/** Opens the engines and plans the processes; what is opened is pushed onto `closers`. */
export async function openStackParts(options: ProductionStackOptions, closers: (() => unknown)[]): Promise<StackParts> {
  const opened = async <T extends { close(): unknown }>(opening: Promise<T>): Promise<T> => {
    const engine = await opening;
    closers.push(() => engine.close());
    return engine;
  };
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'sightline-stack-'));
  if (!options.dataDir) closers.push(() => rmSync(dataDir, { recursive: true, force: true }));
  // One after the other: what one of them opened is closed also when another does not come up.
  const redis = await opened(openRedisServer({ appendFsync: 'always' }));
  const kafka = options.kafka ? await opened(openKafkaServer()) : null;
  const id = newId();
  const notificationsTopic = `${id}-s3-events`;
  const kafkaUrl = kafka?.brokers[0];
  const events = options.bucketEvents && kafkaUrl ? { kafkaUrl, topic: notificationsTopic } : null;
  // The gateway does not start without it.
  if (events) await makeTopic(events.kafkaUrl, events.topic);
  const s3 = await opened(openS3Server(events ? { events } : {}));
  const qdrant = qdrantMissing || options.index === 'sqlite' ? null : await opened(openQdrantServer());
  const proxies = options.proxies
    ? {
        redis: await opened(openFaultProxy(addressOf(redis.url))),
        qdrant: qdrant && (await opened(openFaultProxy(addressOf(qdrant.url)))),
        s3: await opened(openHttpFaultProxy(addressOf(s3.endpoint))),
      }
    : null;

  const place = s3.newPlace();
  const buckets = await Promise.all(Array.from({ length: BUCKETS }, () => s3.newBucket()));
  const topicPrefix = `${id}-`;
  const engineEnv: Record<string, string> = {
    REDIS_URL: redis.url,
    LEDGER_REDIS_URL: '',
    QUEUE_PREFIX: id,
    ...s3.env,
    S3_SYSTEM_BUCKET: place.systemBucket,
    QDRANT_URL: qdrant?.url ?? '',
    QDRANT_API_KEY: qdrant?.apiKey ?? '',
    QDRANT_ALIAS: `assets-${id}`,
    KAFKA_BROKERS: kafka?.brokers.join(',') ?? '',
    KAFKA_TOPIC_PREFIX: topicPrefix,
    S3_EVENTS_TOPIC: notificationsTopic,
    ITEMS_TOPIC: `${id}-items`,
  };
  const serviceEnv = proxies
    ? {
        ...engineEnv,
        REDIS_URL: proxies.redis.url('redis'),
        S3_ENDPOINT: proxies.s3.url,
        QDRANT_URL: proxies.qdrant?.url('http') ?? '',
      }
    : engineEnv;
  const port = await freePort();
  const slots = new Map<string, ProcessSlot>();
  for (const plan of [...PRODUCTION_PROCESSES, ...(options.moreProcesses ?? [])]) {
    const healthPort = await freePort();
    const env = {
      ...serviceEnv,
      DATA_DIR: dataDir,
      PORT: String(port),
      HEALTH_PORT: String(healthPort),
      INGEST_SOURCES: buckets.join(','),
      LOG_LEVEL: 'warn',
      VLM_PACK: TINY_PACK,
      ...plan.env,
      ...options.env,
      ...options.envOf?.[plan.name],
    };
    slots.set(plan.name, { plan, env, healthPort, process: null });
  }
  closers.push(() => Promise.all([...slots.values()].flatMap(({ process }) => process?.kill() ?? [])));
  const { endpoint, region, credentials, forcePathStyle } = place;
  const s3Client = new S3Client({
    region,
    forcePathStyle,
    ...(endpoint !== undefined && { endpoint }),
    ...(credentials && { credentials }),
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  closers.push(() => s3Client.destroy());
  return {
    port,
    dataDir,
    redis,
    s3,
    qdrant,
    kafka,
    topicPrefix,
    queuePrefix: id,
    notificationsTopic,
    proxies,
    slots,
    engineEnv,
    s3Client,
    closers,
    buckets,
  };
}

/** Several partitions: what is told of one key says nothing of when another's comes. */
async function makeTopic(broker: string, topic: string): Promise<void> {
  const admin = new Kafka({ brokers: [broker], logLevel: logLevel.NOTHING }).admin();
  try {
    await admin.connect();
    await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: 3, replicationFactor: 1 }] });
  } finally {
    await admin.disconnect();
  }
}

function addressOf(url: string): { host: string; port: number } {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}

/** Last opened, first closed; all of them, also when one fails. */
export async function closeAll(closers: (() => unknown)[]): Promise<void> {
  const problems: unknown[] = [];
  for (const close of closers.splice(0).toReversed()) {
    try {
      await close();
    } catch (error) {
      problems.push(error);
    }
  }
  if (problems.length > 0) throw new AggregateError(problems, 'the stack did not close as it should');
}
