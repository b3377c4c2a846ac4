import { ENGINE_SETTINGS } from '@sightline/shared/runtime/engine-settings';
import { SHARED_SETTINGS, duration, healthPort, setting, wholeNumber } from '@sightline/shared/runtime/config';

/** How questions are answered, wherever that is done. */
export const QUESTION_SETTINGS = {
  answerRetentionDays: setting(
    'ANSWER_RETENTION_DAYS',
    wholeNumber(1, 3_650).default(30),
    'How long questions are kept after they ended, with their pictures, answers and events.',
  ),
  questionGiveUpMs: setting(
    'QUESTION_GIVE_UP',
    duration('1m', '7d').default(6 * 3_600_000),
    'How long a question may wait for what is away (the model server, the index, a store) before it fails with the code of that. Default: `6h`.',
  ),
};

export const WEBHOOK_SETTINGS = {
  webhookLogRetentionDays: setting(
    'WEBHOOK_LOG_RETENTION_DAYS',
    wholeNumber(1, 365).default(30),
    'How long deliveries of webhooks stay in their log, and can be replayed, once they are delivered or given up.',
  ),
};

export const SETTINGS = {
  redisUrl: SHARED_SETTINGS.redisUrl,
  ...ENGINE_SETTINGS,
  ...QUESTION_SETTINGS,
  ...WEBHOOK_SETTINGS,
  healthHost: SHARED_SETTINGS.healthHost,
  healthPort: healthPort(8083),
};
