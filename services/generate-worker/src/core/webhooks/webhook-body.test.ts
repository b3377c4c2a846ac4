import { expect, test } from '@jest/globals';
import { MAX_WEBHOOK_BODY_BYTES } from '@sightline/shared/contracts/webhooks';
import fc from 'fast-check';
import { webhookBody } from './webhook-body.ts';

const AT = Date.parse('2026-03-01T12:00:00Z');
const answered = (more: object) => ({
  type: 'question.answered' as const,
  at: AT,
  data: JSON.stringify({ question_id: 'q-1', status: 'answered', citations: [], ...more }),
});

test('type, time and data, with the sequence number of the delivery', () => {
  expect(webhookBody(answered({ answer: 'AM4 [1].' }), 7)).toBe(
    '{"type":"question.answered","timestamp":"2026-03-01T12:00:00.000Z","data":{"question_id":"q-1","status":"answered","citations":[],"answer":"AM4 [1].","sequence":7}}',
  );
});

test('what would be too large carries ids, status and as much of the answer as fits, and is as long as allowed', () => {
  const answer = 'a "quoted" line\n'.repeat(1_500);
  const body = webhookBody(answered({ answer, metadata: { order: '7' } }), 3);
  const { data } = JSON.parse(body);
  expect(Object.keys(data).sort()).toEqual(['answer', 'question_id', 'sequence', 'status', 'truncated']);
  expect(data).toMatchObject({ question_id: 'q-1', status: 'answered', sequence: 3, truncated: true });
  expect(answer.startsWith(data.answer)).toBe(true);
  // One character more, at most two bytes of JSON here, would not fit.
  expect(Buffer.byteLength(body)).toBeLessThanOrEqual(MAX_WEBHOOK_BODY_BYTES);
  expect(Buffer.byteLength(body)).toBeGreaterThan(MAX_WEBHOOK_BODY_BYTES - 2);
});

test('a short answer under much else is whole', () => {
  const { data } = JSON.parse(webhookBody(answered({ answer: 'AM4.', quotes: 'x'.repeat(30_000) }), 1));
  expect(data).toEqual({ question_id: 'q-1', status: 'answered', answer: 'AM4.', truncated: true, sequence: 1 });
});

test.each([
  ['question.failed', { question_id: 'q-1', status: 'failed' }],
  ['answer.stale', { question_id: 'q-1', asset_id: 'a-1', because: 'gone' }],
  ['ingestion.completed', { ingestion_id: 'i-1', status: 'completed' }],
] as const)('%s keeps what says what happened to whom', (type, kept) => {
  const data = JSON.stringify({ ...kept, metadata: { much: '目'.repeat(8_000) } });
  const body = webhookBody({ type, at: AT, data }, 2);
  expect(JSON.parse(body).data).toEqual({ ...kept, truncated: true, sequence: 2 });
});

test('never above the limit, whatever the text; never half a character; the same each time', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }),
      fc.integer({ min: 1, max: 4_000 }),
      (piece, times) => {
        const message = answered({ answer: piece.repeat(times).slice(0, 40_000) });
        const body = webhookBody(message, 1);
        expect(Buffer.byteLength(body)).toBeLessThanOrEqual(MAX_WEBHOOK_BODY_BYTES);
        expect(Buffer.from(body).toString()).toBe(body);
        expect(webhookBody(message, 1)).toBe(body);
      },
    ),
    { numRuns: 60 },
  );
});
