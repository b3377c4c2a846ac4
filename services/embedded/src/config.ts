import { ENCODER_SETTINGS } from '@sightline/encode-worker/config';
import { AUDIT_SETTINGS, CHANGE_SETTINGS, TOMBSTONE_RETENTION_DAYS } from '@sightline/ingest-worker/config';
import { HTTP_SETTINGS } from '@sightline/query-api/settings';
import { ENGINE_SETTINGS } from '@sightline/shared/runtime/engine-settings';
import { SHARED_SETTINGS } from '@sightline/shared/runtime/config';

export const SETTINGS = {
  redisUrl: SHARED_SETTINGS.optionalRedisUrl,
  ...ENGINE_SETTINGS,
  ...ENCODER_SETTINGS,
  ...CHANGE_SETTINGS,
  tombstoneRetentionDays: TOMBSTONE_RETENTION_DAYS,
  ...AUDIT_SETTINGS,
  ...HTTP_SETTINGS,
};
