import { SHARED_SETTINGS, healthPort, setting, wholeNumber } from '@sightline/shared/runtime/config';

export const TOMBSTONE_RETENTION_DAYS = setting(
  'TOMBSTONE_RETENTION_DAYS',
  wholeNumber(1, 36_500).default(30),
  'How long the index remembers what left its source or failed; what a user removed it remembers for ever.',
);

export const SETTINGS = {
  redisUrl: SHARED_SETTINGS.redisUrl,
  queuePrefix: SHARED_SETTINGS.queuePrefix,
  dataDir: SHARED_SETTINGS.dataDir,
  concurrency: setting('INGEST_CONCURRENCY', wholeNumber(1, 64).default(4), 'Ingestions that are listed at once.'),
  highWaterChunks: setting(
    'HIGH_WATER_CHUNKS',
    wholeNumber(1, 100_000).default(256),
    'Chunks of 64 objects that may wait for encoding before listing pauses.',
  ),
  tombstoneRetentionDays: TOMBSTONE_RETENTION_DAYS,
  healthHost: SHARED_SETTINGS.healthHost,
  healthPort: healthPort(8081),
};
