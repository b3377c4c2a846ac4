import { afterEach, beforeEach, expect, test } from '@jest/globals';
import sharp from 'sharp';
import { DEFAULT_TENANT, SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import type { AnswerBox, AnswerImage, Citation, QuestionResult } from '@sightline/shared/contracts/questions';
import { newAsked } from '@sightline/shared/testing/question-builder';
import { openRig, type Rig } from './testing/query-api-rig.ts';

let rig: Rig;

beforeEach(async () => {
  rig = await openRig();
});
afterEach(() => rig.close());

async function ask(questionId: string, tenant = DEFAULT_TENANT): Promise<void> {
  const question = { questionId, tenant, traceId: 't', asked: newAsked(), createdAt: 1_000 };
  await rig.ledger.createQuestion(question, { maxBacklog: 10 });
}

/** Ends a question with these pictures and boxes, as a generate worker does. */
async function answer(
  questionId: string,
  images: AnswerImage[],
  boxes: AnswerBox[],
  tenant = DEFAULT_TENANT,
  citations: Citation[] = [],
): Promise<void> {
  await ask(questionId, tenant);
  await rig.ledger.takeQuestion(questionId, { token: 'claim', claimMs: 60_000, at: 2_000 });
  const result: QuestionResult = {
    answer: 'Here [1].',
    steps: null,
    citations,
    boxes,
    images,
    claims: [],
    noMatch: false,
    model: 'scripted',
    promptVersion: 'v1',
    warnings: [],
    timingsMs: { queue: 1, retrieve: 1, prompt: 1, firstToken: 1, generate: 1, ground: 1, total: 6 },
    usage: { promptTokens: 1, completionTokens: 1, images: 1 },
  };
  const ended = await rig.ledger.finishQuestion(questionId, 'claim', {
    at: 3_000,
    status: 'answered',
    result,
    citedAssets: [],
    events: [],
    message: {
      messageId: `m-${questionId}`,
      tenant,
      type: 'question.answered',
      subject: questionId,
      at: 3_000,
      data: '{}',
      event: null,
      to: null,
    },
  });
  expect(ended).not.toBeNull();
}

async function picture(key: string, bucket = rig.bucket, background = '#336699'): Promise<AnswerImage> {
  const bytes = await sharp({ create: { width: 600, height: 400, channels: 3, background } })
    .png()
    .toBuffer();
  await rig.store.put({ bucket, key }, bytes, { contentType: 'image/png' });
  const eTag = (await rig.store.head({ bucket, key }))?.eTag ?? '';
  const isQuestions = bucket === SYSTEM_BUCKET;
  return {
    n: 1,
    source: isQuestions ? 'question' : 'citation',
    citationId: isQuestions ? null : 'c1',
    object: { bucket, key, eTag },
    widthPx: 600,
    heightPx: 400,
    orientation: 1,
  };
}

const BOX: AnswerBox = {
  image: 1,
  label: '风扇',
  pixels: [150, 100, 300, 200],
  normalized: [0.25, 0.25, 0.5, 0.5],
  upright: [0.25, 0.25, 0.5, 0.5],
};

function get(questionId: string, n: number | string, headers: Record<string, string> = {}, query = '') {
  return rig.app.inject({
    url: `/v1/questions/${questionId}/images/${n}${query}`,
    headers: { host: 'localhost:8080', ...headers },
  });
}

async function codeOf(asked: ReturnType<typeof get>): Promise<[number, string]> {
  const reply = await asked;
  expect(reply.headers['cache-control']).toBe('no-store');
  expect(reply.headers['etag']).toBeUndefined();
  return [reply.statusCode, reply.json<{ code: string }>().code];
}

test("an answer's picture comes with its boxes drawn, and once more as 304", async () => {
  await answer('q1', [await picture('a.png'), { ...(await picture('queries/b.png', SYSTEM_BUCKET, '#808080')), n: 2 }], [BOX]);
  const reply = await get('q1', 1);
  expect(reply.statusCode).toBe(200);
  expect(reply.headers).toMatchObject({ 'content-type': 'image/png', 'cache-control': 'private, max-age=300' });
  const { data, info } = await sharp(reply.rawPayload).raw().toBuffer({ resolveWithObject: true });
  expect(info).toMatchObject({ width: 600, height: 400, channels: 3 });
  const at = (x: number, y: number) => [...data.subarray((y * 600 + x) * 3, (y * 600 + x) * 3 + 3)];
  expect([at(149, 150), at(150, 150), at(299, 150), at(300, 150)]).toEqual([
    [255, 255, 255],
    [0x33, 0x66, 0x99],
    [0x33, 0x66, 0x99],
    [255, 255, 255],
  ]);
  const again = await get('q1', 1, { 'if-none-match': String(reply.headers['etag']) });
  expect([again.statusCode, again.body, again.headers['etag']]).toEqual([304, '', reply.headers['etag']]);

  const question = await get('q1', 2);
  expect(question.statusCode).toBe(200);
  expect((await sharp(question.rawPayload).stats()).entropy).toBe(0);
});

test('tags differ by picture, boxes, labels and width', async () => {
  const image = await picture('a.png');
  await answer('q1', [image], [BOX]);
  await answer('q2', [image], []);
  await answer('q3', [image], [{ ...BOX, label: '散热器' }]);
  await answer('q4', [await picture('b.png')], [BOX]);
  await answer('q5', [image], [BOX]);
  const tagOf = async (id: string, query = '') => (await get(id, 1, {}, query)).headers['etag'];
  const tags = [await tagOf('q1'), await tagOf('q2'), await tagOf('q3'), await tagOf('q4'), await tagOf('q1', '?width=300')];
  expect(new Set(tags).size).toBe(5);
  expect(await tagOf('q5')).toBe(tags[0]);
  expect(await sharp((await get('q1', 1, {}, '?width=300')).rawPayload).metadata()).toMatchObject({ width: 300, height: 200 });
});

test('what is not there, not yet answered, or not the tenant’s has a code', async () => {
  await ask('waits');
  await answer('q1', [await picture('a.png')], [BOX]);
  await answer('other', [await picture('b.png')], [BOX], 'another-tenant');
  expect(await codeOf(get('none', 1))).toEqual([404, 'question_not_found']);
  expect(await codeOf(get('other', 1))).toEqual([404, 'question_not_found']);
  expect(await codeOf(get('waits', 1))).toEqual([409, 'question_state']);
  expect(await codeOf(get('q1', 2))).toEqual([404, 'question_image_not_found']);
  expect(await codeOf(get('q1', 0))).toEqual([400, 'request_invalid']);
  expect(await codeOf(get('q1', 1, {}, '?width=9999'))).toEqual([400, 'request_invalid']);
});

test('a picture that changed or went is not drawn on, nor said to be the same', async () => {
  await answer('q1', [await picture('a.png')], [BOX]);
  const etag = String((await get('q1', 1)).headers['etag']);
  await picture('a.png', rig.bucket, '#111111');
  expect(await codeOf(get('q1', 1))).toEqual([409, 'object_changed']);
  const reply = await get('q1', 1, { 'if-none-match': etag });
  expect(reply.json<{ detail: string }>().detail).toContain('stale');
  await rig.store.delete({ bucket: rig.bucket, key: 'a.png' });
  expect(await codeOf(get('q1', 1, { 'if-none-match': etag }))).toEqual([404, 'object_not_found']);
});

test('a picture that changes between the look at it and its reading is not drawn on', async () => {
  await answer('q1', [await picture('a.png')], [BOX]);
  const { head } = rig.store;
  rig.store.head = async (ref) => {
    const info = await head.call(rig.store, ref);
    await picturePut('#111111');
    return info;
  };
  expect(await codeOf(get('q1', 1))).toEqual([409, 'object_changed']);
  rig.store.head = async (ref) => {
    const info = await head.call(rig.store, ref);
    await rig.store.delete(ref);
    return info && { ...info, eTag: (await rig.ledger.getQuestion(DEFAULT_TENANT, 'q1'))?.result?.images[0]?.object.eTag ?? '' };
  };
  expect(await codeOf(get('q1', 1))).toEqual([404, 'object_not_found']);
});

/** Puts other bytes where the picture is, without looking at them. */
async function picturePut(background: string): Promise<void> {
  const bytes = await sharp({ create: { width: 9, height: 9, channels: 3, background } })
    .png()
    .toBuffer();
  await rig.store.put({ bucket: rig.bucket, key: 'a.png' }, bytes, { contentType: 'image/png' });
}

test('bytes that are no picture are refused with a code', async () => {
  const ref = { bucket: rig.bucket, key: 'a.png' };
  const image = await picture('a.png');
  await rig.store.put(ref, Buffer.from('<svg/>'), { contentType: 'image/png' });
  const eTag = (await rig.store.head(ref))?.eTag ?? '';
  await answer('q1', [{ ...image, object: { ...ref, eTag } }], [BOX]);
  expect(await codeOf(get('q1', 1))).toEqual([415, 'picture_is_text']);
});

test('as many as are allowed are drawn at once; the rest is told to come again', async () => {
  await rig.close();
  rig = await openRig({ thumbnailsRunning: 1, thumbnailsWaiting: 1 });
  await answer('q1', [await picture('a.png')], [BOX]);
  const replies = await Promise.all(Array.from({ length: 6 }, () => get('q1', 1)));
  const statuses = replies.map(({ statusCode }) => statusCode).sort((a, b) => a - b);
  expect(statuses.filter((status) => status === 200).length).toBeGreaterThanOrEqual(2);
  expect(statuses.at(-1)).toBe(503);
  expect(replies.find(({ statusCode }) => statusCode === 503)?.json<{ code: string }>().code).toBe('overloaded');
});

test('the picture of what was removed is not shown, although its object is there still', async () => {
  const assetId = await rig.addPicture('cited.png', [1, 0, 0], []);
  const image = await picture('cited.png');
  const citation: Citation = {
    citationId: 'c1',
    assetId,
    itemId: null,
    object: { bucket: rig.bucket, key: 'cited.png' },
    title: '',
    relevanceScore: 0.9,
    quote: null,
    seen: { sha256: null, recordDigest: null },
  };
  await answer('q1', [image], [BOX], DEFAULT_TENANT, [citation]);
  expect((await get('q1', 1)).statusCode).toBe(200);
  const object = { bucket: rig.bucket, key: 'cited.png', eTag: null };
  await rig.index.delete([{ assetId, tenant: DEFAULT_TENANT, version: 1_000, reason: 'removed', object, at: 1_000 }]);
  expect(await codeOf(get('q1', 1))).toEqual([404, 'object_not_found']);
});
