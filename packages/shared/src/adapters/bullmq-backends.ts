import { createPostgresBackend, createRedisBackend, runMigrations } from 'bullmq';
import type { BackendFactory, ConnectionOptions, IQueueBackend, PgPoolClient } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';
import { SightlineError } from '../runtime/errors.ts';

/** Where the queue lives. `prefix` keeps queues on one Redis apart; on PostgreSQL a database of its own does. */
export type QueuePlace = { redisUrl: string; prefix?: string } | { postgresUrl: string };

/** What BullMQ's classes are constructed with, whichever database is behind them. */
export interface QueueBackends {
  readonly kind: 'redis' | 'postgres';
  /** For producers: a command fails within seconds while the database is away. */
  producer: { factory: BackendFactory<IQueueBackend>; connection: ConnectionOptions; prefix: string };
  /** For workers and event readers: they wait until the database is back. */
  consumer: { factory: BackendFactory<IQueueBackend>; connection: ConnectionOptions; prefix: string };
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** How long a producer waits for a connection before it gives up. */
const CONNECT_TIMEOUT_MS = 3_000;
/**
 * Of these every worker and every event reader holds one for LISTEN; the rest serve queries. The embedded server is started
 * with more than that.
 */
const POSTGRES_CONNECTIONS = 24;

/** Connects, brings BullMQ's schema up to date where there is one. Errors: `queue_unavailable`. */
export async function openQueueBackends(place: QueuePlace, deps: { onError: (error: Error) => void }): Promise<QueueBackends> {
  return 'redisUrl' in place
    ? openRedis(place.redisUrl, place.prefix ?? 'sightline', deps.onError)
    : openPostgres(place.postgresUrl, deps.onError);
}

async function openRedis(url: string, prefix: string, onError: (error: Error) => void): Promise<QueueBackends> {
  const retryStrategy = (times: number) => Math.min(100 * 2 ** times, 2_000);
  const options = { connectTimeout: CONNECT_TIMEOUT_MS, retryStrategy, lazyConnect: true };
  const producer = new Redis(url, { ...options, maxRetriesPerRequest: 1, commandTimeout: CONNECT_TIMEOUT_MS });
  // Null is what BullMQ demands of blocking connections: they wait out an outage instead of failing the worker's loop.
  const consumer = new Redis(url, { ...options, maxRetriesPerRequest: null });
  producer.on('error', onError);
  consumer.on('error', onError);
  const close = () => {
    producer.disconnect();
    consumer.disconnect();
  };
  try {
    await Promise.all([producer.connect(), consumer.connect()]);
  } catch (error) {
    close();
    throw new SightlineError('queue_unavailable', 'Redis at REDIS_URL does not answer.', { cause: error });
  }
  return {
    kind: 'redis',
    producer: { factory: createRedisBackend, connection: producer, prefix },
    consumer: { factory: createRedisBackend, connection: consumer, prefix },
    ping: async () => void (await producer.ping()),
    close: async () => close(),
  };
}

async function openPostgres(url: string, onError: (error: Error) => void): Promise<QueueBackends> {
  const pool = new pg.Pool({
    connectionString: url,
    // BullMQ takes a given pool's schema to be its default one, so one pool serves every queue; tests take a database each.
    options: '-c search_path=bullmq',
    max: POSTGRES_CONNECTIONS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
  });
  // Every queue, worker and event reader adds a listener for errors.
  pool.setMaxListeners(100);
  pool.on('error', onError);
  try {
    const client: pg.PoolClient = await pool.connect();
    try {
      await runMigrations(client satisfies PgPoolClient);
    } finally {
      client.release();
    }
  } catch (error) {
    await pool.end();
    throw new SightlineError('queue_unavailable', 'PostgreSQL does not answer.', { cause: error });
  }
  const factory: BackendFactory<IQueueBackend> = (name, options, how) =>
    createPostgresBackend(name, { ...options, connection: pool }, how);
  return {
    kind: 'postgres',
    producer: { factory, connection: {}, prefix: '' },
    consumer: { factory, connection: {}, prefix: '' },
    ping: async () => void (await pool.query('SELECT 1')),
    close: () => pool.end(),
  };
}
