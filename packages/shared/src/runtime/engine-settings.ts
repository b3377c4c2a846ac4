import { z } from 'zod';
import { flag, setting, urlOf, wholeNumber, SHARED_SETTINGS, type ConfigOf } from './config.ts';
import type { EnginePlaces } from './open-engines.ts';

const nameOf = z.string().regex(/^[A-Za-z0-9._-]{1,100}$/, 'expected letters, digits, dot, _ and -, at most 100');
const commaList = z.string().transform((text) => text.split(',').flatMap((one) => one.trim() || []));

/**
 * Where the engines are. What is not named has its embedded twin: SQLite for Qdrant and for the ledger, directories for S3, the
 * process itself for Kafka.
 */
export const ENGINE_SETTINGS = {
  dataDir: SHARED_SETTINGS.dataDir,
  queuePrefix: SHARED_SETTINGS.queuePrefix,
  ledgerRedisUrl: setting(
    'LEDGER_REDIS_URL',
    urlOf('redis', 'rediss', 'redis+cluster', 'rediss+cluster').optional(),
    'Redis of the ledger, by default that of the queue. It wants `appendonly yes`, `appendfsync always` and `maxmemory-policy noeviction`.',
    { secret: true },
  ),
  objectStore: setting(
    'OBJECT_STORE',
    z.enum(['s3', 'local'], 'expected s3 or local').optional(),
    '`s3`, or `local` for directories of this machine. By default `s3` where S3_ENDPOINT is set.',
  ),
  s3Endpoint: setting(
    'S3_ENDPOINT',
    urlOf('http', 'https').optional(),
    'Address of an S3 gateway such as MinIO, Versity or Ceph; not needed for AWS. Credentials come from the AWS variables, profile or role.',
  ),
  s3Region: setting('AWS_REGION', z.string().min(1).default('us-east-1'), 'Region of the buckets.'),
  s3PathStyle: setting(
    'S3_FORCE_PATH_STYLE',
    z.enum(['true', 'false'], 'expected true or false').optional(),
    'Whether buckets stand in the path instead of the host name. By default where S3_ENDPOINT is set.',
  ),
  s3SystemBucket: setting(
    'S3_SYSTEM_BUCKET',
    z.string().min(3).max(63).default('sightline'),
    "The stack's own bucket: pictures of queries, thumbnails, reports. It is made when it is not there.",
  ),
  s3MaxAttempts: setting('S3_MAX_ATTEMPTS', wholeNumber(1, 20).default(5), 'How often a request to the object store is tried.'),
  qdrantUrl: setting('QDRANT_URL', urlOf('http', 'https').optional(), 'Address of Qdrant (1.17 or newer) for the vector index.', {
    secret: true,
  }),
  qdrantApiKey: setting('QDRANT_API_KEY', z.string().min(1).optional(), 'API key of Qdrant.', { secret: true }),
  qdrantAlias: setting(
    'QDRANT_ALIAS',
    nameOf.default('sightline'),
    "The index's name in Qdrant: an alias of the collection that serves.",
  ),
  qdrantQuantisation: setting(
    'QDRANT_QUANTISATION',
    z.enum(['none', 'scalar', 'binary'], 'expected none, scalar or binary').default('none'),
    'How vectors are kept in memory by a collection that is made: whole, a byte a number, or a bit a number.',
  ),
  qdrantOnDisk: setting(
    'QDRANT_ON_DISK',
    flag(false),
    'Whether a collection that is made keeps whole vectors, graph and payload indexes on disk instead of in memory.',
  ),
  qdrantHnswM: setting(
    'QDRANT_HNSW_M',
    wholeNumber(0, 128).default(16),
    'Links of a node in the graph of a collection that is made.',
  ),
  qdrantHnswEfConstruct: setting(
    'QDRANT_HNSW_EF_CONSTRUCT',
    wholeNumber(4, 1_000).default(128),
    'Breadth of the search while the graph is built.',
  ),
  qdrantHnswEf: setting(
    'QDRANT_HNSW_EF',
    wholeNumber(4, 4_096).default(128),
    'Breadth of a search in the graph: more finds more, slower.',
  ),
  qdrantShards: setting('QDRANT_SHARDS', wholeNumber(1, 1_024).default(1), 'Shards of a collection that is made.'),
  qdrantReplicas: setting(
    'QDRANT_REPLICAS',
    wholeNumber(1, 16).default(1),
    'Replicas of each shard of a collection that is made.',
  ),
  qdrantWriteReplicas: setting(
    'QDRANT_WRITE_REPLICAS',
    wholeNumber(1, 16).default(1),
    'Replicas that must have a write before it counts.',
  ),
  kafkaBrokers: setting('KAFKA_BROKERS', commaList.optional(), 'Kafka brokers, `host:port`, comma-separated, for events.'),
  kafkaPrefix: setting('KAFKA_TOPIC_PREFIX', nameOf.default('sightline.'), 'What the names of topics and groups begin with.'),
  kafkaSsl: setting('KAFKA_SSL', flag(false), 'Whether the brokers are spoken to over TLS.'),
  kafkaCa: setting('KAFKA_CA', z.string().min(1).optional(), "Certificates (PEM) to trust instead of the system's."),
  kafkaSaslMechanism: setting(
    'KAFKA_SASL_MECHANISM',
    z
      .enum(['plain', 'scram-sha-256', 'scram-sha-512'], 'expected plain, scram-sha-256 or scram-sha-512')
      .default('scram-sha-512'),
    'How KAFKA_USERNAME is proven.',
  ),
  kafkaUsername: setting('KAFKA_USERNAME', z.string().min(1).optional(), 'User name; without one there is no SASL.'),
  kafkaPassword: setting('KAFKA_PASSWORD', z.string().optional(), 'Its password.', { secret: true }),
  kafkaPartitions: setting(
    'KAFKA_PARTITIONS',
    wholeNumber(1, 10_000).optional(),
    "Partitions of topics that are made; else the broker's default.",
  ),
  kafkaReplication: setting(
    'KAFKA_REPLICATION',
    wholeNumber(1, 16).optional(),
    "Replicas of topics that are made; else the broker's default.",
  ),
} as const;

export type EngineSettings = ConfigOf<typeof ENGINE_SETTINGS>;

/** The places of the engines. `redisUrl` is the queue's; null where that is embedded. */
export function enginePlaces(config: EngineSettings, redisUrl: string | null): EnginePlaces {
  const usesS3 = config.objectStore ? config.objectStore === 's3' : config.s3Endpoint !== undefined;
  const ledgerUrl = config.ledgerRedisUrl ?? redisUrl;
  return {
    dataDir: config.dataDir,
    ledger: ledgerUrl === null ? null : { url: ledgerUrl, prefix: `${config.queuePrefix}-ledger` },
    s3: usesS3
      ? {
          ...(config.s3Endpoint ? { endpoint: config.s3Endpoint } : {}),
          region: config.s3Region,
          forcePathStyle: config.s3PathStyle ? config.s3PathStyle === 'true' : config.s3Endpoint !== undefined,
          systemBucket: config.s3SystemBucket,
          maxAttempts: config.s3MaxAttempts,
        }
      : null,
    qdrant: config.qdrantUrl ? qdrantPlace(config, config.qdrantUrl) : null,
    kafka: config.kafkaBrokers ? kafkaPlace(config, config.kafkaBrokers) : null,
  };
}

function qdrantPlace(config: EngineSettings, url: string): EnginePlaces['qdrant'] {
  return {
    url,
    ...(config.qdrantApiKey ? { apiKey: config.qdrantApiKey } : {}),
    alias: config.qdrantAlias,
    collection: {
      hnsw: {
        m: config.qdrantHnswM,
        efConstruct: config.qdrantHnswEfConstruct,
        payloadM: config.qdrantHnswM,
        onDisk: config.qdrantOnDisk,
      },
      quantisation: config.qdrantQuantisation,
      vectorsOnDisk: config.qdrantOnDisk,
      indexesOnDisk: config.qdrantOnDisk,
      shards: config.qdrantShards,
      replicationFactor: config.qdrantReplicas,
      writeConsistencyFactor: config.qdrantWriteReplicas,
    },
    search: { hnswEf: config.qdrantHnswEf },
  };
}

function kafkaPlace(config: EngineSettings, brokers: string[]): EnginePlaces['kafka'] {
  const { kafkaCa: ca, kafkaUsername: username, kafkaPassword: password = '', kafkaPartitions, kafkaReplication } = config;
  return {
    brokers,
    prefix: config.kafkaPrefix,
    ssl: ca === undefined ? config.kafkaSsl : { ca },
    ...(username ? { sasl: { mechanism: config.kafkaSaslMechanism, username, password } } : {}),
    ...(kafkaPartitions ? { partitions: kafkaPartitions } : {}),
    ...(kafkaReplication ? { replication: kafkaReplication } : {}),
  };
}
