import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { DEFAULT_TENANT, newId, questionPictureKey, SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import type { QuestionRequest } from '@sightline/shared/contracts/question-http';
import { questionList, questionRequest, questionView } from '@sightline/shared/contracts/question-http';
import type { Ledger, Scope } from '@sightline/shared/ports/ledger';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { newAsked, newMessage, newResult, newWebhook } from '@sightline/shared/testing/question-builder';
import { createApiKey } from './core/api-keys.ts';
import { askQuestion, type AskQuestionDeps } from './core/ask-question.ts';
import { openRig, pictureDataUrl, type Rig } from './testing/query-api-rig.ts';
import { QuestionWorker } from './testing/question-worker.ts';

let rig: Rig;
let key: string;
let red: string;
const SECRET = `whsec_${Buffer.alloc(24, 7).toString('base64')}`;
/** What lies at the paths of a server on this machine, which the rig alone may call. */
const web = new Map<string, Uint8Array>();
const pictureServer = createServer(({ url = '' }, response) => {
  const bytes = web.get(url);
  response.writeHead(bytes ? 200 : 404).end(bytes);
});
let pictures: string;

beforeAll(async () => {
  pictureServer.listen(0, '127.0.0.1');
  await once(pictureServer, 'listening');
  const address = pictureServer.address();
  pictures = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
  rig = await openRig({
    auth: 'keys',
    maxQueryPictureBytes: 20_000,
    requestsPerMinute: { ask: 1_000 },
    egress: { allowHttp: true, allowAddresses: [new URL(pictures).host] },
  });
  red = await pictureDataUrl([1, 0, 0]);
});
afterAll(async () => {
  await rig.close();
  pictureServer.close();
});
beforeEach(async () => {
  key = await keyOf(`t${randomBytes(4).toString('hex')}`, 'ask');
  rig.queue.added.length = 0;
});

async function keyOf(tenant: string, ...scopes: Scope[]): Promise<string> {
  const wanted = { tenant, name: tenant, scopes, expiresAt: null };
  return (await createApiKey({ ledger: rig.ledger, now: Date.now, randomBytes }, wanted)).secret;
}

async function tenantOfKey(secret: string): Promise<string> {
  const keys = await rig.ledger.listApiKeys(null);
  return keys.find(({ keyId }) => secret.includes(keyId))?.tenant ?? '';
}

async function send(
  method: 'GET' | 'POST' | 'DELETE',
  url: string,
  { payload, headers, as = key, on = rig }: { payload?: object; headers?: Record<string, string>; as?: string; on?: Rig } = {},
) {
  const all = { host: 'sightline.example', authorization: `Bearer ${as}`, ...headers };
  const response = await on.app.inject({ method, url, headers: all, ...(payload && { payload }) });
  return { status: response.statusCode, body: response.body === '' ? null : response.json(), headers: response.headers };
}

const ask = (payload: Partial<QuestionRequest>, more: Parameters<typeof send>[2] = {}) =>
  send('POST', '/v1/questions', { payload, ...more });
const under = (idempotencyKey: string) => ({ headers: { 'idempotency-key': idempotencyKey } });

async function picturesOf(tenant: string, { store } = rig): Promise<string[]> {
  const keys: string[] = [];
  try {
    for await (const object of store.list({ bucket: SYSTEM_BUCKET, prefix: `questions/${tenant}/` })) keys.push(object.key);
  } catch (error) {
    // Nothing was ever stored.
    if (!(error instanceof SightlineError && error.code === 'source_not_found')) throw error;
  }
  return keys;
}

async function countOf(tenant: string): Promise<number> {
  return (await rig.ledger.listQuestions(tenant, { limit: 100 })).questions.length;
}

test('a question is accepted at once, written down as it was asked, and handed to the workers', async () => {
  const tenant = await tenantOfKey(key);
  const { status, body, headers } = await ask({
    question: 'Which cooler fits AM4?',
    filter: { kind: 'cooler' },
    mode: 'text',
    alpha: 0.2,
    k: 3,
    max_images: 0,
    show_steps: true,
    language: 'zh-Hans',
    adapter: 'org/exam-v2',
    temperature: 0,
    top_p: 0.5,
    max_tokens: 9,
    stop: ['END'],
    seed: 4,
    metadata: { order: '7' },
  });
  const questionId: string = body.question_id;
  const self = `/v1/questions/${questionId}`;
  expect({ status, body, location: headers['location'] }).toEqual({
    status: 202,
    body: { question_id: questionId, status: 'queued', links: { self, events: `${self}/events` } },
    location: self,
  });
  const kept = await rig.ledger.getQuestion(tenant, questionId);
  expect(kept).toMatchObject({ tenant, status: 'queued', traceId: headers['x-trace-id'] });
  expect(kept?.asked).toEqual(
    newAsked({
      filter: { kind: 'cooler' },
      mode: 'text',
      alpha: 0.2,
      k: 3,
      maxImages: 0,
      showSteps: true,
      language: 'zh-Hans',
      adapter: 'org/exam-v2',
      sampling: { temperature: 0, topP: 0.5, maxTokens: 9, stop: ['END'], seed: 4 },
      metadata: { order: '7' },
    }),
  );
  expect(rig.queue.added).toEqual([
    {
      name: 'answer',
      data: { tenant, questionId, traceId: headers['x-trace-id'] },
      options: { lane: 'interactive', jobId: questionId, place: 0 },
    },
  ]);
});

test('what is left out of a question has its default', async () => {
  const { body } = await ask({ question: '?' });
  const kept = await rig.ledger.getQuestion(await tenantOfKey(key), body.question_id);
  expect(kept?.asked).toEqual(newAsked({ question: '?' }));
});

test("the more a tenant has asked, the further back its next question waits; another tenant's does not", async () => {
  for (let n = 0; n < 3; n++) await ask({ question: `${n}` });
  await ask({ question: 'mine' }, { as: await keyOf('unhurried', 'ask') });
  expect(rig.queue.added.map(({ options }) => options.place)).toEqual([0, 1, 2, 0]);
});

test('a picture is stored before the question is written down, whichever way it came', async () => {
  const tenant = await tenantOfKey(key);
  const bytes = Buffer.from(red.split(',')[1] ?? '', 'base64');
  web.set('/red.png', bytes);
  for (const image of [{ data: red }, { url: `${pictures}/red.png` }]) {
    const { body } = await ask({ image });
    const pictureKey = questionPictureKey(tenant, body.question_id);
    const kept = await rig.ledger.getQuestion(tenant, body.question_id);
    expect(kept?.asked).toMatchObject({ question: '', picture: { key: pictureKey } });
    const stored = await rig.store.get({ bucket: SYSTEM_BUCKET, key: pictureKey }, { maxBytes: 1e6 });
    expect(stored.bytes.equals(bytes)).toBe(true);
  }
  const assetId = await rig.addPicture('asked.png', [0, 1, 0], [], tenant);
  const { body } = await ask({ question: 'What is it?', image: { asset_id: assetId } });
  expect((await rig.ledger.getQuestion(tenant, body.question_id))?.asked.picture).toEqual({ assetId });
  expect(await picturesOf(tenant)).toHaveLength(2);
});

test('a picture that is none is refused when it is asked, and leaves nothing behind', async () => {
  const tenant = await tenantOfKey(key);
  const record = { itemId: 'i', title: 'Passage', text: 'Words alone.', attributes: {} };
  const passage = await rig.addPassage(record, 1, tenant);
  const foreign = await rig.addPicture('foreign.png', [0, 0, 1], [], 'somebody-else');
  const gone = await rig.addPicture('gone.png', [0, 0, 1], [], tenant);
  const deletion = { assetId: gone, tenant, version: 1e9, reason: 'gone', object: null, at: 1 } as const;
  await rig.index.delete([deletion]);
  web.set('/page', Buffer.from('<html>Not found</html>'));
  web.set('/huge', Buffer.alloc(20_001));
  const data = (text: string | Buffer) => ({ data: `data:image/png;base64,${Buffer.from(text).toString('base64')}` });
  const png = Buffer.from(red.split(',')[1] ?? '', 'base64');
  const cases: [QuestionRequest['image'], number, string][] = [
    [data('just words'), 415, 'picture_is_text'],
    [data('<svg xmlns="http://www.w3.org/2000/svg"/>'), 415, 'picture_is_vector'],
    [data('%PDF-1.7'), 415, 'picture_is_document'],
    [data(Buffer.from([1, 2, 3, 4])), 415, 'picture_not_a_picture'],
    [data(png.subarray(0, 40)), 422, 'picture_truncated'],
    [data(Buffer.alloc(20_001)), 413, 'picture_too_many_bytes'],
    [{ data: 'data:image/png;base64,' }, 422, 'picture_empty'],
    [{ data: 'data:image/png;base64,%%' }, 400, 'request_invalid'],
    [{ data: 'data:image/png,plain' }, 400, 'request_invalid'],
    [{ url: `${pictures}/page` }, 415, 'picture_is_text'],
    [{ url: `${pictures}/huge` }, 502, 'url_answer_too_large'],
    [{ url: `${pictures}/none` }, 422, 'url_answer_not_ok'],
    [{ url: 'http://169.254.169.254/latest/meta-data' }, 422, 'url_not_allowed'],
    [{ url: 'no address' }, 422, 'url_not_allowed'],
    [{ asset_id: newId() }, 404, 'asset_not_found'],
    [{ asset_id: foreign }, 404, 'asset_not_found'],
    [{ asset_id: gone }, 404, 'asset_not_found'],
    [{ asset_id: passage }, 400, 'request_invalid'],
  ];
  for (const [image, status, code] of cases) {
    const answer = await ask({ question: '?', image });
    const what = JSON.stringify(image).slice(0, 80);
    expect({ what, status: answer.status, code: answer.body.code }).toEqual({ what, status, code });
  }
  expect(await countOf(tenant)).toBe(0);
  expect(await picturesOf(tenant)).toEqual([]);
  expect(rig.queue.added).toEqual([]);
});

test('what no question can be made of is refused', async () => {
  const tenant = await tenantOfKey(key);
  const cases: object[] = [
    {},
    { question: '  ' },
    { question: 'x'.repeat(2_001) },
    { mode: 'text', image: { data: red } },
    { question: '?', k: 0 },
    { question: '?', k: 21 },
    { question: '?', alpha: 1.1 },
    { question: '?', mode: 'best' },
    { question: '?', language: 'en; DROP' },
    { question: '?', adapter: '../x' },
    { question: '?', max_tokens: 9_000 },
    { question: '?', metadata: Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`${n}`, ''])) },
    { question: '?', webhook: { url: 'https://hooks.example/', secret: 'whsec_short' } },
    { question: '?', image: { data: red, url: 'https://pictures.example/' } },
    { question: '?', tenant: 'alpha' },
  ];
  for (const payload of cases) expect({ payload, ...(await ask(payload)) }).toMatchObject({ payload, status: 400 });
  expect(await ask({ question: '?' }, under('has spaces'))).toMatchObject({ status: 400, body: { code: 'request_invalid' } });
  expect(await ask({ question: '?' }, under('x'.repeat(256)))).toMatchObject({ status: 400 });
  const tooLarge = { question: '?', image: { data: `data:image/png;base64,${'A'.repeat(400_000)}` } };
  expect(await ask(tooLarge)).toMatchObject({ status: 413, body: { code: 'request_too_large' } });
  expect(await countOf(tenant)).toBe(0);
});

test("a question's webhook is one of the tenant's own, or an address that may be called; its secret is not told", async () => {
  const tenant = await tenantOfKey(key);
  const [mine, foreign] = [`hook-${tenant}`, `foreign-${tenant}`];
  await rig.ledger.addWebhook(newWebhook(mine, { tenant }), 10);
  await rig.ledger.addWebhook(newWebhook(foreign, { tenant: 'somebody-else' }), 10);
  for (const webhook_id of [foreign, 'none'])
    expect(await ask({ question: '?', webhook: { webhook_id } })).toMatchObject({
      status: 404,
      body: { code: 'webhook_not_found' },
    });
  const refused = { url: 'http://169.254.169.254/', secret: SECRET };
  expect(await ask({ question: '?', webhook: refused })).toMatchObject({
    status: 422,
    body: { code: 'url_not_allowed' },
  });
  expect(await countOf(tenant)).toBe(0);

  const own = { url: 'https://hooks.example/', secret: SECRET };
  for (const [webhook, kept] of [
    [{ webhook_id: mine }, { webhookId: mine }],
    [own, own],
  ] as const) {
    const { body } = await ask({ question: '?', webhook });
    expect((await rig.ledger.getQuestion(tenant, body.question_id))?.asked.webhook).toEqual(kept);
    expect(JSON.stringify(await send('GET', body.links.self))).not.toContain(SECRET);
  }
});

test('the same question under its idempotency key is asked once, however it is written; another is refused', async () => {
  const tenant = await tenantOfKey(key);
  const first = await ask(
    { question: '?', metadata: { a: '1', b: '2' }, filter: { x: 1, y: 2 }, image: { data: red } },
    under('k'),
  );
  expect(first.headers['idempotent-replayed']).toBeUndefined();
  const again = await ask(
    {
      k: 5,
      image: { data: red.replace('image/png', 'image/x') },
      filter: { y: 2, x: 1 },
      metadata: { b: '2', a: '1' },
      question: '?',
    },
    under('k'),
  );
  expect(again).toMatchObject({ status: 202, body: first.body, headers: { 'idempotent-replayed': 'true' } });
  // Whoever sent it first may have died before its job was added.
  expect(rig.queue.added.map(({ options }) => options.jobId)).toEqual([first.body.question_id, first.body.question_id]);

  const blue = await pictureDataUrl([0, 0, 1]);
  for (const other of [
    { question: '!' },
    { question: '?', image: { data: blue } },
    { question: '?', image: { data: red }, k: 4 },
  ])
    expect(await ask(other, under('k'))).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } });
  expect(await countOf(tenant)).toBe(1);
  expect(await picturesOf(tenant)).toEqual([questionPictureKey(tenant, first.body.question_id)]);

  const stranger = await ask({ question: '!' }, { ...under('k'), as: await keyOf('stranger', 'ask') });
  expect(stranger.status).toBe(202);
  expect(stranger.body.question_id).not.toBe(first.body.question_id);

  const worker = new QuestionWorker(rig.ledger, 'w');
  await worker.take(first.body.question_id);
  await worker.answer(tenant, first.body.question_id);
  rig.queue.added.length = 0;
  const late = await ask(
    { question: '?', metadata: { a: '1', b: '2' }, filter: { x: 1, y: 2 }, image: { data: red } },
    under('k'),
  );
  expect(late.body).toEqual({ ...first.body, status: 'answered' });
  expect(rig.queue.added).toEqual([]);
});

test('a picture by its address is the same question whatever lies there now', async () => {
  const image = { url: `${pictures}/changing.png` };
  web.set('/changing.png', Buffer.from(red.split(',')[1] ?? '', 'base64'));
  const first = await ask({ image }, under('k'));
  web.set('/changing.png', Buffer.from((await pictureDataUrl([0, 1, 0])).split(',')[1] ?? '', 'base64'));
  expect((await ask({ image }, under('k'))).body).toEqual(first.body);
  expect(await picturesOf(await tenantOfKey(key))).toHaveLength(1);
});

test('the same idempotency key ten times at once is one question with one picture', async () => {
  const tenant = await tenantOfKey(key);
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => ask({ question: '?', image: { data: red } }, under('at-once'))),
  );
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 202));
  expect(new Set(answers.map(({ body }) => body.question_id)).size).toBe(1);
  expect(answers.filter(({ headers }) => headers['idempotent-replayed'] === undefined)).toHaveLength(1);
  expect(await countOf(tenant)).toBe(1);
  expect(await picturesOf(tenant)).toHaveLength(1);
});

test('past the bound questions are refused with the time after which to ask again, and leave no picture', async () => {
  const small = await openRig({ maxQuestionBacklog: 10 });
  const on = { on: small, headers: { host: '127.0.0.1:8080' } };
  try {
    // With and without an idempotency key, which is why the ledger alone decides for some of them.
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, n) => {
        const headers = { ...on.headers, ...(n % 2 === 0 ? { 'idempotency-key': `${n}` } : {}) };
        return ask({ question: `${n}`, image: { data: red } }, { ...on, headers });
      }),
    );
    const accepted = answers.filter(({ status }) => status === 202);
    expect(accepted).toHaveLength(10);
    for (const { status, body, headers } of answers.filter((answer) => !accepted.includes(answer))) {
      expect({ status, code: body.code }).toEqual({ status: 429, code: 'question_backlog_full' });
      expect(headers['retry-after']).toMatch(/^([1-9]|[1-9]\d|[12]\d\d|300)$/);
    }
    expect((await picturesOf(DEFAULT_TENANT, small)).sort()).toEqual(
      accepted.map(({ body }) => questionPictureKey(DEFAULT_TENANT, body.question_id)).sort(),
    );
    expect(await small.ledger.questionBacklog()).toMatchObject({ queued: 10, running: 0 });
    // One that ends makes room, and one that is known is answered however full it is.
    const late = { headers: { ...on.headers, 'idempotency-key': 'late' }, on: small };
    await send('DELETE', accepted[0]?.body.links.self, on);
    const { status, body } = await ask({ question: 'late' }, late);
    expect(status).toBe(202);
    expect(await ask({ question: 'later' }, on)).toMatchObject({ status: 429 });
    expect(await ask({ question: 'late' }, late)).toMatchObject({ status: 202, body });
  } finally {
    await small.close();
  }
});

test('when to ask again is how long the oldest question has waited, within bounds', async () => {
  const small = await openRig({ maxQuestionBacklog: 1 });
  try {
    const createdAt = Date.now() - 42_000;
    const old = { questionId: newId(), tenant: 'other', traceId: 't', asked: newAsked(), createdAt };
    await small.ledger.createQuestion(old, { maxBacklog: 1 });
    const headers = { host: '127.0.0.1:8080' };
    const first = await ask({ question: '?' }, { on: small, headers });
    expect(Number(first.headers['retry-after'])).toBeGreaterThanOrEqual(42);
    await small.ledger.cancelQuestion('other', old.questionId, { eventId: 'e', at: 1 });
    await small.ledger.createQuestion({ ...old, questionId: newId(), createdAt: createdAt - 3_600_000 }, { maxBacklog: 1 });
    expect((await ask({ question: '?' }, { on: small, headers })).headers['retry-after']).toBe('300');
  } finally {
    await small.close();
  }
});

test('a question that the queue does not take is owed all the same, and is handed on when it is sent again', async () => {
  rig.queue.failure = new SightlineError('queue_unavailable');
  const { status, body } = await ask({ question: '?' }, under('k'));
  rig.queue.failure = null;
  expect(status).toBe(202);
  expect(rig.queue.added).toEqual([]);
  const owed = await rig.ledger.owedQuestions({ at: Date.now(), limit: 1_000 });
  expect(owed.map(({ questionId }) => questionId)).toContain(body.question_id);
  const { traceId } = owed.find(({ questionId }) => questionId === body.question_id) ?? {};
  await ask({ question: '?' }, under('k'));
  // Under the trace that it was asked with: that is the one in the asker's hands.
  expect(rig.queue.added).toMatchObject([{ data: { questionId: body.question_id, traceId } }]);
});

/** What asking needs, over the rig's own stores but for what is given. */
function depsWith(more: Partial<AskQuestionDeps>): AskQuestionDeps {
  const refuse = () => {
    throw new SightlineError('request_invalid');
  };
  return {
    ledger: rig.ledger,
    queue: rig.queue,
    store: rig.store,
    index: () => rig.index,
    fetchPicture: refuse,
    judgeWebhookUrl: refuse,
    maxBacklog: 1_000,
    maxOfTenant: 1_000,
    maxPictureBytes: 20_000,
    now: Date.now,
    warn: () => {},
    ...more,
  };
}

test('a question whose writing down was not answered keeps its picture: it may stand in the ledger', async () => {
  const tenant = await tenantOfKey(key);
  const createQuestion: Ledger['createQuestion'] = async (...asked) => {
    await rig.ledger.createQuestion(...asked);
    throw new SightlineError('ledger_unavailable', 'The answer was lost.');
  };
  const ledger = { createQuestion, questionBacklog: () => rig.ledger.questionBacklog(), getWebhook: async () => null };
  const request = questionRequest.parse({ image: { data: red } });
  await expect(askQuestion(depsWith({ ledger }), request, { tenant, traceId: 't' })).rejects.toMatchObject({
    code: 'ledger_unavailable',
  });
  const { questions } = await rig.ledger.listQuestions(tenant, { limit: 2 });
  expect(questions).toHaveLength(1);
  expect(await picturesOf(tenant)).toEqual([questionPictureKey(tenant, questions[0]?.questionId ?? '')]);
});

test('a question that the ledger wrote down twice because it lost the first answer keeps its picture', async () => {
  const tenant = await tenantOfKey(key);
  const createQuestion: Ledger['createQuestion'] = async (...asked) => {
    await rig.ledger.createQuestion(...asked);
    return rig.ledger.createQuestion(...asked);
  };
  const ledger = { createQuestion, questionBacklog: () => rig.ledger.questionBacklog(), getWebhook: async () => null };
  const request = questionRequest.parse({ image: { data: red } });
  const { isNew, question } = await askQuestion(depsWith({ ledger }), request, { tenant, traceId: 't' });
  expect(isNew).toBe(true);
  expect(await picturesOf(tenant)).toEqual([questionPictureKey(tenant, question.questionId)]);
});

test('an object store that is away refuses a question with a picture, and nothing is asked', async () => {
  const tenant = await tenantOfKey(key);
  const store = { put: () => Promise.reject(new SightlineError('object_store_unavailable')), delete: async () => {} };
  const request = questionRequest.parse({ image: { data: red } });
  await expect(askQuestion(depsWith({ store }), request, { tenant, traceId: 't' })).rejects.toMatchObject({
    code: 'object_store_unavailable',
  });
  expect(await countOf(tenant)).toBe(0);
});

test('a question is seen as it goes: queued, running, answered, stale', async () => {
  const tenant = await tenantOfKey(key);
  const { body } = await ask({ question: 'Which?', metadata: { mine: 'yes' } });
  const { self } = body.links;
  const view = async () => questionView.parse((await send('GET', self)).body);
  expect(await view()).toEqual({
    question_id: body.question_id,
    status: 'queued',
    question: 'Which?',
    created_at: expect.any(String),
    finished_at: null,
    error: null,
    answer: null,
    steps: null,
    no_match: null,
    citations: [],
    boxes: [],
    images: [],
    claims: [],
    stale: false,
    model: null,
    prompt_version: null,
    warnings: [],
    timings_ms: null,
    usage: null,
    metadata: { mine: 'yes' },
    links: body.links,
  });
  const worker = new QuestionWorker(rig.ledger, 'w');
  await worker.take(body.question_id);
  expect((await view()).status).toBe('running');
  await worker.answer(tenant, body.question_id, { steps: ['First.'], warnings: ['truncated: cut.'] });
  expect(await view()).toMatchObject({
    status: 'answered',
    finished_at: expect.any(String),
    answer: 'The first one [1].',
    steps: ['First.'],
    no_match: false,
    citations: [
      {
        citation_id: 'c1',
        asset_id: 'asset-1',
        item_id: 'item-1',
        object: { bucket: 'b', key: 'ä.png' },
        title: 'Cooler',
        relevance_score: 0.75,
        quote: 'fits AM4',
      },
    ],
    boxes: newResult().boxes,
    images: [
      {
        n: 1,
        source: 'citation',
        citation_id: 'c1',
        href: `${self}/images/1`,
        width_px: 10,
        height_px: 10,
        orientation: 6,
      },
    ],
    claims: [{ text: 'The first one [1].', citation_ids: ['c1'], verdict: 'supported', score: 0.9 }],
    stale: false,
    model: 'm',
    prompt_version: '1',
    warnings: ['truncated: cut.'],
    timings_ms: { queue: 1, retrieve: 2, prompt: 3, first_token: null, generate: 4.5, ground: 5, total: 15.5 },
    usage: { prompt_tokens: 9, completion_tokens: 8, images: 1 },
  });
  await rig.ledger.markStale(body.question_id, newMessage('m-stale', { tenant, type: 'answer.stale' }), Date.now());
  expect(await view()).toMatchObject({ status: 'answered', stale: true });
});

test('a failed question says its code, with the details that its worker tells', async () => {
  const tenant = await tenantOfKey(key);
  const worker = new QuestionWorker(rig.ledger, 'w');
  for (const [error, told] of [
    [{ code: 'picture_corrupt', detail: 'Bytes 3 to 7.' } as const, 'Bytes 3 to 7.'],
    [{ code: 'question_too_long', detail: '9 tokens too many.' } as const, '9 tokens too many.'],
    [{ code: 'generator_timeout', detail: null } as const, null],
  ] as const) {
    const { body } = await ask({ question: '?' });
    await worker.take(body.question_id);
    await worker.fail(tenant, body.question_id, error);
    const view = questionView.parse((await send('GET', body.links.self)).body);
    expect(view).toMatchObject({ status: 'failed', answer: null, error: { code: error.code, detail: told } });
  }
});

test('a question is cancelled before it is answered, also while it is; twice is once; one that is over is not', async () => {
  const tenant = await tenantOfKey(key);
  const waiting = (await ask({ question: 'waiting' })).body;
  for (let n = 0; n < 2; n++) {
    const { status, body } = await send('DELETE', waiting.links.self);
    expect({ status, body: questionView.parse(body) }).toMatchObject({ status: 200, body: { status: 'cancelled' } });
  }
  const worker = new QuestionWorker(rig.ledger, 'w');
  await expect(worker.take(waiting.question_id)).rejects.toThrow('not to be taken');

  const running = (await ask({ question: 'running' })).body;
  await worker.take(running.question_id);
  expect(await worker.renew(running.question_id)).toBe('held');
  expect(await send('DELETE', running.links.self)).toMatchObject({ status: 200, body: { status: 'cancelled' } });
  expect(await worker.renew(running.question_id)).toBe('cancelled');

  const over = (await ask({ question: 'over' })).body;
  await worker.take(over.question_id);
  await worker.answer(tenant, over.question_id);
  expect(await send('DELETE', over.links.self)).toMatchObject({ status: 409, body: { code: 'question_state' } });
  expect(await send('GET', over.links.self)).toMatchObject({ status: 200, body: { status: 'answered' } });
});

test("another tenant's question is as unknown as one that never was", async () => {
  const { body } = await ask({ question: '?' });
  const stranger = await keyOf('stranger-2', 'admin');
  for (const url of [body.links.self, `/v1/questions/${newId()}`]) {
    for (const [method, path] of [
      ['GET', url],
      ['GET', `${url}/events`],
      ['DELETE', url],
    ] as const)
      expect(await send(method, path, { as: stranger })).toMatchObject({ status: 404, body: { code: 'question_not_found' } });
  }
  expect(await send('GET', body.links.self)).toMatchObject({ body: { status: 'queued' } });
  expect((await send('GET', '/v1/questions', { as: stranger })).body).toEqual({ questions: [], next_cursor: null });
});

test('questions are listed newest first, in pages, and by their status', async () => {
  const asked: string[] = [];
  for (let n = 0; n < 7; n++) asked.unshift((await ask({ question: `${n}` })).body.question_id);
  await send('DELETE', `/v1/questions/${asked[3]}`);
  const seen: string[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const url: string = `/v1/questions?limit=3${cursor && `&cursor=${encodeURIComponent(cursor)}`}`;
    const page: ReturnType<typeof questionList.parse> = questionList.parse((await send('GET', url)).body);
    seen.push(...page.questions.map((question) => question.question_id));
    cursor = page.next_cursor;
  }
  expect(seen).toEqual(asked);
  const { body } = await send('GET', '/v1/questions?status=cancelled');
  expect(body.questions.map((question: { question_id: string }) => question.question_id)).toEqual([asked[3]]);
  for (const query of ['cursor=x', 'limit=0', 'limit=101', 'status=done', 'tenant=alpha'])
    expect(await send('GET', `/v1/questions?${query}`)).toMatchObject({ status: 400, body: { code: 'request_invalid' } });
});

test('questions need the scope ask, and are counted apart from other requests', async () => {
  const { body } = await ask({ question: '?' });
  const reader = await keyOf(await tenantOfKey(key), 'read', 'ingest');
  for (const [method, url] of [
    ['POST', '/v1/questions'],
    ['GET', '/v1/questions'],
    ['GET', body.links.self],
    ['GET', body.links.events],
    ['DELETE', body.links.self],
  ] as const) {
    const payload = method === 'POST' ? { payload: { question: '?' } } : {};
    expect(await send(method, url, { as: reader, ...payload })).toMatchObject({ status: 403, body: { code: 'scope_missing' } });
  }
  const strict = await openRig({ auth: 'keys', requestsPerMinute: { ask: 2 } });
  try {
    const wanted = { tenant: 'alpha', name: 'k', scopes: ['ask' as const], expiresAt: null };
    const as = (await createApiKey({ ledger: strict.ledger, now: Date.now, randomBytes }, wanted)).secret;
    for (const status of [202, 202, 429]) expect((await ask({ question: '?' }, { on: strict, as })).status).toBe(status);
    const refused = await ask({ question: '?' }, { on: strict, as });
    expect(refused).toMatchObject({ body: { code: 'rate_limited' }, headers: { 'retry-after': expect.any(String) } });
    expect((await send('GET', '/v1/questions', { on: strict, as })).status).toBe(200);
  } finally {
    await strict.close();
  }
});
