import { z } from 'zod';
import { SHARED_SETTINGS, setting, wholeNumber } from '@sightline/shared/runtime/config';

export const SETTINGS = {
  redisUrl: SHARED_SETTINGS.redisUrl,
  queuePrefix: SHARED_SETTINGS.queuePrefix,
  dataDir: SHARED_SETTINGS.dataDir,
  host: setting(
    'HOST',
    z.string().min(1).default('127.0.0.1'),
    'Address that the HTTP interface listens on. Directories are accepted as sources on the loopback interface only.',
  ),
  port: setting('PORT', wholeNumber(0, 65_535).default(8080), 'Port of the HTTP interface; 0 takes a free one.'),
  allowedHosts: setting(
    'ALLOWED_HOSTS',
    z
      .string()
      .default('')
      .transform((list) => list.split(',').flatMap((host) => host.trim() || [])),
    'Further values of the Host header that are answered, comma-separated, beside the loopback ones.',
  ),
};
