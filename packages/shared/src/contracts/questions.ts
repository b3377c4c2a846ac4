import { z } from 'zod';
import { filter } from './filter.ts';

/**
 * Questions as they are kept and as they cross between query-api and generate-worker. Times in Unix milliseconds.
 *
 * Frames of boxes: `pixels` are whole pixels of the picture as it is stored, before its EXIF orientation is applied; `normalized` is
 * the same box divided by that width and height; `upright` is it normalised in the picture as viewers show it, turned by its
 * orientation. All are [left, top, right, bottom], right and bottom exclusive.
 */

/** At most so many sources are retrieved for a question. */
export const MAX_QUESTION_SOURCES = 20;

/** At most so many pictures can a question ask to have shown: as many as a prompt may hold at all. */
export const MAX_QUESTION_IMAGES = 64;

const box = z.tuple([z.number(), z.number(), z.number(), z.number()]);

/** What the model is asked to do besides: what is absent is the server's default. */
export const sampling = z.strictObject({
  temperature: z.number().min(0).max(2).optional(),
  topP: z.number().gt(0).max(1).optional(),
  maxTokens: z.int().min(1).max(8_192).optional(),
  stop: z.array(z.string().min(1).max(64)).max(4).optional(),
  seed: z.int().min(0).max(2_147_483_647).optional(),
});
export type Sampling = z.infer<typeof sampling>;

/** Where a question's events go: a webhook of the tenant, or an address of this one question with a secret of the asker's. */
export const questionWebhook = z.union([
  z.strictObject({ webhookId: z.string() }),
  z.strictObject({ url: z.string(), secret: z.string() }),
]);
export type QuestionWebhook = z.infer<typeof questionWebhook>;

/** A question as it was asked. */
export const askedQuestion = z.strictObject({
  /** Words; empty where a picture alone asks. */
  question: z.string(),
  /** `key` in the system bucket, or an asset of the index. */
  picture: z.union([z.strictObject({ key: z.string() }), z.strictObject({ assetId: z.string() })]).nullable(),
  filter: filter.nullable(),
  mode: z.enum(['hybrid', 'text', 'visually_similar']),
  alpha: z.number(),
  /** How many sources are retrieved. */
  k: z.int().min(1).max(MAX_QUESTION_SOURCES),
  /** Pictures that the model is shown at most, the question's own among them; null: as many as it takes. Absent in questions of before 0.2; the default can go when those are past their retention. */
  maxImages: z.int().min(0).max(MAX_QUESTION_IMAGES).nullable().default(null),
  showSteps: z.boolean(),
  /** BCP 47; null: that of the question. */
  language: z.string().nullable(),
  /** A LoRA adapter of the model server, by name. */
  adapter: z.string().nullable(),
  sampling,
  /** Null: every webhook of the tenant that wants the event. */
  webhook: questionWebhook.nullable(),
  /** The asker's own, given back as it came. */
  metadata: z.record(z.string(), z.string()),
});
export type AskedQuestion = z.infer<typeof askedQuestion>;

/** A source that the answer names as `[n]`: citation id `c<n>`. */
export const citation = z.strictObject({
  citationId: z.string(),
  assetId: z.string(),
  itemId: z.string().nullable(),
  object: z.strictObject({ bucket: z.string(), key: z.string() }).nullable(),
  title: z.string(),
  relevanceScore: z.number(),
  /** The span of the source's text that carries what is said; null where a picture does. */
  quote: z.string().nullable(),
  /** What the source was when it was read: another is a stale answer. sha256 of the picture's bytes, and digest of the record's title and text. */
  seen: z.strictObject({ sha256: z.string().nullable(), recordDigest: z.string().nullable() }),
});
export type Citation = z.infer<typeof citation>;

export const answerBox = z.strictObject({
  /** The `n` of the answer's image. */
  image: z.int().positive(),
  label: z.string(),
  pixels: box,
  normalized: box,
  upright: box,
});
export type AnswerBox = z.infer<typeof answerBox>;

/** A picture that the model saw and the answer speaks of. */
export const answerImage = z.strictObject({
  n: z.int().positive(),
  source: z.enum(['question', 'citation']),
  citationId: z.string().nullable(),
  /** Where its bytes are; `eTag` of what was read. */
  object: z.strictObject({ bucket: z.string(), key: z.string(), eTag: z.string() }),
  /** As stored. */
  widthPx: z.int().positive(),
  heightPx: z.int().positive(),
  /** EXIF orientation, 1 to 8. */
  orientation: z.int().min(1).max(8),
});
export type AnswerImage = z.infer<typeof answerImage>;

export const claim = z.strictObject({
  text: z.string(),
  citationIds: z.array(z.string()),
  verdict: z.enum(['supported', 'unsupported', 'not_checked']),
  /** Probability that the source supports it; null where nothing was asked that gives one. */
  score: z.number().min(0).max(1).nullable(),
});
export type Claim = z.infer<typeof claim>;

export const questionResult = z.strictObject({
  /** Without marks of boxes; `[n]` names citation `c<n>`. */
  answer: z.string(),
  /** With `show_steps`: the answer's steps in order. */
  steps: z.array(z.string()).nullable(),
  citations: z.array(citation),
  boxes: z.array(answerBox),
  images: z.array(answerImage),
  claims: z.array(claim),
  /** Nothing relevant was retrieved, and the model was not asked. */
  noMatch: z.boolean(),
  /** Null where no model was asked. */
  model: z.string().nullable(),
  promptVersion: z.string(),
  /** Each a code, a colon, and what it means. */
  warnings: z.array(z.string()),
  timingsMs: z.strictObject({
    /** From the asking to the first taking of it. */
    queue: z.number(),
    retrieve: z.number(),
    prompt: z.number(),
    /** To the model's first token. */
    firstToken: z.number().nullable(),
    generate: z.number(),
    ground: z.number(),
    total: z.number(),
  }),
  usage: z.strictObject({ promptTokens: z.int(), completionTokens: z.int(), images: z.int() }),
});
export type QuestionResult = z.infer<typeof questionResult>;

/**
 * What a listener is told while a question is worked, in the order of `seq`. `retrieved` begins every attempt: what was streamed
 * before it is void. `done` is added by who finishes the question; its id is that of the event on webhooks and Kafka.
 */
export const questionEventData = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('retrieved'),
    attempt: z.int().positive(),
    sources: z.array(
      z.strictObject({
        citationId: z.string(),
        assetId: z.string(),
        itemId: z.string().nullable(),
        title: z.string(),
        relevanceScore: z.number(),
      }),
    ),
    noMatch: z.boolean(),
    degraded: z.boolean(),
  }),
  z.strictObject({ type: z.literal('tokens'), attempt: z.int().positive(), text: z.string() }),
  z.strictObject({
    type: z.literal('citations'),
    attempt: z.int().positive(),
    citations: z.array(citation),
    boxes: z.array(answerBox),
    images: z.array(answerImage),
    claims: z.array(claim),
  }),
  z.strictObject({ type: z.literal('done'), status: z.enum(['answered', 'failed', 'cancelled']), eventId: z.string() }),
]);
export type QuestionEventData = z.infer<typeof questionEventData>;
