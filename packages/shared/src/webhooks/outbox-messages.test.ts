import { expect, test } from '@jest/globals';
import { newAsked } from '../../testing/question-builder.ts';
import { makeEvent, parseEvent } from '../contracts/events.ts';
import type { QuestionResult } from '../contracts/questions.ts';
import type { Question } from '../ports/question-ledger.ts';
import { answeredMessage, failedMessage, ingestionMessage, staleMessage } from './outbox-messages.ts';

const AT = Date.parse('2026-03-01T12:00:00Z');

const question: Question = {
  questionId: 'q-1',
  tenant: 'acme',
  traceId: 'trace-1',
  asked: newAsked({ webhook: { webhookId: 'w-1' }, metadata: { order: '7' } }),
  status: 'running',
  createdAt: AT - 5_000,
  startedAt: AT - 4_000,
  finishedAt: null,
  attempts: 1,
  result: null,
  error: null,
  staleAt: null,
};

const result: QuestionResult = {
  answer: 'It fits AM4 [1].',
  steps: null,
  citations: [
    {
      citationId: 'c1',
      assetId: 'a-1',
      itemId: 'cooler-17',
      object: { bucket: 'catalogue', key: 'am4.png' },
      title: 'Cooler',
      relevanceScore: 0.9,
      quote: null,
      seen: { sha256: 'ab', recordDigest: 'cd' },
    },
  ],
  boxes: [{ image: 1, label: 'hole', pixels: [1, 2, 3, 4], normalized: [0.1, 0.2, 0.3, 0.4], upright: [0.1, 0.2, 0.3, 0.4] }],
  images: [
    {
      n: 1,
      source: 'citation',
      citationId: 'c1',
      object: { bucket: 'catalogue', key: 'am4.png', eTag: 'e' },
      widthPx: 10,
      heightPx: 10,
      orientation: 6,
    },
  ],
  claims: [{ text: 'It fits AM4.', citationIds: ['c1'], verdict: 'supported', score: 0.8 }],
  noMatch: false,
  model: 'llava',
  promptVersion: 'v1',
  warnings: [],
  timingsMs: { queue: 1, retrieve: 1, prompt: 1, firstToken: 1, generate: 1, ground: 1, total: 1 },
  usage: { promptTokens: 1, completionTokens: 1, images: 1 },
};

test('a message has the id of its event, which is one that consumers read; made twice it is the same one', () => {
  const error = { code: 'generator_unavailable' as const, detail: null };
  const source = { assetId: 'a-1', because: 'gone' as const };
  for (const make of [
    (at: number) => answeredMessage(question, result, at),
    (at: number) => failedMessage(question, error, at),
    (at: number) => staleMessage(question, source, at),
  ]) {
    const message = make(AT);
    const event = parseEvent(JSON.parse(message.event ?? ''));
    expect(event).toMatchObject({
      id: message.messageId,
      type: message.type,
      tenant: 'acme',
      subject: 'q-1',
      traceid: 'trace-1',
    });
    expect(message).toMatchObject({ tenant: 'acme', subject: 'q-1', at: AT, to: { webhookId: 'w-1' } });
    expect(make(AT + 60_000).messageId).toBe(message.messageId);
  }
  const ids = [answeredMessage(question, result, AT), failedMessage(question, error, AT), staleMessage(question, source, AT)];
  expect(new Set(ids.map(({ messageId }) => messageId)).size).toBe(3);
  expect(answeredMessage({ ...question, tenant: 'other' }, result, AT).messageId).not.toBe(ids[0]?.messageId);
});

test('a webhook is told the answer as GET has it: sources, boxes, pictures by address, claims; nothing of what is inside', () => {
  const data = JSON.parse(answeredMessage(question, result, AT).data);
  expect(data).toMatchObject({
    question_id: 'q-1',
    status: 'answered',
    answer: 'It fits AM4 [1].',
    no_match: false,
    citations: [
      { citation_id: 'c1', asset_id: 'a-1', object: { bucket: 'catalogue', key: 'am4.png' }, relevance_score: 0.9, quote: null },
    ],
    boxes: [{ image: 1, label: 'hole', pixels: [1, 2, 3, 4], normalized: [0.1, 0.2, 0.3, 0.4] }],
    images: [{ n: 1, source: 'citation', citation_id: 'c1', href: '/v1/questions/q-1/images/1' }],
    claims: [{ text: 'It fits AM4.', citation_ids: ['c1'], verdict: 'supported', score: 0.8 }],
    model: 'llava',
    prompt_version: 'v1',
    stale: false,
    metadata: { order: '7' },
    created_at: '2026-03-01T11:59:55.000Z',
    finished_at: '2026-03-01T12:00:00.000Z',
  });
  expect(JSON.stringify(data)).not.toMatch(/seen|sha256|eTag|traceId/);
});

test('an answer longer than an event may be is cut there, not in the middle of a character', () => {
  const answer = `${'x'.repeat(39_999)}😀 and more`;
  const message = answeredMessage(question, { ...result, answer }, AT);
  const event = parseEvent(JSON.parse(message.event ?? ''));
  expect(event?.type === 'question.answered' && event.data.answer.isWellFormed()).toBe(true);
  expect(JSON.parse(message.data).answer).toBe(answer);
});

test('a failure tells its code, a stale answer its source', () => {
  const failed = failedMessage(question, { code: 'generator_timeout', detail: 'x'.repeat(3_000) }, AT);
  expect(JSON.parse(failed.data)).toMatchObject({ question_id: 'q-1', status: 'failed', error: { code: 'generator_timeout' } });
  const stale = staleMessage(question, { assetId: 'a-1', because: 'changed' }, AT);
  expect(JSON.parse(stale.data)).toEqual({ question_id: 'q-1', asset_id: 'a-1', because: 'changed', metadata: { order: '7' } });
});

test("an ingestion's end goes to all webhooks under its event's id, and is not published a second time", () => {
  const event = makeEvent('ingestion.completed', {
    service: 'ingest-worker',
    tenant: 'acme',
    subject: 'i-1',
    version: ['completed', 3],
    traceId: 'trace-1',
    at: AT,
    data: {
      ingestion_id: 'i-1',
      source: { type: 'prefix' },
      dry_run: false,
      counts: { listed: 1, indexed: 1, unchanged: 0, duplicate: 0, failed: 0 },
      reason: null,
      created_at: '2026-03-01T11:00:00.000Z',
      status: 'completed',
    },
  });
  const message = ingestionMessage(event);
  expect(message).toMatchObject({
    messageId: event.id,
    tenant: 'acme',
    subject: 'i-1',
    type: 'ingestion.completed',
    event: null,
    to: null,
  });
  expect(JSON.parse(message.data)).toEqual(event.data);
});
