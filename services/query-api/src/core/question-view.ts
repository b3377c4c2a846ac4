import type { z } from 'zod';
import type {
  questionGrounded,
  questionRetrieved,
  questionTokens,
  QuestionView,
} from '@sightline/shared/contracts/question-http';
import type { AnswerImage, Citation, QuestionEventData, QuestionResult } from '@sightline/shared/contracts/questions';
import type { Question } from '@sightline/shared/ports/question-ledger';

/** Statuses after which nothing but `stale` changes. */
export const FINAL_QUESTION_STATUSES: readonly string[] = ['answered', 'failed', 'cancelled'];

/** Where a question is found. */
export function linksOf(questionId: string): QuestionView['links'] {
  const self = `/v1/questions/${questionId}`;
  return { self, events: `${self}/events` };
}

/** A question as GET answers it, lists hold it and `done` tells it. */
export function questionView(question: Question): QuestionView {
  const { questionId, status, asked, error, result } = question;
  return {
    question_id: questionId,
    status,
    question: asked.question,
    created_at: timeOf(question.createdAt),
    finished_at: question.finishedAt === null ? null : timeOf(question.finishedAt),
    error,
    answer: result?.answer ?? null,
    steps: result?.steps ?? null,
    no_match: result?.noMatch ?? null,
    ...groundedView(questionId, result ?? { citations: [], boxes: [], images: [], claims: [] }),
    stale: question.staleAt !== null,
    model: result?.model ?? null,
    prompt_version: result?.promptVersion ?? null,
    warnings: result?.warnings ?? [],
    timings_ms: result && timingsView(result.timingsMs),
    usage: result && {
      prompt_tokens: result.usage.promptTokens,
      completion_tokens: result.usage.completionTokens,
      images: result.usage.images,
    },
    metadata: asked.metadata,
    links: linksOf(questionId),
  };
}

type ProgressEvent = Exclude<QuestionEventData, { type: 'done' }>;

/** `data` of a server-sent event that comes before `done`. */
export function questionEventView(
  questionId: string,
  event: ProgressEvent,
): z.infer<typeof questionRetrieved> | z.infer<typeof questionTokens> | z.infer<typeof questionGrounded> {
  const { attempt } = event;
  if (event.type === 'tokens') return { attempt, text: event.text };
  if (event.type === 'citations') return { attempt, ...groundedView(questionId, event) };
  const { noMatch, degraded } = event;
  const sources = event.sources.map((source) => ({
    citation_id: source.citationId,
    asset_id: source.assetId,
    item_id: source.itemId,
    title: source.title,
    relevance_score: source.relevanceScore,
  }));
  return { attempt, sources, no_match: noMatch, degraded };
}

function groundedView(questionId: string, grounded: Pick<QuestionResult, 'citations' | 'boxes' | 'images' | 'claims'>) {
  return {
    citations: grounded.citations.map(citationView),
    boxes: grounded.boxes,
    images: grounded.images.map((image) => imageView(questionId, image)),
    claims: grounded.claims.map(({ text, citationIds, verdict, score }) => ({
      text,
      citation_ids: citationIds,
      verdict,
      score,
    })),
  };
}

function citationView({ citationId, assetId, itemId, object, title, relevanceScore, quote }: Citation) {
  return {
    citation_id: citationId,
    asset_id: assetId,
    item_id: itemId,
    object,
    title,
    relevance_score: relevanceScore,
    quote,
  };
}

function imageView(questionId: string, { n, source, citationId, widthPx, heightPx, orientation }: AnswerImage) {
  const href = `${linksOf(questionId).self}/images/${n}`;
  return { n, source, citation_id: citationId, href, width_px: widthPx, height_px: heightPx, orientation };
}

function timingsView({ queue, retrieve, prompt, firstToken, generate, ground, total }: QuestionResult['timingsMs']) {
  return { queue, retrieve, prompt, first_token: firstToken, generate, ground, total };
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
