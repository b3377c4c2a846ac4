import { z } from 'zod';
import { ERRORS } from '../runtime/errors.ts';
import { filter } from './filter.ts';
import { MAX_QUESTION_IMAGES, MAX_QUESTION_SOURCES } from './questions.ts';
import { storableText } from './records.ts';

/** What HTTP says of questions. */

const time = z.iso.datetime();
const errorCode = z.enum(Object.keys(ERRORS) as [keyof typeof ERRORS]);
const status = z.enum(['queued', 'running', 'answered', 'failed', 'cancelled']);
const links = z.strictObject({ self: z.string(), events: z.string() });

/** What the asker's own data may hold. */
const metadata = z
  .record(z.string().min(1).max(64).overwrite(storableText), z.string().max(512).overwrite(storableText))
  .refine((entries) => Object.keys(entries).length <= 16, 'at most 16 entries');

export const questionRequest = z
  .strictObject({
    question: z.string().max(2_000).overwrite(storableText).default('').describe('Words.'),
    image: z
      .union([
        z.strictObject({ data: z.string().startsWith('data:image/').describe('A picture as a base64 data URL.') }),
        z.strictObject({
          url: z.string().max(2_048).describe('An https address; it is fetched once, when the question is asked.'),
        }),
        z.strictObject({ asset_id: z.uuid().describe('A picture of the index.') }),
      ])
      .optional(),
    filter: filter.optional(),
    mode: z.enum(['hybrid', 'text', 'visually_similar']).default('hybrid'),
    alpha: z.number().min(0).max(1).default(0.7).describe('Weight of the visual signals when there are words and a picture.'),
    k: z.int().min(1).max(MAX_QUESTION_SOURCES).default(5).describe('Sources that are retrieved and shown to the model.'),
    max_images: z
      .int()
      .min(0)
      .max(MAX_QUESTION_IMAGES)
      .optional()
      .describe(
        "Pictures that the model is shown at most, the question's own among them; as many as the model takes where it is left out. 0: words alone.",
      ),
    show_steps: z.boolean().default(false).describe('Asks for the way to the answer, in numbered steps.'),
    language: z
      .string()
      .regex(/^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$/, 'a language tag such as en or zh-Hans')
      .optional()
      .describe("Of the answer; the question's own where it is left out."),
    adapter: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/, 'the name of an adapter')
      .optional()
      .describe('A LoRA adapter that the model server serves, by name.'),
    temperature: z.number().min(0).max(2).optional(),
    top_p: z.number().gt(0).max(1).optional(),
    max_tokens: z.int().min(1).max(8_192).optional(),
    stop: z.array(z.string().min(1).max(64)).max(4).optional(),
    seed: z.int().min(0).max(2_147_483_647).optional(),
    webhook: z
      .union([
        z.strictObject({ webhook_id: z.string().min(1).max(64) }),
        z.strictObject({
          url: z.string().max(2_048),
          secret: z.string().regex(/^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/, 'whsec_ and 24 to 64 bytes in base64'),
        }),
      ])
      .optional()
      .describe(
        "Who is told, instead of all the tenant's webhooks that want the event: one of them, or an address of this question's own.",
      ),
    metadata: metadata.default({}).describe('Given back as it came.'),
  })
  .refine((r) => r.question.trim() !== '' || r.image !== undefined, {
    message: 'a question needs words, a picture, or both',
    path: ['question'],
  })
  .refine((r) => r.mode !== 'text' || r.question.trim() !== '', { message: 'the mode "text" needs words', path: ['question'] })
  .refine((r) => r.mode !== 'visually_similar' || r.image !== undefined || r.question.trim() !== '', {
    message: 'the mode "visually_similar" needs a picture or words',
    path: ['image'],
  })
  .meta({ id: 'QuestionRequest' });
export type QuestionRequest = z.input<typeof questionRequest>;
export type ParsedQuestionRequest = z.output<typeof questionRequest>;

/** The header of a question that may be sent again: the same question of the same key is asked once. */
export const questionHeaders = z.looseObject({
  'idempotency-key': z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/, 'at most 255 visible characters')
    .optional(),
});

export const questionAccepted = z.strictObject({ question_id: z.string(), status, links }).meta({ id: 'QuestionAccepted' });
export type QuestionAccepted = z.infer<typeof questionAccepted>;

export const questionParams = z.strictObject({ question_id: z.string().min(1).max(64) });
export const questionImageParams = z.strictObject({
  question_id: z.string().min(1).max(64),
  n: z.coerce.number().int().min(1).max(100),
});
export const questionImageQuery = z.strictObject({ width: z.coerce.number().int().min(64).max(2048).default(2048) });

const box = z.tuple([z.number(), z.number(), z.number(), z.number()]);

const citationView = z.strictObject({
  citation_id: z.string().describe('`c1` is what the answer calls `[1]`.'),
  asset_id: z.string(),
  item_id: z.string().nullable(),
  object: z.strictObject({ bucket: z.string(), key: z.string() }).nullable(),
  title: z.string(),
  relevance_score: z.number(),
  quote: z.string().nullable().describe("The span of the source's text that carries what is said; null where its picture does."),
});

const boxView = z.strictObject({
  image: z.int().describe('`n` of the picture.'),
  label: z.string(),
  normalized: box.describe('`pixels` divided by width and height.'),
  pixels: box.describe(
    '[left, top, right, bottom] in whole pixels of the picture as stored, before its EXIF orientation is applied.',
  ),
  upright: box.describe('Normalised, in the picture as viewers show it, turned by its EXIF orientation.'),
});

const imageView = z.strictObject({
  n: z.int(),
  source: z.enum(['question', 'citation']),
  citation_id: z.string().nullable(),
  href: z.string().describe('The picture with its boxes drawn.'),
  width_px: z.int().describe('As stored.'),
  height_px: z.int(),
  orientation: z.int().describe('EXIF orientation, 1 to 8.'),
});

const claimView = z.strictObject({
  text: z.string(),
  citation_ids: z.array(z.string()),
  verdict: z.enum(['supported', 'unsupported', 'not_checked']),
  score: z.number().nullable(),
});

export const questionView = z
  .strictObject({
    question_id: z.string(),
    status,
    question: z.string(),
    created_at: time,
    finished_at: time.nullable(),
    error: z.strictObject({ code: errorCode, detail: z.string().nullable() }).nullable(),
    answer: z.string().nullable().describe('Without the marks of its boxes; `[1]` names citation `c1`.'),
    steps: z.array(z.string()).nullable(),
    no_match: z.boolean().nullable().describe('Nothing relevant was retrieved; the model was not asked.'),
    citations: z.array(citationView),
    boxes: z.array(boxView),
    images: z.array(imageView),
    claims: z.array(claimView),
    stale: z.boolean().describe('A cited source has changed or gone since.'),
    model: z.string().nullable(),
    prompt_version: z.string().nullable(),
    warnings: z.array(z.string()).describe('Each a code, a colon, and what it means.'),
    timings_ms: z
      .strictObject({
        queue: z.number(),
        retrieve: z.number(),
        prompt: z.number(),
        first_token: z.number().nullable(),
        generate: z.number(),
        ground: z.number(),
        total: z.number(),
      })
      .nullable(),
    usage: z.strictObject({ prompt_tokens: z.int(), completion_tokens: z.int(), images: z.int() }).nullable(),
    metadata: z.record(z.string(), z.string()),
    links,
  })
  .meta({ id: 'Question' });
export type QuestionView = z.infer<typeof questionView>;

export const questionListQuery = z.strictObject({
  status: status.optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
  cursor: z.string().max(512).optional(),
});
export const questionList = z
  .strictObject({ questions: z.array(questionView), next_cursor: z.string().nullable() })
  .meta({ id: 'QuestionList' });

/** `data` of the server-sent events `retrieved`, `tokens` and `citations`; that of `done` is the question as GET answers it. */
export const questionRetrieved = z.strictObject({
  attempt: z.int().describe('A new one makes void what was told before it.'),
  sources: z.array(
    z.strictObject({
      citation_id: z.string(),
      asset_id: z.string(),
      item_id: z.string().nullable(),
      title: z.string(),
      relevance_score: z.number(),
    }),
  ),
  no_match: z.boolean(),
  degraded: z.boolean(),
});
export const questionTokens = z.strictObject({
  attempt: z.int(),
  text: z.string().describe('As the model writes it, marks included; what is final is the answer of `done`.'),
});
export const questionGrounded = z.strictObject({
  attempt: z.int(),
  citations: z.array(citationView),
  boxes: z.array(boxView),
  images: z.array(imageView),
  claims: z.array(claimView),
});
