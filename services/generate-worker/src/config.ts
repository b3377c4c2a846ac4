import { SHARED_SETTINGS, healthPort } from '@sightline/shared/runtime/config';

export const SETTINGS = {
  redisUrl: SHARED_SETTINGS.redisUrl,
  queuePrefix: SHARED_SETTINGS.queuePrefix,
  healthHost: SHARED_SETTINGS.healthHost,
  healthPort: healthPort(8083),
};
