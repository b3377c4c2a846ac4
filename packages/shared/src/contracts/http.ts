import { z } from 'zod';
import { ERRORS } from '../runtime/errors.ts';
import { keyId, keyName, scope } from './api-key.ts';
import { filter } from './filter.ts';
import { pictureAddresses } from './picture-address.ts';
import { attributes, itemId, recordFields, source, storableText } from './records.ts';

/**
 * The HTTP interface: one schema for the server's parsing, its answers, `/openapi.json` and the command-line clients.
 * snake_case, times in RFC 3339, durations with their unit in the name.
 */

const time = z.iso.datetime();
const errorCode = z.enum(Object.keys(ERRORS) as [keyof typeof ERRORS]);

/** RFC 9457 problem details. `code` is API, `detail` is for people, `errors` names each offending field of a bad request. */
export const problem = z
  .strictObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: errorCode,
    detail: z.string().optional(),
    trace_id: z.string(),
    errors: z.array(z.strictObject({ field: z.string(), message: z.string() })).optional(),
  })
  .meta({ id: 'Problem', description: 'RFC 9457 problem details' });
export type Problem = z.infer<typeof problem>;

// Ingestions.

export const ingestionRequest = z
  .strictObject({
    source,
    dry_run: z.boolean().default(false).describe('List and count only: nothing is fetched, encoded or written.'),
  })
  .meta({ id: 'IngestionRequest' });
export type IngestionRequest = z.input<typeof ingestionRequest>;

const ingestionStatus = z.enum(['planning', 'running', 'paused', 'completed', 'failed', 'cancelled']);
const ingestionLinks = z.strictObject({
  self: z.string(),
  failures: z.string(),
  events: z.string(),
  report: z.string().nullable().describe('Once it is over.'),
});

export const ingestionAccepted = z
  .strictObject({ ingestion_id: z.string(), status: ingestionStatus, links: ingestionLinks })
  .meta({ id: 'IngestionAccepted' });
export type IngestionAccepted = z.infer<typeof ingestionAccepted>;

export const ingestionView = z
  .strictObject({
    ingestion_id: z.string(),
    status: ingestionStatus,
    reason: z.string().nullable().describe('Why it is paused or failed, or what it waits for.'),
    hold: z
      .enum(['user', 'failures'])
      .nullable()
      .describe('Who paused it: a request, or a storm of failures. Only a resume lets it go. Null: it goes on by itself.'),
    source,
    dry_run: z.boolean().describe('It only listed and counted.'),
    counts: z.strictObject({ listed: z.int(), indexed: z.int(), unchanged: z.int(), duplicate: z.int(), failed: z.int() }),
    images_per_second: z
      .number()
      .nullable()
      .describe('Objects dealt with a second, over the last half minute where it was watched, else over the whole run.'),
    eta_seconds: z.number().nullable().describe('Null while the source is still being listed, and once it is over.'),
    estimate: z
      .strictObject({
        bytes: z.int(),
        duplicates: z
          .int()
          .nullable()
          .describe('Objects whose eTag and size another of the listing has; null for directories, whose eTags do not tell.'),
        seconds: z
          .number()
          .nullable()
          .describe("At the rate of the stack's ingestions of the last week; null where there are none."),
      })
      .nullable()
      .describe('Of a dry run: what ingesting it would take.'),
    created_at: time,
    finished_at: time.nullable(),
    links: ingestionLinks,
  })
  .meta({ id: 'Ingestion' });
export type IngestionView = z.infer<typeof ingestionView>;

export const resumeRequest = z
  .strictObject({
    accept_failures: z
      .boolean()
      .default(false)
      .describe('Of one that a storm of failures paused: such failures are counted from now on, and pause it no more.'),
  })
  .nullish()
  .meta({ id: 'ResumeRequest' });

export const ingestionListQuery = z.strictObject({
  status: ingestionStatus.optional(),
  limit: z.coerce.number().int().min(1).max(100).default(20),
});
export const ingestionList = z.strictObject({ ingestions: z.array(ingestionView) }).meta({ id: 'IngestionList' });
export type IngestionList = z.infer<typeof ingestionList>;

export const ingestionParams = z.strictObject({ ingestion_id: z.string().min(1).max(64) });

export const failuresQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  cursor: z.string().max(512).optional(),
});
export const failurePage = z
  .strictObject({
    failures: z.array(
      z.strictObject({ key: z.string(), code: errorCode, reason: z.string(), attempts: z.int(), last_attempt_at: time }),
    ),
    next_cursor: z.string().nullable(),
  })
  .meta({ id: 'FailurePage' });
export type FailurePage = z.infer<typeof failurePage>;

// Search.

/** Legs that a search can ask for more or fewer candidates of, and weigh. */
const perLeg = <T extends z.ZodType>(value: T) =>
  z.strictObject({ image: value.optional(), text: value.optional(), keywords: value.optional() });

export const searchRequest = z
  .strictObject({
    query: z.string().max(2_000).overwrite(storableText).optional().describe('Words.'),
    image: z
      .union([
        z.strictObject({ data: z.string().startsWith('data:image/').describe('A picture as a base64 data URL.') }),
        z.strictObject({ asset_id: z.uuid().describe('A picture of the index; it is left out of its own results.') }),
      ])
      .optional(),
    mode: z.enum(['hybrid', 'text', 'visually_similar']).default('hybrid'),
    alpha: z.number().min(0).max(1).default(0.7).describe('Weight of the visual signals when there are words and a picture.'),
    k: perLeg(z.int().min(1).max(1_000)).optional().describe('Candidates of each leg; 15 for words, 20 with a picture.'),
    weights: perLeg(z.number().min(0).max(100))
      .optional()
      .describe('Weights of the legs in the reciprocal rank fusion of a search by words.'),
    limit: z.int().min(1).max(100).default(5),
    cursor: z.string().max(512).optional(),
    filter: filter.optional(),
    min_score: z.number().min(0).max(1).optional().describe('Leaves out results of a lower relevance_score.'),
    group_by: z.enum(['item', 'asset']).default('item'),
    explain: z.boolean().default(false),
  })
  .refine((r) => (r.query !== undefined && r.query.trim() !== '') || r.image !== undefined, {
    message: 'a search needs words, a picture, or both',
    path: ['query'],
  })
  .meta({ id: 'SearchRequest' });
export type SearchRequest = z.input<typeof searchRequest>;
export type ParsedSearchRequest = z.output<typeof searchRequest>;

const legExplanation = z.strictObject({
  rank: z.int().nullable().describe('From 1 within the leg; null when the leg did not list it.'),
  score: z
    .number()
    .nullable()
    .describe(
      'Cosine, or BM25 for keywords; null where the point has nothing to compare. With API keys the score of keywords is not told: it weighs words by how rare they are among all tenants.',
    ),
});

export const explanation = z
  .strictObject({
    image: legExplanation.describe('The visual space: the picture when there is one, else the words carried into it.'),
    words: legExplanation.optional().describe('With a picture and words: the words carried into the visual space.'),
    text: legExplanation,
    keywords: legExplanation,
    alignment: z
      .number()
      .nullable()
      .describe(
        "Softmax over the candidates of the words' cosine in the visual space (the picture's, without words), with the model's logit scale.",
      ),
    code: z.boolean().describe('A code of the query stands exactly in the record.'),
    named: z.boolean().describe('A noun and number of the query ("problem 480") stand so in the title.'),
  })
  .meta({ id: 'Explanation' });
export type Explanation = z.infer<typeof explanation>;

export const searchResult = z
  .strictObject({
    citation_id: z.string(),
    relevance_score: z.number().min(0).max(1).describe('Calibrated probability that this answers the query.'),
    asset_id: z.string(),
    item_id: z.string().nullable(),
    object: z.strictObject({ bucket: z.string(), key: z.string() }).nullable(),
    title: z.string(),
    text: z.string(),
    attributes,
    explain: explanation.optional(),
  })
  .meta({ id: 'SearchResult' });
export type SearchResult = z.infer<typeof searchResult>;

export const searchResponse = z
  .strictObject({
    results: z.array(searchResult),
    no_match: z.boolean().describe('Nothing is good enough: what is listed is merely the nearest.'),
    degraded: z.boolean().describe('No encoder answered: keywords alone were searched.'),
    next_cursor: z.string().nullable(),
    warnings: z.array(z.string()).describe('Each a code, a colon, and what it means.'),
    timings_ms: z.strictObject({ encode: z.number(), index: z.number(), fuse: z.number(), total: z.number() }),
    encoder: z.strictObject({ image: z.string(), text: z.string() }).describe('Fingerprints.'),
  })
  .meta({ id: 'SearchResponse' });
export type SearchResponse = z.infer<typeof searchResponse>;

// Assets and items.

export const assetParams = z.strictObject({ asset_id: z.uuid() });
export const itemParams = z.strictObject({ item_id: itemId });
const flag = z.enum(['true', 'false', '1', '0']).optional();
export const assetQuery = z.strictObject({ with_vectors: flag });
export const assetImageQuery = z.strictObject({ width: z.coerce.number().int().min(1).max(4096).default(1024) });

export const assetView = z
  .strictObject({
    asset_id: z.string(),
    kind: z.enum(['picture', 'passage']),
    object: z.strictObject({ bucket: z.string(), key: z.string(), etag: z.string().nullable() }).nullable(),
    sha256: z.string().nullable(),
    size_bytes: z.int().nullable(),
    width_px: z.int().nullable(),
    height_px: z.int().nullable(),
    records: z.array(z.strictObject({ item_id: z.string(), title: z.string(), text: z.string(), attributes })),
    passage_no: z.int(),
    has_image: z.boolean(),
    has_text: z.boolean(),
    image_version: z.int(),
    record_version: z.int(),
    indexed_at: time,
    encoder: z.strictObject({ image: z.string(), text: z.string() }),
    vectors: z.strictObject({ image: z.array(z.number()).optional(), text: z.array(z.number()).optional() }).optional(),
  })
  .meta({ id: 'Asset' });
export type AssetView = z.infer<typeof assetView>;

export const itemRequest = z.strictObject({ ...recordFields, images: pictureAddresses }).meta({ id: 'ItemRequest' });
export type ItemRequest = z.input<typeof itemRequest>;

export const itemAccepted = z
  .strictObject({ item_id: z.string(), status: z.literal('accepted') })
  .meta({ id: 'ItemAccepted', description: 'It is written down, and shows within seconds.' });

export const itemView = z
  .strictObject({
    item_id: z.string(),
    title: z.string(),
    text: z.string().describe('Its passages, one a line.'),
    attributes,
    pictures: z.array(
      z.strictObject({
        asset_id: z.string(),
        object: z.strictObject({ bucket: z.string(), key: z.string() }),
        indexed: z.boolean().describe('False while it is not in the store, or cannot be encoded.'),
      }),
    ),
    pushed: z.boolean().describe('The record came by PUT or from the topic; false: from a manifest.'),
    indexed_at: time,
  })
  .meta({ id: 'Item' });
export type ItemView = z.infer<typeof itemView>;

export const removal = z
  .strictObject({
    removed: z.array(z.string()).describe('Asset ids.'),
    detached: z.array(z.string()).describe('Pictures that stay for other items, without this one.'),
  })
  .meta({ id: 'Removal' });
export type Removal = z.infer<typeof removal>;

// API keys and tenants.

const DAYS_MOST = 3_650;
export const apiKeyParams = z.strictObject({ key_id: keyId });
export const apiKeyRequest = z
  .strictObject({
    name: keyName,
    scopes: z.array(scope).min(1).max(8),
    expires_in_days: z.number().positive().max(DAYS_MOST).optional().describe('It never expires when left out.'),
  })
  .meta({ id: 'ApiKeyRequest' });
export type ApiKeyRequest = z.input<typeof apiKeyRequest>;

export const apiKeyRotation = z
  .strictObject({
    overlap_seconds: z
      .int()
      .min(0)
      .max(30 * 24 * 3_600)
      .default(24 * 3_600)
      .describe('How long the old key still works.'),
  })
  .meta({ id: 'ApiKeyRotation' });

export const apiKeyView = z
  .strictObject({
    key_id: z.string(),
    tenant: z.string(),
    name: z.string(),
    scopes: z.array(scope),
    created_at: time,
    expires_at: time.nullable(),
    revoked_at: time.nullable(),
    last_used_at: time.nullable().describe('To the minute.'),
  })
  .meta({ id: 'ApiKey' });
export type ApiKeyView = z.infer<typeof apiKeyView>;

export const apiKeyIssued = z
  .strictObject({ key: apiKeyView, secret: z.string().describe('Told this once: only its hash is kept.') })
  .meta({ id: 'ApiKeyIssued' });
export const apiKeyList = z.strictObject({ keys: z.array(apiKeyView) }).meta({ id: 'ApiKeyList' });

export const tenantDeletionQuery = z.strictObject({
  confirm: z.string().max(64).describe("The tenant's name: everything of it goes for good."),
});
export const tenantDeletion = z
  .strictObject({
    tenant: z.string(),
    cancelled_ingestions: z.int().describe('Those that were still going.'),
    cancelled_questions: z.int().describe('Those that were not answered yet.'),
    points: z.int().describe('Of the index, tombstones among them.'),
    ingestions: z.int(),
    failures: z.int(),
    api_keys: z.int(),
    stored_objects: z
      .strictObject({ queries: z.int(), questions: z.int(), thumbnails: z.int(), reports: z.int() })
      .describe("Of the stack's own bucket; the sources are not touched."),
  })
  .meta({ id: 'TenantDeletion' });
export type TenantDeletion = z.infer<typeof tenantDeletion>;

// The index and the service itself.

export const indexView = z
  .strictObject({
    assets: z.int(),
    tombstones: z.int(),
    encoder: z.strictObject({ image: z.string(), text: z.string() }),
    calibration: z.strictObject({
      fitted: z.boolean().describe('False: cautious built-in values are in use; run `npm run calibrate`.'),
      thresholds: z.strictObject({ words: z.number(), picture: z.number(), both: z.number(), keywords: z.number() }),
    }),
  })
  .meta({ id: 'Index' });
export type IndexView = z.infer<typeof indexView>;

export const health = z.strictObject({ status: z.literal('ok') }).meta({ id: 'Health' });
