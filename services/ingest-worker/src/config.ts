import { ENGINE_SETTINGS } from '@sightline/shared/runtime/engine-settings';
import { STORM_SETTINGS } from '@sightline/shared/ingestion/storm-settings';
import { z } from 'zod';
import { duration, SHARED_SETTINGS, healthPort, setting, wholeNumber } from '@sightline/shared/runtime/config';

export const TOMBSTONE_RETENTION_DAYS = setting(
  'TOMBSTONE_RETENTION_DAYS',
  wholeNumber(1, 36_500).default(30),
  'How long the index remembers what left its source or failed; what a user removed it remembers for ever.',
);

const topicName = z.string().regex(/^[A-Za-z0-9._-]{1,249}$/, 'expected letters, digits, dot, _ and -, at most 249');

/** How changes of the sources are heard of, wherever the worker runs. */
export const CHANGE_SETTINGS = {
  notificationsTopic: setting(
    'S3_EVENTS_TOPIC',
    topicName.default('s3-events'),
    'Kafka topic where the object store sends its bucket notifications, with KAFKA_BROKERS. Made when it is not there.',
  ),
  itemsTopic: setting(
    'ITEMS_TOPIC',
    topicName.default('catalog.items'),
    'Kafka topic of catalogue records, with KAFKA_BROKERS. Read from its beginning; made when it is not there.',
  ),
  sources: SHARED_SETTINGS.ingestSources,
  highWaterChanges: setting(
    'HIGH_WATER_CHANGES',
    wholeNumber(100, 100_000_000).default(100_000),
    'Changes that may wait for encoding before no more notifications are taken; Kafka keeps the rest.',
  ),
};

export const AUDIT_SETTINGS = {
  auditEveryMs: setting(
    'AUDIT_EVERY',
    duration('1m', '90d').optional(),
    'How often each tenant with sources is audited, such as `24h`; never by itself when it is not set.',
  ),
  auditRepair: setting('AUDIT_REPAIR', z.enum(['true', 'false']).default('false'), 'Whether such an audit repairs what differs.'),
};

/** When audits come by themselves. */
export function auditScheduleOf({
  auditEveryMs,
  auditRepair,
}: {
  auditEveryMs: number | undefined;
  auditRepair: 'true' | 'false';
}): { everyMs: number; repair: boolean } | null {
  return auditEveryMs === undefined ? null : { everyMs: auditEveryMs, repair: auditRepair === 'true' };
}

export const SETTINGS = {
  redisUrl: SHARED_SETTINGS.redisUrl,
  ...ENGINE_SETTINGS,
  concurrency: setting('INGEST_CONCURRENCY', wholeNumber(1, 64).default(4), 'Ingestions that are listed at once.'),
  highWaterChunks: setting(
    'HIGH_WATER_CHUNKS',
    wholeNumber(1, 100_000).default(256),
    'Chunks of one tenant that may wait for encoding before its listing pauses. With CHUNK_OBJECTS it bounds what lies in the ledger and the queue.',
  ),
  highWaterChunksTotal: setting(
    'HIGH_WATER_CHUNKS_TOTAL',
    wholeNumber(1, 1_000_000).default(1_024),
    'Chunks of all tenants together that may wait; a tenant that has next to nothing waiting may list a few beyond it.',
  ),
  chunkObjects: setting('CHUNK_OBJECTS', wholeNumber(32, 256).default(64), 'Objects of a chunk: of one job.'),
  ...STORM_SETTINGS,
  ...CHANGE_SETTINGS,
  tombstoneRetentionDays: TOMBSTONE_RETENTION_DAYS,
  ...AUDIT_SETTINGS,
  healthHost: SHARED_SETTINGS.healthHost,
  healthPort: healthPort(8081),
};
