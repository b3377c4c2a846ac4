import { ENCODER_SETTINGS } from '@sightline/encode-worker/config';
import { TOMBSTONE_RETENTION_DAYS } from '@sightline/ingest-worker/config';
import { SETTINGS as API_SETTINGS } from '@sightline/query-api/settings';
import { SHARED_SETTINGS } from '@sightline/shared/runtime/config';

export const SETTINGS = {
  dataDir: SHARED_SETTINGS.dataDir,
  redisUrl: SHARED_SETTINGS.optionalRedisUrl,
  queuePrefix: SHARED_SETTINGS.queuePrefix,
  ...ENCODER_SETTINGS,
  tombstoneRetentionDays: TOMBSTONE_RETENTION_DAYS,
  host: API_SETTINGS.host,
  port: API_SETTINGS.port,
  allowedHosts: API_SETTINGS.allowedHosts,
};
