import { z } from 'zod';

/**
 * Every job that crosses a process boundary. Payloads carry ids and keys, never bytes; a producer parses before it adds, a
 * worker parses before it works. A new field is optional, with the condition under which that ends.
 */
export const JOBS = {
  /** Plan an ingestion: list its source and cut it into chunks. */
  plan: {
    queue: 'ingest',
    schema: z.strictObject({
      tenant: z.string(),
      ingestionId: z.string(),
      traceId: z.string(),
      /** Adds what is owed to the queue again, after a pause; plans nothing. Optional for as long as there are other plan jobs. */
      redrive: z.literal(true).optional(),
    }),
    attempts: 5,
  },
  /** Compare a tenant's sources with the index; what was asked for is read from the ledger. */
  audit: {
    queue: 'audit',
    schema: z.strictObject({ tenant: z.string(), auditId: z.string(), traceId: z.string() }),
    attempts: 5,
  },
  /** A schedule's turn: an audit of each tenant that has sources becomes due. */
  'audit-due': {
    queue: 'audit-due',
    schema: z.strictObject({ repair: z.boolean(), everyMs: z.int().positive() }),
    attempts: 5,
  },
  /** Encode one chunk of an ingestion; the chunk's references are read from the ledger. */
  encode: {
    queue: 'encode',
    schema: z.strictObject({
      tenant: z.string(),
      ingestionId: z.string(),
      chunkNo: z.int().nonnegative(),
      /** The pack's fingerprints that the vectors are for; a worker that serves another pack hands the job back. */
      fingerprints: z.strictObject({ image: z.string(), text: z.string() }),
      traceId: z.string(),
    }),
    attempts: 8,
  },
  /** Bring the index in step with what has changed; the changes are taken from the ledger, some at a time. */
  'encode-changes': {
    queue: 'encode-changes',
    schema: z.strictObject({
      tenant: z.string(),
      fingerprints: z.strictObject({ image: z.string(), text: z.string() }),
      traceId: z.string(),
    }),
    attempts: 5,
  },
  /** Encode a query's words and picture; the vectors are the job's result. */
  'encode-query': {
    queue: 'encode-query',
    schema: z.strictObject({
      tenant: z.string(),
      fingerprints: z.strictObject({ image: z.string(), text: z.string() }),
      query: z.string().optional(),
      /** A text as the index holds it, for the text space. Optional for as long as queries have none. */
      passage: z.string().optional(),
      /** Key in the system bucket. */
      pictureKey: z.string().optional(),
      traceId: z.string(),
      /** Unix milliseconds after which nobody waits for the answer. */
      expiresAt: z.int(),
    }),
    attempts: 1,
    /** While the index is migrated, workers of two packs share this queue, and somebody waits for the answer. */
    handBackMs: 15,
  },
  /** Answer a question; what was asked is read from the ledger. */
  answer: {
    queue: 'answer',
    schema: z.strictObject({ tenant: z.string(), questionId: z.string(), traceId: z.string() }),
    attempts: 8,
  },
  /** Send a delivery that is due; what and where to is read from the ledger. */
  webhook: {
    queue: 'webhook',
    schema: z.strictObject({ tenant: z.string(), deliveryId: z.string() }),
    attempts: 3,
  },
} as const satisfies Record<string, { queue: string; schema: z.ZodType; attempts: number; handBackMs?: number }>;

export type JobName = keyof typeof JOBS;
export type JobData<N extends JobName> = z.infer<(typeof JOBS)[N]['schema']>;

/** Result of `encode-query`. Vectors are L2-normalised, as number arrays because job results are JSON. */
export const encodeQueryResult = z.strictObject({
  /** The query's words in the visual space; absent without words, or when the pack does not know their language. */
  wordsInImageSpace: z.array(z.number()).optional(),
  wordsInTextSpace: z.array(z.number()).optional(),
  pictureInImageSpace: z.array(z.number()).optional(),
  passageInTextSpace: z.array(z.number()).optional(),
  logitScale: z.number(),
  warnings: z.array(z.string()),
  encodeMs: z.number(),
});
export type EncodeQueryResult = z.infer<typeof encodeQueryResult>;

/**
 * BullMQ priorities: lower is sooner. Lanes share one queue per kind of work; a lane's places follow its base, so that lanes do
 * not meet. Jobs from before there were places (1, 10, 100) go first, and count as interactive.
 */
export const LANE_PRIORITY = { interactive: 1, event: 1_001, bulk: 2_001 } as const;
export type Lane = keyof typeof LANE_PRIORITY;

/** Places within a lane, from 0. */
export const LANE_PLACES = 1_000;
