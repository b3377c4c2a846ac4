import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { MAX_CORRECTED_BOXES, MAX_REVIEWS } from '@sightline/shared/contracts/feedback';
import { feedbackList, feedbackView } from '@sightline/shared/contracts/feedback-http';
import { newId } from '@sightline/shared/contracts/ids';
import type { Scope } from '@sightline/shared/ports/ledger';
import { newAsked, newCitation, newPrompt } from '@sightline/shared/testing/question-builder';
import { createApiKey } from './core/api-keys.ts';
import { openRig, type Rig } from './testing/query-api-rig.ts';
import { QuestionWorker } from './testing/question-worker.ts';

let rig: Rig;
let tenant: string;
let key: { keyId: string; secret: string };

beforeAll(async () => {
  rig = await openRig({ auth: 'keys', requestsPerMinute: { read: 1e6 } });
});
afterAll(() => rig.close());
beforeEach(async () => {
  tenant = `t${randomBytes(4).toString('hex')}`;
  key = await keyOf(tenant, 'ask');
});

async function keyOf(tenant: string, ...scopes: Scope[]): Promise<{ keyId: string; secret: string }> {
  const wanted = { tenant, name: tenant, scopes, expiresAt: null };
  const made = await createApiKey({ ledger: rig.ledger, now: Date.now, randomBytes }, wanted);
  return { keyId: made.key.keyId, secret: made.secret };
}

/** Asked, and answered unless `prompt` is not said. */
async function ask(prompt?: ReturnType<typeof newPrompt> | null, more: Parameters<typeof newAsked>[0] = {}): Promise<string> {
  const questionId = newId();
  await rig.ledger.createQuestion(
    { questionId, tenant, traceId: 't', asked: newAsked({ showSteps: true, adapter: 'a', ...more }), createdAt: Date.now() },
    { maxBacklog: 100 },
  );
  if (prompt === undefined) return questionId;
  const worker = new QuestionWorker(rig.ledger, questionId);
  await worker.take(questionId);
  await worker.answer(tenant, questionId, {}, prompt ?? undefined);
  return questionId;
}

async function send(method: 'GET' | 'POST', url: string, payload?: object, as = key.secret) {
  const headers = { host: 'sightline.example', authorization: `Bearer ${as}` };
  const response = await rig.app.inject({ method, url, headers, ...(payload && { payload }) });
  const isJson = String(response.headers['content-type']).includes('json');
  return {
    status: response.statusCode,
    body: isJson ? response.json() : null,
    headers: response.headers,
    bytes: response.rawPayload,
  };
}
const judge = (questionId: string, said: object, as?: string) => send('POST', `/v1/questions/${questionId}/feedback`, said, as);

test('a review is answered with all of the question, and read again', async () => {
  const questionId = await ask(newPrompt());
  const said = {
    verdict: 'wrong',
    corrected_answer: 'It is the second [1].',
    corrected_boxes: [
      { image: 1, label: 'socket', pixels: [1, 2, 3, 4] },
      { source: 1, label: 'fan', normalized: [0, 0.5, 1, 1] },
    ],
    reviewer: 'ann',
    note: '主板',
  };
  const { status, body } = await judge(questionId, said);
  expect(status).toBe(200);
  expect(feedbackView.parse(body)).toEqual({
    question_id: questionId,
    reviews: [
      {
        reviewer: 'ann',
        verdict: 'wrong',
        corrected_answer: 'It is the second [1].',
        corrected_boxes: [
          { source: 1, label: 'socket', pixels: [1, 2, 3, 4] },
          { source: 1, label: 'fan', pixels: [0, 5, 10, 10] },
        ],
        note: '主板',
        reviewed_at: expect.any(String),
      },
    ],
    sources: [{ n: 1, asset_id: 'asset-1', item_id: 'item-1', title: 'Cooler' }],
    pictures: [{ source: 1, width_px: 10, height_px: 10, orientation: 6 }],
  });
  expect((await send('GET', `/v1/questions/${questionId}/feedback`)).body).toEqual(body);
  // The same once more is one review; another reviewer's is a second.
  expect((await judge(questionId, said)).body).toEqual(body);
  const both = (await judge(questionId, { verdict: 'right' })).body.reviews;
  expect(both.map(({ reviewer }: { reviewer: string }) => reviewer).sort()).toEqual([key.keyId, 'ann'].sort());
});

test('an answer whose prompt is not kept is corrected by what it cites and shows itself', async () => {
  const questionId = await ask(null);
  const boxes = [{ image: 1, label: 'a', pixels: [0, 0, 10, 10] }];
  const { status, body } = await judge(questionId, { verdict: 'wrong', corrected_answer: 'This [1].', corrected_boxes: boxes });
  expect([status, body.sources]).toEqual([200, [{ n: 1, asset_id: 'asset-1', item_id: 'item-1', title: newCitation().title }]]);
  expect((await judge(questionId, { verdict: 'wrong', corrected_answer: 'That [2].' })).status).toBe(400);
});

test('only an answer is judged, and only its tenant judges it, with a key that may ask', async () => {
  const waiting = await ask();
  expect((await judge(waiting, { verdict: 'right' })).body).toMatchObject({
    status: 409,
    code: 'question_state',
    detail: 'It is queued.',
  });
  expect((await judge('none', { verdict: 'right' })).body).toMatchObject({ status: 404, code: 'question_not_found' });
  const questionId = await ask(newPrompt());
  const stranger = await keyOf('stranger', 'admin');
  for (const url of ['feedback', 'prompt/pictures/1'])
    expect((await send('GET', `/v1/questions/${questionId}/${url}`, undefined, stranger.secret)).status).toBe(404);
  expect((await judge(questionId, { verdict: 'right' }, stranger.secret)).status).toBe(404);
  const reader = await keyOf(tenant, 'read', 'ingest');
  expect((await judge(questionId, { verdict: 'right' }, reader.secret)).body).toMatchObject({
    status: 403,
    code: 'scope_missing',
  });
  expect((await send('GET', '/v1/feedback', undefined, reader.secret)).status).toBe(403);
  expect((await send('GET', `/v1/questions/${questionId}/feedback`)).body.reviews).toEqual([]);
});

test('what cannot be is refused, by field, and nothing of it kept', async () => {
  const questionId = await ask(newPrompt());
  const box = { image: 1, label: 'a', pixels: [0, 0, 5, 5] };
  const boxes = (more: object) => ({ verdict: 'wrong', corrected_boxes: [{ ...box, ...more }] });
  const refused: object[] = [
    {},
    { verdict: 'maybe' },
    { verdict: 'right', corrected_answer: 'x' },
    { verdict: 'right', corrected_boxes: [] },
    { verdict: 'wrong', corrected_answer: '  ' },
    { verdict: 'wrong', corrected_answer: 'Here [1] [[1,2,3,4]].' },
    { verdict: 'wrong', corrected_answer: 'Of a source that was not shown [2].' },
    { verdict: 'wrong', corrected_answer: 'Named in another way [1, 2].' },
    { verdict: 'wrong', corrected_answer: 'Named in another way 【2】.' },
    { verdict: 'wrong', corrected_answer: 'Named in another way [source 2].' },
    { verdict: 'wrong', corrected_answer: 'A box [1] 【【1,2,3,4】】.' },
    { verdict: 'wrong', corrected_answer: 'Cut [1' },
    { verdict: 'wrong', corrected_answer: 'x'.repeat(16_001) },
    { verdict: 'wrong', note: 'x'.repeat(2_001) },
    { verdict: 'wrong', reviewer: ' ' },
    { verdict: 'wrong', corrected_boxes: Array.from({ length: 65 }, () => box) },
    { verdict: 'wrong', tenant: 'other' },
    boxes({ image: 2 }),
    boxes({ image: undefined, source: 0 }),
    boxes({ source: 1 }),
    boxes({ label: '' }),
    boxes({ pixels: [0, 0, 11, 5] }),
    boxes({ pixels: [5, 0, 5, 5] }),
    boxes({ pixels: [0.5, 0, 5, 5] }),
    boxes({ pixels: [-1, 0, 5, 5] }),
    boxes({ pixels: undefined, normalized: [0, 0, 1.1, 1] }),
    boxes({ pixels: undefined }),
    boxes({ normalized: [0, 0, 1, 1] }),
  ];
  for (const said of refused) {
    const { status, body } = await judge(questionId, said);
    expect({ said, status, code: body.code }).toEqual({ said, status: 400, code: 'request_invalid' });
  }
  expect((await send('GET', `/v1/questions/${questionId}/feedback`)).body.reviews).toEqual([]);
});

test('a review may be as long as it may, however its characters are written', async () => {
  const questionId = await ask(newPrompt());
  const boxes = Array.from({ length: MAX_CORRECTED_BOXES }, () => ({ source: 1, label: '主'.repeat(80), pixels: [0, 0, 5, 5] }));
  const said = { verdict: 'wrong', corrected_answer: '主'.repeat(16_000), corrected_boxes: boxes, note: '板'.repeat(2_000) };
  const payload = JSON.stringify(said).replaceAll(/[\u0080-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16)}`);
  const headers = { host: 'sightline.example', authorization: `Bearer ${key.secret}`, 'content-type': 'application/json' };
  const url = `/v1/questions/${questionId}/feedback`;
  const response = await rig.app.inject({ method: 'POST', url, headers, payload });
  expect(response.statusCode).toBe(200);
  expect(feedbackView.parse(response.json()).reviews).toMatchObject([{ corrected_answer: said.corrected_answer }]);
});

test('so many reviewers judge an answer and no more', async () => {
  const questionId = await ask(newPrompt());
  for (let n = 0; n < MAX_REVIEWS; n++)
    expect((await judge(questionId, { verdict: 'right', reviewer: `r${n}` })).status).toBe(200);
  expect((await judge(questionId, { verdict: 'right', reviewer: 'late' })).body).toMatchObject({
    status: 409,
    code: 'feedback_full',
  });
});

test('reviewed questions are listed with their prompts, and go on from a cursor', async () => {
  const ids = [await ask(newPrompt()), await ask(null), await ask(newPrompt())];
  for (const id of ids.slice(0, 2)) await judge(id, { verdict: 'right' });
  const first = feedbackList.parse((await send('GET', '/v1/feedback?limit=1')).body);
  expect(first).toMatchObject({ total: 2, next_cursor: expect.any(String) });
  expect(first.reviewed[0]).toMatchObject({
    question: { question_id: ids[0], answer: 'The first one [1].' },
    show_steps: true,
    adapter: 'a',
    reviews: [{ verdict: 'right', reviewer: key.keyId }],
    prompt: {
      content: ['Source [1]\nCooler', 'Picture of source [1]:', { picture: 1 }, 'Question:\nWhich cooler fits AM4?'],
      pictures: [
        { n: 1, source: 1, object: { bucket: 'b', key: 'ä.png', e_tag: 'e' }, href: `/v1/questions/${ids[0]}/prompt/pictures/1` },
      ],
      box_frame: 'thousand',
      image_side_px: 336,
      structured: false,
    },
  });
  const second = feedbackList.parse((await send('GET', `/v1/feedback?limit=1&cursor=${first.next_cursor}`)).body);
  expect(second).toMatchObject({
    reviewed: [{ question: { question_id: ids[1] }, prompt: null }],
    next_cursor: null,
    total: null,
  });
  const later = new Date(Date.now() + 3_600_000).toISOString();
  expect((await send('GET', `/v1/feedback?since=${later}`)).body).toEqual({ reviewed: [], next_cursor: null, total: 0 });
  expect((await send('GET', '/v1/feedback?cursor=x')).body).toMatchObject({ status: 400, code: 'request_invalid' });
});

test("a prompt's picture comes as it is stored, for nobody to render, while it is the one that was shown", async () => {
  const assetId = await rig.addPicture('cooler.png', [1, 0, 0], [], tenant);
  const place = { bucket: rig.bucket, key: 'cooler.png' };
  const stored = await rig.store.get(place, { maxBytes: 1e6 });
  const [shown] = newPrompt().pictures;
  const prompt = newPrompt({
    sources: [{ n: 1, assetId, itemId: null, title: '' }],
    pictures: [{ ...shown!, object: { ...place, eTag: stored.info.eTag } }],
  });
  const url = `/v1/questions/${await ask(prompt)}/prompt/pictures`;
  // The same asset asked with, as another question's own picture.
  const ownPrompt = newPrompt({ pictures: [{ ...prompt.pictures[0]!, source: 0 }] });
  const own = `/v1/questions/${await ask(ownPrompt, { picture: { assetId } })}/prompt/pictures/1`;
  expect((await send('GET', own)).status).toBe(200);
  const { status, headers, bytes } = await send('GET', `${url}/1`);
  expect([status, Buffer.compare(bytes, stored.bytes)]).toEqual([200, 0]);
  expect(headers).toMatchObject({
    'content-type': 'application/octet-stream',
    'content-disposition': 'attachment',
    'content-security-policy': "default-src 'none'; sandbox",
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
  });
  expect((await send('GET', `${url}/2`)).body).toMatchObject({ status: 404, code: 'question_image_not_found' });
  await rig.store.put(place, Buffer.from('another'), { contentType: 'image/png' });
  expect((await send('GET', `${url}/1`)).body).toMatchObject({ status: 409, code: 'object_changed' });
  await rig.index.delete([{ assetId, tenant, version: 1_000, reason: 'gone', object: { ...place, eTag: null }, at: Date.now() }]);
  for (const removed of [`${url}/1`, own])
    expect((await send('GET', removed)).body).toMatchObject({ status: 404, code: 'object_not_found' });
});
