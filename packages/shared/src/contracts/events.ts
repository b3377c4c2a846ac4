import { v5 as uuidv5 } from 'uuid';
import { z } from 'zod';
import { auditResult } from './audits.ts';

const NAMESPACE = '8d0c4b7e-2a51-5f0e-9c1b-6e3f0a94d7c2';

/** How an event travels: CloudEvents 1.0, structured mode. */
export const EVENT_CONTENT_TYPE = 'application/cloudevents+json; charset=UTF-8';

/** A point can stand for thousands of records; an event names so many of them at most. */
export const MAX_ITEM_IDS = 100;

const object = z
  .object({ bucket: z.string(), key: z.string(), etag: z.string().nullable() })
  .meta({ description: 'The picture in its store; of a local source the bucket is its folder.' });

const asset = {
  asset_id: z.uuid().meta({ description: 'The same for the same bucket and key, or item and passage, for ever.' }),
  kind: z.enum(['picture', 'passage']).meta({ description: "A picture, or a further passage of an item's text." }),
  object: object.nullable().meta({ description: 'Null for passages.' }),
  item_ids: z
    .array(z.string())
    .max(MAX_ITEM_IDS)
    .meta({ description: `The records on it; the first ${MAX_ITEM_IDS} by id.` }),
  item_count: z.int().nonnegative().meta({ description: 'How many records are on it.' }),
  passage_no: z.int().nonnegative().meta({ description: 'Of a passage its place in the text; 0 for pictures.' }),
  ingestion_id: z
    .string()
    .nullable()
    .meta({ description: 'The ingestion that brought it about; null when a change of the source, or a user, did.' }),
  changed_at: z.iso.datetime().optional().meta({
    description:
      'When the source says that it was written, where a change was told of: `time` less this is how long it took to show.',
  }),
};

const indexed = z.object({
  ...asset,
  sha256: z.string().nullable().meta({ description: "Of the picture's bytes, in hexadecimal." }),
  size_bytes: z.int().nonnegative().nullable(),
  width_px: z.int().positive().nullable(),
  height_px: z.int().positive().nullable(),
  has_image: z.boolean().meta({ description: 'Whether it has a vector in the image space.' }),
  has_text: z.boolean().meta({ description: 'Whether it has a vector in the text space.' }),
  image_version: z.int().nonnegative().meta({ description: "Grows with each writing of the picture's half." }),
  record_version: z.int().nonnegative().meta({ description: "Grows with each writing of the records' half." }),
  encoder: z
    .object({ image: z.string(), text: z.string() })
    .meta({ description: 'Fingerprints of what made the vectors: sha256 over weights and preprocessing.' }),
});

const failed = z.object({
  ...asset,
  code: z.string().meta({ description: 'A code of docs/errors.md. New ones are added: be ready for one that you do not know.' }),
  reason: z.string().max(2_000).meta({ description: 'For people.' }),
});

const deleted = z.object({
  ...asset,
  because: z
    .enum(['gone', 'removed', 'failed'])
    .meta({ description: 'The source no longer has it; a user removed it; its new bytes cannot be encoded.' }),
  version: z.int().nonnegative().meta({ description: 'Larger than the versions of all that was written before.' }),
});

const ingestion = {
  ingestion_id: z.string(),
  source: z.looseObject({ type: z.string() }).meta({ description: 'What was ingested, as it was asked for.' }),
  dry_run: z.boolean().meta({ description: 'Only listed and counted.' }),
  counts: z.object({
    listed: z.int().nonnegative(),
    indexed: z.int().nonnegative(),
    unchanged: z.int().nonnegative(),
    duplicate: z.int().nonnegative(),
    failed: z.int().nonnegative(),
  }),
  reason: z.string().max(2_000).nullable().meta({ description: 'Why it failed or stands; null otherwise.' }),
  created_at: z.iso.datetime(),
};

const completed = z.object({
  ...ingestion,
  status: z
    .enum(['completed', 'failed', 'cancelled'])
    .meta({ description: '`completed` also with objects that failed: see counts.failed.' }),
});

const paused = z.object({
  ...ingestion,
  hold: z.enum(['user', 'failures']).nullable().meta({
    description: '`user`, `failures`: goes on when somebody resumes it. Null: held up by what may pass, goes on by itself.',
  }),
});

const audited = z.object({
  audit_id: z.string(),
  status: z.enum(['completed', 'failed']),
  reason: z.string().max(2_000).nullable().meta({ description: 'Why it failed; null otherwise.' }),
  place: z
    .object({ bucket: z.string(), prefix: z.string() })
    .nullable()
    .meta({ description: 'What alone was compared; null for everything.' }),
  clean: z.boolean().nullable().meta({ description: 'Sources and index agree point by point; null where it failed.' }),
  points: z.int().nonnegative().nullable(),
  findings: z
    .object(auditResult.shape.findings.shape)
    .nullable()
    .meta({ description: 'How many differences of each kind; GET /v1/audits/{audit_id}/findings lists them.' }),
  repaired: z.boolean().meta({ description: 'Whether a repair was set going.' }),
  created_at: z.iso.datetime(),
});

const answered = z.object({
  question_id: z.string(),
  status: z.literal('answered'),
  answer: z.string().max(40_000),
  no_match: z.boolean(),
  citations: z.array(z.object({ citation_id: z.string(), asset_id: z.string(), item_id: z.string().nullable() })),
  model: z.string().nullable(),
  prompt_version: z.string(),
  metadata: z.record(z.string(), z.string()),
  created_at: z.iso.datetime(),
});

const unanswered = z.object({
  question_id: z.string(),
  status: z.literal('failed'),
  error: z.object({
    code: z.string().meta({ description: 'A code of docs/errors.md.' }),
    detail: z.string().max(2_000).nullable(),
  }),
  metadata: z.record(z.string(), z.string()),
  created_at: z.iso.datetime(),
});

const stale = z.object({
  question_id: z.string(),
  asset_id: z.string().meta({ description: 'The cited source that changed or went.' }),
  because: z.enum(['changed', 'gone']),
  metadata: z.record(z.string(), z.string()),
});

function event<T extends string, D extends z.ZodType>(type: T, data: D) {
  return z.object({
    specversion: z.literal('1.0'),
    id: z.uuid().meta({ description: 'The same each time the event is delivered: what was seen before can be skipped.' }),
    source: z.string().min(1).max(256).meta({ description: 'The service that tells it.' }),
    type: z.literal(type),
    subject: z.string().min(1).max(256).meta({
      description: "The asset's, the ingestion's, the audit's or the question's id; events of one subject are in order.",
    }),
    time: z.iso.datetime().meta({ description: 'When it happened.' }),
    datacontenttype: z.literal('application/json'),
    dataschema: z.literal(dataSchemaOf(type)),
    tenant: z.string().min(1).max(256).meta({ description: 'Whose it is.' }),
    traceid: z.string().min(1).max(256).meta({ description: 'Of the request or job behind it, as in the logs.' }),
    data,
  });
}

/** Schema version 1. Within it fields are only added; what is not additive becomes a new type, published beside the old one. */
function dataSchemaOf<T extends string>(type: T): `urn:sightline:event:${T}:1` {
  return `urn:sightline:event:${type}:1`;
}

/**
 * Every event that leaves the stack. A producer parses before it publishes, a consumer before it handles; unknown fields are
 * dropped and unknown types skipped, so that an older consumer lives beside a newer producer.
 */
export const EVENTS = {
  'asset.indexed': {
    topic: 'assets',
    summary: 'A picture or passage was written to the index, or its records changed: it is found from now on.',
    schema: event('asset.indexed', indexed),
  },
  'asset.failed': {
    topic: 'assets',
    summary: 'A picture or text could not be indexed, and is not tried again until it changes or a retry is asked for.',
    schema: event('asset.failed', failed),
  },
  'asset.deleted': {
    topic: 'assets',
    summary: 'A picture or passage left the index: it is not found any more.',
    schema: event('asset.deleted', deleted),
  },
  'ingestion.completed': {
    topic: 'ingestions',
    summary: 'An ingestion has ended: completed, failed or cancelled, as its status says. Nothing of it follows.',
    schema: event('ingestion.completed', completed),
  },
  'ingestion.paused': {
    topic: 'ingestions',
    summary: 'An ingestion stands still, with the reason.',
    schema: event('ingestion.paused', paused),
  },
  'audit.completed': {
    topic: 'audits',
    summary: 'An audit has ended: sources and index were compared, or it failed.',
    schema: event('audit.completed', audited),
  },
  'question.answered': {
    topic: 'questions',
    summary: 'A question was answered.',
    schema: event('question.answered', answered),
  },
  'question.failed': {
    topic: 'questions',
    summary: 'A question ended without an answer, with the code of why.',
    schema: event('question.failed', unanswered),
  },
  'answer.stale': {
    topic: 'questions',
    summary: 'A source that an answer cites has changed or gone since; told once of an answer.',
    schema: event('answer.stale', stale),
  },
} as const satisfies Record<string, { topic: string; summary: string; schema: z.ZodType }>;

export type EventType = keyof typeof EVENTS;
export type EventOf<T extends EventType> = z.infer<(typeof EVENTS)[T]['schema']>;
export type SightlineEvent = { [T in EventType]: EventOf<T> }[EventType];

/**
 * An event of a type. `version` tells what happened to one subject apart: equal parts make an equal id, so that publishing again
 * is publishing once to who looks at ids. `at`: Unix milliseconds.
 */
export function makeEvent<T extends EventType>(
  type: T,
  of: {
    service: 'encode-worker' | 'ingest-worker' | 'query-api' | 'generate-worker';
    tenant: string;
    subject: string;
    version: (string | number)[];
    traceId: string;
    at: number;
    data: EventOf<T>['data'];
  },
): SightlineEvent {
  const made = {
    specversion: '1.0',
    id: uuidv5(JSON.stringify([type, of.tenant, of.subject, ...of.version]), NAMESPACE),
    source: `/sightline/${of.service}`,
    type,
    subject: of.subject,
    time: new Date(of.at).toISOString(),
    datacontenttype: 'application/json',
    dataschema: dataSchemaOf(type),
    tenant: of.tenant,
    traceid: of.traceId,
    data: of.data,
  };
  return EVENTS[type].schema.parse(made);
}

const typed = z.looseObject({ specversion: z.literal('1.0'), type: z.string(), id: z.string() });

/** An event as it was read; null for one of a type that this version does not know. Throws ZodError on what is no event. */
export function parseEvent(value: unknown): SightlineEvent | null {
  const { type } = typed.parse(value);
  return isEventType(type) ? EVENTS[type].schema.parse(value) : null;
}

function isEventType(type: string): type is EventType {
  return Object.hasOwn(EVENTS, type);
}

/** Topic of an event; `prefix` separates the stacks that share a cluster. */
export function eventTopic(prefix: string, type: EventType): string {
  return `${prefix}${EVENTS[type].topic}`;
}

/** All topics of events, without their dead-letter topics. */
export function eventTopics(prefix: string): string[] {
  return [...new Set(Object.values(EVENTS).map(({ topic }) => `${prefix}${topic}`))];
}

/** Where a consumer puts what it cannot read. */
export function deadLetterTopic(topic: string): string {
  return `${topic}.dead`;
}

/** A consumer group's name on the broker. */
export function eventGroup(prefix: string, group: string): string {
  return `${prefix}${group}`;
}
