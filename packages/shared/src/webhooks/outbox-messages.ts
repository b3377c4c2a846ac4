import { makeEvent, type EventOf, type SightlineEvent } from '../contracts/events.ts';
import type { QuestionResult } from '../contracts/questions.ts';
import type { ErrorCode } from '../runtime/errors.ts';
import type { Question } from '../ports/question-ledger.ts';
import type { OutboxMessage } from '../ports/webhook-ledger.ts';

/** As the event's schema bounds them. */
const MAX_ANSWER_CHARS = 40_000;
const MAX_DETAIL_CHARS = 2_000;

/**
 * What is told of a question's end, of an answer that went stale and of an ingestion's end: the event for the event log, and `data` for
 * webhooks. The message's id is the event's, made from whom it is of alone: what is told twice is told once. Times in Unix milliseconds.
 */
export function answeredMessage(question: Question, result: QuestionResult, at: number): OutboxMessage {
  const { questionId, asked, createdAt } = question;
  const common = { question_id: questionId, status: 'answered' as const, no_match: result.noMatch, metadata: asked.metadata };
  const made = { model: result.model, prompt_version: result.promptVersion, created_at: isoOf(createdAt) };
  const event = eventOf(question, 'question.answered', at, {
    ...common,
    ...made,
    answer: cut(result.answer, MAX_ANSWER_CHARS),
    citations: result.citations.map((one) => ({
      citation_id: one.citationId,
      asset_id: one.assetId,
      item_id: one.itemId,
    })),
  });
  return messageOf(event, 'question.answered', asked.webhook, {
    ...common,
    ...made,
    answer: result.answer,
    steps: result.steps,
    citations: result.citations.map((one) => ({
      citation_id: one.citationId,
      asset_id: one.assetId,
      item_id: one.itemId,
      object: one.object,
      title: one.title,
      relevance_score: one.relevanceScore,
      quote: one.quote,
    })),
    boxes: result.boxes,
    images: result.images.map((one) => ({
      n: one.n,
      source: one.source,
      citation_id: one.citationId,
      href: `/v1/questions/${questionId}/images/${one.n}`,
      width_px: one.widthPx,
      height_px: one.heightPx,
      orientation: one.orientation,
    })),
    claims: result.claims.map(({ text, citationIds, verdict, score }) => ({ text, citation_ids: citationIds, verdict, score })),
    warnings: result.warnings,
    stale: false,
    finished_at: isoOf(at),
  });
}

export function failedMessage(question: Question, error: { code: ErrorCode; detail: string | null }, at: number): OutboxMessage {
  const { questionId, asked, createdAt } = question;
  const data = {
    question_id: questionId,
    status: 'failed' as const,
    error: { code: error.code, detail: error.detail === null ? null : cut(error.detail, MAX_DETAIL_CHARS) },
    metadata: asked.metadata,
    created_at: isoOf(createdAt),
  };
  const event = eventOf(question, 'question.failed', at, data);
  return messageOf(event, 'question.failed', asked.webhook, { ...data, finished_at: isoOf(at) });
}

/** Told once of an answer, whichever of its sources was the first. */
export function staleMessage(
  question: Question,
  source: { assetId: string; because: 'changed' | 'gone' },
  at: number,
): OutboxMessage {
  const { questionId, asked } = question;
  const data = { question_id: questionId, asset_id: source.assetId, because: source.because, metadata: asked.metadata };
  return messageOf(eventOf(question, 'answer.stale', at, data), 'answer.stale', asked.webhook, data);
}

/** Of an `ingestion.completed` that whoever ends the ingestion publishes by itself. */
export function ingestionMessage(event: SightlineEvent): OutboxMessage {
  return { ...messageOf(event, 'ingestion.completed', null, event.data), event: null };
}

function eventOf<T extends 'question.answered' | 'question.failed' | 'answer.stale'>(
  { questionId, tenant, traceId }: Question,
  type: T,
  at: number,
  data: EventOf<T>['data'],
): SightlineEvent {
  return makeEvent(type, { service: 'generate-worker', tenant, subject: questionId, version: [], traceId, at, data });
}

function messageOf(event: SightlineEvent, type: OutboxMessage['type'], to: OutboxMessage['to'], data: object): OutboxMessage {
  return {
    messageId: event.id,
    tenant: event.tenant,
    type,
    subject: event.subject,
    at: Date.parse(event.time),
    data: JSON.stringify(data),
    event: JSON.stringify(event),
    to,
  };
}

/** Not through the middle of a character. */
function cut(text: string, maxChars: number): string {
  return text.length <= maxChars ? text : text.slice(0, maxChars).toWellFormed();
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}
