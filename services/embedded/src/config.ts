import { ENCODER_SETTINGS } from '@sightline/encode-worker/config';
import { AUDIT_SETTINGS, CHANGE_SETTINGS, TOMBSTONE_RETENTION_DAYS } from '@sightline/ingest-worker/config';
import { GENERATOR_SETTINGS, QUESTION_SETTINGS, WEBHOOK_SETTINGS } from '@sightline/generate-worker/config';
import { HTTP_SETTINGS } from '@sightline/query-api/settings';
import { ENGINE_SETTINGS } from '@sightline/shared/runtime/engine-settings';
import { EGRESS_SETTINGS, SHARED_SETTINGS } from '@sightline/shared/runtime/config';

export const SETTINGS = {
  redisUrl: SHARED_SETTINGS.optionalRedisUrl,
  ...ENGINE_SETTINGS,
  ...ENCODER_SETTINGS,
  ...CHANGE_SETTINGS,
  tombstoneRetentionDays: TOMBSTONE_RETENTION_DAYS,
  ...AUDIT_SETTINGS,
  ...GENERATOR_SETTINGS,
  ...QUESTION_SETTINGS,
  ...WEBHOOK_SETTINGS,
  ...EGRESS_SETTINGS,
  ...HTTP_SETTINGS,
};
