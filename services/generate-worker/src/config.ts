import { z } from 'zod';
import { ENGINE_SETTINGS } from '@sightline/shared/runtime/engine-settings';
import {
  EGRESS_SETTINGS,
  SHARED_SETTINGS,
  duration,
  healthPort,
  setting,
  urlOf,
  wholeNumber,
  type ConfigOf,
} from '@sightline/shared/runtime/config';
import type { ModelProfile } from './core/generator.ts';
import type { GenerateWorkerConfig } from './service.ts';

const use = z.enum(['auto', 'on', 'off'], 'expected auto, on or off').default('auto');

function number(least: number, most: number, byDefault: number): z.ZodType<number> {
  const expected = `expected a number from ${least} to ${most}`;
  return z
    .string(expected)
    .regex(/^\d{1,3}(\.\d{1,6})?$/, expected)
    .transform(Number)
    .refine((value) => value >= least && value <= most, expected)
    .default(byDefault);
}

/** Where the model is and how it is asked, wherever questions are answered: in a worker of its own or in the embedded stack. */
export const GENERATOR_SETTINGS = {
  vlmBaseUrl: setting(
    'VLM_BASE_URL',
    urlOf('http', 'https').optional(),
    "Address of the model server that answers questions, with its `/v1`: vLLM, or any server of OpenAI's chat protocol. Without it the worker runs one of its own, on the CPU, with VLM_PACK.",
  ),
  vlmPack: setting(
    'VLM_PACK',
    z.string().min(1).default('starter-vlm'),
    'The model pack that is served where VLM_BASE_URL names no server: a directory, or the name of one under models/. What `VLM_*` do not say of the model is read from it.',
  ),
  vlmApiKey: setting('VLM_API_KEY', z.string().min(1).optional(), 'Its key, where it asks for one.', { secret: true }),
  vlmModel: setting(
    'VLM_MODEL',
    z.string().min(1).optional(),
    "The model's name at the server; by default the first that it lists.",
  ),
  vlmMaxImages: setting(
    'VLM_MAX_IMAGES',
    wholeNumber(1, 64).optional(),
    "Pictures that one prompt may hold, the question's among them; by default the pack's, of another server 4. vLLM must allow as many (`--limit-mm-per-prompt`).",
  ),
  vlmImageSidePx: setting(
    'VLM_IMAGE_SIDE',
    wholeNumber(32, 4_096).optional(),
    "Side, in pixels, of the square that pictures are letterboxed to: that of the model's own input; by default the pack's, of another server 384.",
  ),
  vlmBoxFrame: setting(
    'VLM_BOX_FRAME',
    z
      .enum(['square_pixels', 'picture_pixels', 'unit', 'thousand'], 'expected square_pixels, picture_pixels, unit or thousand')
      .optional(),
    'What the model counts its boxes in: pixels of the square it is shown (`square_pixels`), pixels of the upright picture (`picture_pixels`), 0 to 1 (`unit`) or 0 to 1000 (`thousand`) of the square; by default what the pack says, of another server `thousand`.',
  ),
  vlmContextTokens: setting(
    'VLM_CONTEXT_TOKENS',
    wholeNumber(256, 4_194_304).optional(),
    "Tokens that prompt and answer may have together: at most the server's own bound (`--max-model-len`); by default the pack's, of another server 8192.",
  ),
  vlmImageTokens: setting(
    'VLM_IMAGE_TOKENS',
    wholeNumber(1, 65_536).optional(),
    "Tokens that one picture takes of them; by default the pack's, of another server 729.",
  ),
  vlmStructured: setting(
    'VLM_STRUCTURED',
    use,
    'Whether the server holds answers to a JSON schema; `auto`: until it refuses or ignores one.',
  ),
  vlmLogprobs: setting(
    'VLM_LOGPROBS',
    use,
    'Whether the server gives log-probabilities, which claims are checked with; `auto`: until it gives none.',
  ),
  vlmInFlight: setting(
    'VLM_IN_FLIGHT',
    wholeNumber(1, 1_024).optional(),
    "The most requests of this process with the server at once; by default 32, and 2 with its own, which answers one after the other. How many there are follows the server's load.",
  ),
  vlmTemperature: setting('VLM_TEMPERATURE', number(0, 2, 0.3), 'Where the question does not say another.'),
  vlmTopP: setting('VLM_TOP_P', number(0.000001, 1, 0.85), 'Where the question does not say another.'),
  vlmMaxTokens: setting('VLM_MAX_TOKENS', wholeNumber(1, 8_192).default(512), 'The most tokens of an answer, likewise.'),
  vlmStop: setting(
    'VLM_STOP',
    z
      .string()
      .default('<|im_end|>')
      .transform((list) => (list === 'none' ? [] : list.split(',')))
      .pipe(z.array(z.string().min(1).max(64)).max(4, 'expected at most 4 texts, comma-separated, or none')),
    'What ends an answer, comma-separated, or `none`; likewise.',
  ),
  vlmFirstTokenTimeoutMs: setting(
    'VLM_FIRST_TOKEN_TIMEOUT',
    duration('1s', '290s').default(60_000),
    "How long the first token of an answer may take, the server's own queue included.",
  ),
  vlmTokenTimeoutMs: setting(
    'VLM_TOKEN_TIMEOUT',
    duration('1s', '290s').default(20_000),
    'How long each further token may take.',
  ),
  vlmTimeoutMs: setting('VLM_TIMEOUT', duration('1s', '1h').default(180_000), 'How long a whole answer may take.'),
  vlmMetricsUrl: setting(
    'VLM_METRICS_URL',
    urlOf('http', 'https').optional(),
    "vLLM's metrics, which the limit in flight follows. By default `/metrics` beside VLM_BASE_URL; a server without them is not asked again.",
  ),
};

/** How questions are answered, wherever that is done. */
export const QUESTION_SETTINGS = {
  answerRetentionDays: setting(
    'ANSWER_RETENTION_DAYS',
    wholeNumber(1, 3_650).default(30),
    'How long questions are kept after they ended, with their pictures, answers and events.',
  ),
  feedbackRetentionDays: setting(
    'FEEDBACK_RETENTION_DAYS',
    wholeNumber(1, 3_650).default(365),
    'How long questions whose answers were reviewed are kept after they ended, with their pictures, prompts and reviews; ANSWER_RETENTION_DAYS where that is longer.',
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

/** What is taken of a model where neither a setting nor a pack says it: LLaVA-OneVision's figures. */
export const SERVER_PROFILE: Omit<ModelProfile, 'structured' | 'logprobs'> = {
  model: null,
  maxImages: 4,
  imageSidePx: 384,
  boxFrame: 'thousand',
  contextTokens: 8_192,
  tokensPerImage: 729,
};
/** Requests with the server at once. Its own answers one after the other: a second one is ready when the first ends, a third's time to the first token would run out in the queue. */
export const IN_FLIGHT = { server: 32, own: 2 };

/** Of a process that works several things at once, what is prepared while the model answers others. */
const AHEAD = 1.25;
const DAY_MS = 24 * 3_600_000;

/** The settings as the worker takes them. */
export function generateConfigOf(
  config: ConfigOf<typeof GENERATOR_SETTINGS & typeof QUESTION_SETTINGS & typeof WEBHOOK_SETTINGS>,
): Partial<GenerateWorkerConfig> {
  return {
    concurrency: Math.ceil((config.vlmInFlight ?? IN_FLIGHT[config.vlmBaseUrl === undefined ? 'own' : 'server']) * AHEAD),
    answerTokens: config.vlmMaxTokens,
    keepQuestionsMs: config.answerRetentionDays * DAY_MS,
    keepReviewedMs: config.feedbackRetentionDays * DAY_MS,
    keepDeliveriesMs: config.webhookLogRetentionDays * DAY_MS,
    giveUpAfterMs: config.questionGiveUpMs,
  };
}

export const SETTINGS = {
  redisUrl: SHARED_SETTINGS.redisUrl,
  ...ENGINE_SETTINGS,
  ...GENERATOR_SETTINGS,
  ...QUESTION_SETTINGS,
  ...EGRESS_SETTINGS,
  ...WEBHOOK_SETTINGS,
  healthHost: SHARED_SETTINGS.healthHost,
  packDir: SHARED_SETTINGS.packDir,
  healthPort: healthPort(8083),
};
