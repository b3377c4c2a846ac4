import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { auditFindingsKey, reportKey, SYSTEM_BUCKET, tenantPrefixes } from '@sightline/shared/contracts/ids';
import { newMigration } from '@sightline/shared/testing/migration-builder';
import { newAsked, newMessage, newPrompt, newReview, newWebhook } from '@sightline/shared/testing/question-builder';
import { createApiKey } from './core/api-keys.ts';
import { openRig, type Rig } from './testing/query-api-rig.ts';
import { doneId, QuestionWorker, retrieved, tokens } from './testing/question-worker.ts';

/** Stands in everything that alpha has; nothing that beta is answered may hold it. */
const MARK = 'alphasecret';
const SEED = 20_261_123;
const RUNS = 900;
const STUCK_MS = 3_000;

/** With both tenants, and the same stack as it were had there never been an alpha: beta must see no difference. */
let rig: Rig;
let control: Rig;
/** What alpha has an id for. */
const alpha = {
  assets: [] as string[],
  ingestions: [] as string[],
  audits: [] as string[],
  questions: [] as string[],
  webhooks: [] as string[],
  keys: [] as string[],
  cursor: '',
};
let betaKey: string;
let controlKey: string;

beforeAll(async () => {
  const requestsPerMinute = { search: 1e6, ingest: 1e6, ask: 1e6, read: 1e6, public: 1e6, refused: 1e6 };
  const config = { auth: 'keys', requestsPerMinute, tenantDrainMs: 0 } as const;
  rig = await openRig(config);
  control = await openRig(config, { bucket: rig.bucket });
  const secret = await fill(rig, 'alpha');
  betaKey = await fill(rig, 'beta');
  controlKey = await fill(control, 'beta');
  // Of the whole stack: it belongs to who operates it, and to none of the two.
  await rig.ledger.addMigration(newMigration('the-stacks', { reason: MARK }));
  const payload = { query: 'red shoe', limit: 1, group_by: 'asset' };
  const page = await ask(rig, secret, { method: 'POST', url: '/v1/search', payload });
  alpha.cursor = JSON.parse(page.text).next_cursor;
  expect(alpha.cursor).toEqual(expect.any(String));
});
afterAll(async () => {
  await rig.close();
  await control.close();
});

/** Both tenants have the same buckets, keys and item ids, and one item each that only they have. Answers a key's secret. */
async function fill({ ledger, store, addPicture, addPassage }: Rig, tenant: string): Promise<string> {
  const mark = tenant === 'alpha' ? MARK : 'betaword';
  const record = (itemId: string) => ({
    itemId,
    title: `Red shoe ${mark}`,
    text: `A red running shoe, ${mark}, AM4.`,
    attributes: { kind: 'shoe', owner: tenant, tenant, secret: mark, price: 50 },
  });
  const assets = [
    await addPicture('shoe.png', [1, 0, 0], [record('shoe-1')], tenant),
    await addPicture('bare.png', [0, 1, 0], [], tenant),
    await addPassage(record('shoe-1'), 1, tenant),
    await addPicture('own.png', [0, 0, 1], [record(`own-${tenant}`)], tenant),
  ];
  const done = await ingestion(ledger, tenant, `${tenant}-done`, 'completed');
  const going = tenant === 'alpha' ? await ingestion(ledger, tenant, `${tenant}-going`, 'running') : done;
  const audited = await audit(ledger, tenant, `${tenant}-audit`);
  const questions = await askQuestions(ledger, tenant);
  await ledger.addWebhook(newWebhook(`${tenant}-hook`, { tenant, description: mark }), 1);
  await ledger.addMessages([newMessage(`${tenant}-message`, { tenant, subject: mark, data: JSON.stringify({ answer: mark }) })]);
  const wanted = { tenant, name: `key of ${mark}`, scopes: ['admin' as const], expiresAt: null };
  const { key, secret } = await createApiKey({ ledger, now: Date.now, randomBytes }, wanted);
  await failChange(ledger, tenant, `${mark}.png`);
  await ledger.noteChanges(
    tenant,
    [{ change: { kind: 'object', bucket: 'shared', key: `owed ${mark}.png` }, changedAt: null }],
    3,
  );
  for (const prefix of tenantPrefixes(tenant))
    await store.put({ bucket: SYSTEM_BUCKET, key: `${prefix}${mark}` }, Buffer.from(mark), { contentType: 'text/plain' });
  await store.put({ bucket: SYSTEM_BUCKET, key: reportKey(tenant, done) }, Buffer.from(mark), { contentType: 'text/plain' });
  const findings = `${JSON.stringify({ kind: 'missing', asset_id: null, bucket: 'shared', key: mark, detail: mark })}\n`;
  const listed = { bucket: SYSTEM_BUCKET, key: auditFindingsKey(tenant, audited) };
  await store.put(listed, Buffer.from(findings), { contentType: 'application/x-ndjson' });
  if (tenant === 'alpha') {
    alpha.audits.push(audited);
    alpha.questions.push(...questions);
    alpha.webhooks.push(`${tenant}-hook`);
    alpha.assets.push(...assets);
    alpha.ingestions.push(done, going);
    alpha.keys.push(key.keyId);
  }
  return secret;
}

async function failChange(ledger: Rig['ledger'], tenant: string, key: string): Promise<void> {
  await ledger.noteChanges(tenant, [{ change: { kind: 'object', bucket: 'shared', key }, changedAt: null }], 1);
  const taken = await ledger.takeChanges(tenant, { limit: 1, claimMs: 1, soloAfter: 3, at: 1 });
  const failure = { code: 'picture_corrupt' as const, reason: key, eTag: 'e' };
  await ledger.settleChanges(tenant, taken.map((one) => ({ ...one, failure })), 2); // prettier-ignore
}

async function ingestion(
  ledger: Rig['ledger'],
  tenant: string,
  ingestionId: string,
  status: 'running' | 'completed',
): Promise<string> {
  const mark = tenant === 'alpha' ? MARK : 'betaword';
  await ledger.createIngestion({
    ingestionId,
    tenant,
    source: { type: 'prefix', bucket: 'shared', prefix: mark },
    createdAt: 1,
  });
  const failures = [{ key: `${mark}.png`, code: 'picture_corrupt' as const, reason: mark }];
  await ledger.addChunk(ingestionId, { chunkNo: 0, entries: [], listed: 1, failures, after: null, cursor: mark, at: 1 });
  await ledger.setStatus(ingestionId, ['planning'], status, { at: 2 });
  return ingestionId;
}

async function audit(ledger: Rig['ledger'], tenant: string, auditId: string): Promise<string> {
  const mark = tenant === 'alpha' ? MARK : 'betaword';
  const place = { bucket: 'shared', prefix: mark };
  await ledger.createAudit({ auditId, tenant, place, repair: false, graceMs: 0, askedBy: 'request', createdAt: 1 });
  const first = [{ kind: 'missing', asset_id: null, bucket: 'shared', key: mark, detail: mark } as const];
  const counts = { points: 1, agreed: { indexed: 1, failed: 0, removed: 0 }, healed: 0, listed: 1 };
  const findings = { missing: 1, extra: 0, stale: 0, duplicate: 0, malformed: 0 };
  const result = { clean: false, ...counts, findings, first, unreadable: [], running: [], repair: null };
  await ledger.endAudit(auditId, { status: 'completed', result, at: 2 });
  return auditId;
}

/** One that is answered, and of alpha one that is being answered; each under an idempotency key that both use. */
async function askQuestions(ledger: Rig['ledger'], tenant: string): Promise<string[]> {
  const mark = tenant === 'alpha' ? MARK : 'betaword';
  const ids = tenant === 'alpha' ? ['alpha-answered', 'alpha-answering'] : ['beta-answered'];
  const worker = new QuestionWorker(ledger, tenant);
  for (const questionId of ids) {
    const asked = newAsked({ question: mark, metadata: { mark } });
    const idempotency = { key: questionId.split('-')[1] ?? '', digest: mark, keepUntil: Date.now() + 3_600_000 };
    const question = { questionId, tenant, traceId: mark, asked, createdAt: Date.now() };
    await ledger.createQuestion(question, { maxBacklog: 10, idempotency });
    await worker.take(questionId);
    await worker.tell(questionId, retrieved(1), tokens(1, mark));
    if (!questionId.endsWith('answered')) continue;
    await worker.answer(tenant, questionId, { answer: mark }, newPrompt({ system: mark }));
    await ledger.putReview(tenant, questionId, newReview({ reviewer: mark, note: mark }));
  }
  return ids;
}

interface Asked {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  url: string;
  payload?: object;
  headers?: Record<string, string>;
}

async function ask(
  { app }: Rig,
  key: string,
  { method, url, payload, headers }: Asked,
): Promise<{ status: number; text: string }> {
  let timer: NodeJS.Timeout | undefined;
  // A stream of another's running ingestion would never end.
  const stuck = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${method} ${url} does not end`)), STUCK_MS);
  });
  const all = { host: 'sightline.example', authorization: `Bearer ${key}`, ...headers };
  const answered = app.inject({ method, url, headers: all, ...(payload ? { payload } : {}) });
  const response = await Promise.race([answered, stuck]).finally(() => clearTimeout(timer));
  return { status: response.statusCode, text: response.rawPayload.toString('latin1') };
}

const fromAlpha = (ids: () => string[]) => fc.nat().map((n) => ids()[n % ids().length] ?? '');
const someIngestion = fc.oneof(
  fromAlpha(() => alpha.ingestions),
  fc.constantFrom('beta-done', 'no-such'),
);
const someAudit = fc.oneof(
  fromAlpha(() => alpha.audits),
  fc.constantFrom('beta-audit', 'no-such'),
);
const someWebhook = fc.oneof(
  fromAlpha(() => alpha.webhooks),
  fc.constantFrom('beta-hook', 'no-such'),
);
const someQuestion = fc.oneof(
  fromAlpha(() => alpha.questions),
  fc.constant('beta-answered'),
  fc.constant('no-such'),
);
const someAsset = fromAlpha(() => alpha.assets);
const someItem = fc.constantFrom('shoe-1', 'own-alpha', 'no-such');
const someMigration = fc.constantFrom('the-stacks', 'no-such');
const someKey = fromAlpha(() => alpha.keys);

const field = fc.oneof(
  fc.constantFrom(
    'tenant',
    'owner',
    'secret',
    'item_id',
    'kind',
    '_tenant',
    'tenant_id',
    'payload.tenant',
    'asset_id',
    'object.bucket',
  ),
  fc.string({ maxLength: 12 }),
);
const value = fc.oneof(
  fc.constantFrom(
    'alpha',
    'beta',
    MARK,
    'own-alpha',
    'shoe-1',
    'shoe',
    50,
    true,
    "' OR 1=1 --",
    '%',
    '*',
    '',
  ) as fc.Arbitrary<unknown>,
  fc.array(fc.constantFrom('alpha', 'beta', MARK, 'own-alpha', 'shoe-1', 50), { maxLength: 4 }),
  fc.constant({ gte: -1e9 }),
  fc.constant({ tenant: 'alpha' }),
  fc.constant({ or: [{ tenant: 'alpha' }], must_not: [{ tenant: 'beta' }] }),
  fc.constant(null),
);
const someFilter = fc.dictionary(field, value, { maxKeys: 3 });
const someCursor = fc.oneof(
  fc.constant('alpha'),
  fc
    .nat({ max: 50 })
    .map((offset) => Buffer.from(JSON.stringify({ offset, reach: 5, request: 'x', tenant: 'alpha' })).toString('base64url')),
);
const wildSearch = fc.record(
  {
    query: fc.constantFrom(MARK, 'red shoe', 'AM4', 'own-alpha', 'shoe-1', `red ${MARK}`),
    image: someAsset.map((asset_id) => ({ asset_id })),
    filter: someFilter,
    mode: fc.constantFrom('hybrid', 'text', 'visually_similar'),
    group_by: fc.constantFrom('item', 'asset'),
    limit: fc.constantFrom(1, 5, 100),
    explain: fc.boolean(),
    cursor: someCursor.map((cursor) => (cursor === 'alpha' ? alpha.cursor : cursor)),
    tenant: fc.constant('alpha'),
  },
  { requiredKeys: [] },
);
/** As the interface takes it, so that it reaches the index. */
const goodSearch = fc.record(
  {
    query: fc.constantFrom(MARK, 'red shoe', 'AM4', 'own-alpha', 'shoe-1'),
    filter: fc.dictionary(
      fc.constantFrom('tenant', 'owner', 'secret', 'item_id', 'kind', '_tenant', 'object.bucket', 'payload.tenant'),
      fc.oneof(
        fc.constantFrom('alpha', 'beta', MARK, 'own-alpha', 'shoe-1', 'shoe', "' OR 1=1 --", '%', '*'),
        fc.constant(['alpha', 'beta', MARK, 'shoe-1', 'shoe']),
        fc.constant({ gte: -1e9 }),
      ),
      { maxKeys: 2 },
    ),
    mode: fc.constantFrom('hybrid', 'text', 'visually_similar'),
    group_by: fc.constantFrom('item', 'asset'),
    limit: fc.constantFrom(1, 100),
    explain: fc.boolean(),
  },
  { requiredKeys: ['query'] },
);
const someSource = fc.constantFrom(
  { type: 'prefix', bucket: 'sightline', prefix: 'reports/alpha/' },
  { type: 'prefix', bucket: 'shared', prefix: '../sightline/reports/alpha/' },
  { type: 'directory', path: '/no/such/folder' },
  { type: 'manifest', uri: '/no/such/manifest.jsonl' },
);

const questionKey = fc.constantFrom('answered', 'answering', 'own', 'own-2');
const goodQuestion = fc.record(
  { question: fc.constantFrom('red shoe?', 'AM4?'), filter: fc.constant({ tenant: 'alpha' }), idempotencyKey: questionKey },
  { requiredKeys: ['question'] },
);
const wildQuestion = fc.record(
  {
    question: fc.constantFrom('red shoe?', 'AM4?'),
    image: someAsset.map((asset_id) => ({ asset_id })),
    filter: someFilter,
    webhook: fc.constantFrom({ webhook_id: 'alpha-hook' }, { webhook_id: 'beta-hook' }),
    idempotencyKey: questionKey,
    tenant: fc.constant('alpha'),
  },
  { requiredKeys: ['question'] },
);

const goodRecord = fc.record({
  title: fc.constantFrom('Mine', 'Red shoe'),
  attributes: fc.constantFrom({}, { tenant: 'alpha' }),
});
const wildRecord = fc.record(
  {
    title: fc.constantFrom('Mine', 'Red shoe'),
    attributes: fc.constantFrom<object>({}, { tenant: 'alpha' }),
    images: fc.constantFrom<string[]>([], ['s3://shared/own.png'], ['s3://sightline/reports/alpha/x.png'], ['/no/such.png']),
    tenant: fc.constant('alpha'),
    item_id: fc.constant('own-alpha'),
  },
  { requiredKeys: [] },
);

const path = (template: string, ids: fc.Arbitrary<string>) =>
  ids.map((id) => template.replace(/\{\w+\}/, encodeURIComponent(id)));
const get = (urls: fc.Arbitrary<string>): fc.Arbitrary<Asked> => urls.map((url) => ({ method: 'GET', url }));
const remove = (urls: fc.Arbitrary<string>): fc.Arbitrary<Asked> => urls.map((url) => ({ method: 'DELETE', url }));
const post = (urls: fc.Arbitrary<string>, bodies: fc.Arbitrary<object>): fc.Arbitrary<Asked> =>
  fc.tuple(urls, bodies).map(([url, payload]) => ({ method: 'POST', url, payload }));
const at = (url: string) => fc.constant(url);
const trySearch = post(at('/v1/search'), fc.oneof(goodSearch, wildSearch));

/** Every route that a key opens, as a stranger would try it; those that take an ingestion's id and no more are added from the document. */
const ATTEMPTS: Record<string, fc.Arbitrary<Asked>> = {
  'POST /v1/search': trySearch,
  'GET /v1/index': get(fc.constantFrom('/v1/index', '/v1/index?tenant=alpha')),
  'GET /v1/assets/{asset_id}': get(path('/v1/assets/{id}?with_vectors=true', someAsset)),
  'GET /v1/assets/{asset_id}/image': get(path('/v1/assets/{id}/image?width=96', someAsset)),
  'DELETE /v1/assets/{asset_id}': remove(path('/v1/assets/{id}', someAsset)),
  // Also one that is never taken off: what is one's own is answered.
  'GET /v1/items/{item_id}': get(path('/v1/items/{id}', fc.oneof(someItem, fc.constant('own-beta')))),
  'PUT /v1/items/{item_id}': fc
    .tuple(path('/v1/items/{id}', someItem), fc.oneof(goodRecord, wildRecord))
    .map(([url, payload]): Asked => ({ method: 'PUT', url, payload })),
  'DELETE /v1/items/{item_id}': remove(path('/v1/items/{id}', someItem)),
  'GET /v1/ingestions': get(
    fc.constantFrom('/v1/ingestions?limit=100', '/v1/ingestions?status=running', '/v1/ingestions?tenant=alpha'),
  ),
  'POST /v1/ingestions': post(at('/v1/ingestions'), fc.record({ source: someSource, dry_run: fc.boolean() })),
  'GET /v1/changes': get(fc.constantFrom('/v1/changes', '/v1/changes?tenant=alpha')),
  'GET /v1/changes/failures': get(
    fc.constantFrom('/v1/changes/failures', '/v1/changes/failures?limit=1', '/v1/changes/failures?cursor=1&tenant=alpha'),
  ),
  'POST /v1/changes/retry': post(fc.constantFrom('/v1/changes/retry', '/v1/changes/retry?tenant=alpha'), fc.constant({})),
  'POST /v1/ingestions/{ingestion_id}/resume': post(
    path('/v1/ingestions/{id}/resume', someIngestion),
    fc.constantFrom({}, { accept_failures: true }),
  ),
  'POST /v1/audits': post(
    at('/v1/audits'),
    fc.constantFrom<object>(
      { repair: true, grace_seconds: 0 },
      { place: { bucket: 'sightline', prefix: 'reports/alpha/' } },
      { tenant: 'alpha' },
    ),
  ),
  'GET /v1/audits': get(fc.constantFrom('/v1/audits?limit=100', '/v1/audits?tenant=alpha')),
  'GET /v1/audits/{audit_id}': get(path('/v1/audits/{id}', someAudit)),
  'GET /v1/audits/{audit_id}/findings': get(path('/v1/audits/{id}/findings', someAudit)),
  'POST /v1/webhooks': post(
    at('/v1/webhooks'),
    fc.constantFrom<object>(
      { url: 'https://example.com/', events: ['question.answered'] },
      { url: 'https://example.com/', events: ['question.answered'], tenant: 'alpha' },
    ),
  ),
  'GET /v1/webhooks': get(fc.constantFrom('/v1/webhooks', '/v1/webhooks?tenant=alpha')),
  'GET /v1/webhooks/{webhook_id}': get(path('/v1/webhooks/{id}', someWebhook)),
  'PATCH /v1/webhooks/{webhook_id}': fc
    .tuple(
      path('/v1/webhooks/{id}', someWebhook),
      fc.constantFrom<object>({ url: 'https://example.org/' }, { rotate_secret: true }, { enabled: false }),
    )
    .map(([url, payload]): Asked => ({ method: 'PATCH', url, payload })),
  // Its own is kept: what is its own is answered.
  'DELETE /v1/webhooks/{webhook_id}': remove(
    path(
      '/v1/webhooks/{id}',
      fromAlpha(() => alpha.webhooks),
    ),
  ),
  'GET /v1/webhooks/{webhook_id}/deliveries': get(path('/v1/webhooks/{id}/deliveries', someWebhook)),
  'POST /v1/webhooks/{webhook_id}/replay': post(
    path('/v1/webhooks/{id}/replay', someWebhook),
    fc.constantFrom<object>({ delivery_id: 'alpha-message:alpha-hook' }, { since: '1970-01-01T00:00:00Z' }),
  ),
  'POST /v1/questions': fc.oneof(goodQuestion, wildQuestion).map(({ idempotencyKey, ...payload }): Asked => ({
    method: 'POST',
    url: '/v1/questions',
    payload,
    ...(idempotencyKey !== undefined && { headers: { 'idempotency-key': idempotencyKey } }),
  })),
  'GET /v1/questions': get(
    fc.constantFrom('/v1/questions?limit=100', '/v1/questions?status=running', '/v1/questions?tenant=alpha'),
  ),
  'GET /v1/questions/{question_id}': get(path('/v1/questions/{id}', someQuestion)),
  'GET /v1/questions/{question_id}/events': fc
    .tuple(path('/v1/questions/{id}/events', someQuestion), fc.constantFrom('', '1', doneId('alpha-answered'), 'x'))
    .map(([url, lastEventId]): Asked => ({ method: 'GET', url, headers: { 'last-event-id': lastEventId } })),
  'GET /v1/questions/{question_id}/images/{n}': get(path('/v1/questions/{id}/images/1', someQuestion)),
  'POST /v1/questions/{question_id}/feedback': post(
    path('/v1/questions/{id}/feedback', someQuestion),
    fc.constantFrom<object>(
      { verdict: 'wrong', corrected_answer: 'Mine [1].', reviewer: MARK.slice(0, 5) },
      { verdict: 'right' },
      { verdict: 'right', tenant: 'alpha' },
    ),
  ),
  'GET /v1/questions/{question_id}/feedback': get(path('/v1/questions/{id}/feedback', someQuestion)),
  'GET /v1/feedback': get(
    fc.constantFrom('/v1/feedback?limit=50', '/v1/feedback?since=1970-01-01T00:00:00Z', '/v1/feedback?tenant=alpha'),
  ),
  'GET /v1/questions/{question_id}/prompt/pictures/{n}': get(path('/v1/questions/{id}/prompt/pictures/1', someQuestion)),
  'DELETE /v1/questions/{question_id}': remove(path('/v1/questions/{id}', someQuestion)),
  'POST /v1/keys': post(
    at('/v1/keys'),
    fc.constantFrom<object>({ name: 'n', scopes: ['admin'], tenant: 'alpha' }, { name: 'n', scopes: ['read'] }),
  ),
  'GET /v1/keys': get(fc.constantFrom('/v1/keys', '/v1/keys?tenant=alpha')),
  'DELETE /v1/keys/{key_id}': remove(path('/v1/keys/{id}', someKey)),
  'POST /v1/keys/{key_id}/rotate': post(path('/v1/keys/{id}/rotate', someKey), fc.constant({ overlap_seconds: 0 })),
  'POST /v1/migrations': post(at('/v1/migrations'), fc.constantFrom({ pack: 'other' }, { pack: 'other', cut_over: 'auto' })),
  'GET /v1/migrations': get(fc.constantFrom('/v1/migrations', '/v1/migrations?tenant=alpha')),
  'GET /v1/migrations/{migration_id}': get(path('/v1/migrations/{id}', someMigration)),
  ...Object.fromEntries(
    ['pause', 'resume', 'cut-over', 'roll-back', 'finish', 'cancel'].map((action) => [
      `POST /v1/migrations/{migration_id}/${action}`,
      post(path(`/v1/migrations/{id}/${action}`, someMigration), fc.constantFrom({}, { bounds: { max_failed_points: 9 } })),
    ]),
  ),
  'DELETE /v1/tenant': remove(fc.constantFrom('/v1/tenant', '/v1/tenant?confirm=alpha', '/v1/tenant?confirm=alpha&confirm=beta')),
};

const PUBLIC = new Set(['GET /healthz', 'GET /readyz', 'GET /openapi.json']);

interface Operation {
  name: string;
  isPublic: boolean;
  attempt: fc.Arbitrary<Asked> | undefined;
}

/** The routes as they are served, each with how it is tried. */
async function operations(): Promise<Operation[]> {
  const { paths } = JSON.parse((await ask(rig, betaKey, { method: 'GET', url: '/openapi.json' })).text);
  return Object.entries<Record<string, { security: unknown[]; requestBody?: object }>>(paths).flatMap(([route, methods]) =>
    Object.entries(methods).map(([verb, { security, requestBody }]) => {
      const method = verb.toUpperCase() as Asked['method'];
      const name = `${method} ${route}`;
      const isSimple = /^\/v1\/ingestions\/\{ingestion_id\}(\/[a-z]+)?$/.test(route) && !requestBody;
      const simple = path(route, someIngestion).map((url): Asked => ({ method, url }));
      return { name, isPublic: security.length === 0, attempt: ATTEMPTS[name] ?? (isSimple ? simple : undefined) };
    }),
  );
}

test('every route that a key opens is tried here', async () => {
  const served = await operations();
  expect(new Set(served.flatMap(({ name, isPublic }) => (isPublic ? [name] : [])))).toEqual(PUBLIC);
  expect(served.filter(({ isPublic, attempt }) => !isPublic && !attempt).map(({ name }) => name)).toEqual([]);
  expect(Object.keys(ATTEMPTS).filter((name) => !served.some((one) => one.name === name))).toEqual([]);
});

/** What must be the same to the last digit whoever else is in the stack; ids and times of what is made are not. */
function comparable(name: string, text: string): unknown {
  if (name !== 'POST /v1/search' && name !== 'GET /v1/index') return null;
  const { timings_ms: _, trace_id: __, ...answer } = JSON.parse(text);
  return answer;
}

/** Everything of alpha's, as its stores have it. */
async function stateOfAlpha(): Promise<string> {
  const points = await rig.index.scan('alpha', { limit: 100, withVectors: true });
  const ingestions = await rig.ledger.listIngestions('alpha', { limit: 100 });
  const failures = await Promise.all(ingestions.map(({ ingestionId }) => rig.ledger.failures(ingestionId, { limit: 100 })));
  const audits = await rig.ledger.listAudits('alpha', { limit: 100 });
  const questions = await Promise.all(
    alpha.questions.map(async (questionId) => ({
      question: await rig.ledger.getQuestion('alpha', questionId),
      events: await rig.ledger.questionEvents('alpha', questionId, { after: 0, limit: 100 }),
      reviewed: await rig.ledger.getReviewed('alpha', questionId),
    })),
  );
  const webhooks = await rig.ledger.listWebhooks('alpha');
  const deliveries = await rig.ledger.listDeliveries('alpha', 'alpha-hook', { limit: 10 });
  const keys = await rig.ledger.listApiKeys('alpha');
  const changes = {
    owed: (await rig.ledger.owedChanges(0)).filter(({ tenant }) => tenant === 'alpha'),
    failed: await rig.ledger.changeFailures('alpha', { limit: 10 }),
  };
  const stored: string[] = [];
  for (const prefix of tenantPrefixes('alpha'))
    for await (const { key, eTag } of rig.store.list({ bucket: SYSTEM_BUCKET, prefix })) stored.push(`${key} ${eTag}`);
  return JSON.stringify({
    points,
    ingestions,
    failures,
    audits,
    questions,
    changes,
    webhooks,
    deliveries,
    keys: keys.map((key) => ({ ...key, lastUsedAt: null })),
    stored,
  });
}

test("no request of a tenant's key reads or changes anything of another tenant", async () => {
  const before = await stateOfAlpha();
  const known = () => [
    MARK,
    ...alpha.assets,
    ...alpha.ingestions,
    ...alpha.audits,
    ...alpha.questions,
    ...alpha.webhooks,
    ...alpha.keys,
  ];
  const statuses = new Map<string, Set<number>>();
  const search = trySearch.map((asked) => ({ name: 'POST /v1/search', ...asked }));
  const tried = (await operations()).flatMap(({ name, attempt }) =>
    attempt ? [attempt.map((asked) => ({ name, ...asked }))] : [],
  );
  // A search has the most ways to go wrong.
  const attempt = fc.oneof(...tried, ...[1, 2, 3].map(() => search));
  await fc.assert(
    fc.asyncProperty(attempt, async ({ name, ...asked }) => {
      const { status, text } = await ask(rig, betaKey, asked);
      const same = await ask(control, controlKey, asked);
      expect({ status, answer: comparable(name, text) }).toEqual({ status: same.status, answer: comparable(name, same.text) });
      statuses.set(name, (statuses.get(name) ?? new Set()).add(status));
      expect(status).toBeLessThan(500);
      for (const secret of known()) expect(text).not.toContain(secret);
      const namesAlphas = known().some(
        (secret) => asked.url.includes(secret) || JSON.stringify(asked.payload?.['image' as never] ?? '').includes(secret),
      );
      if (namesAlphas) expect([400, 404]).toContain(status);
    }),
    { seed: SEED, numRuns: RUNS },
  );
  expect(await stateOfAlpha()).toBe(before);
  // It was not refusals alone that were seen: what is beta's own was answered.
  for (const name of [
    'POST /v1/search',
    'GET /v1/index',
    'GET /v1/ingestions',
    'GET /v1/ingestions/{ingestion_id}',
    'GET /v1/audits',
    'POST /v1/audits',
    'GET /v1/audits/{audit_id}',
    'GET /v1/audits/{audit_id}/findings',
    'POST /v1/questions',
    'GET /v1/questions',
    'GET /v1/questions/{question_id}',
    'GET /v1/questions/{question_id}/events',
    'POST /v1/questions/{question_id}/feedback',
    'GET /v1/questions/{question_id}/feedback',
    'GET /v1/feedback',
    'GET /v1/changes',
    'GET /v1/changes/failures',
    'POST /v1/changes/retry',
    'POST /v1/webhooks',
    'GET /v1/webhooks',
    'GET /v1/webhooks/{webhook_id}',
    'PATCH /v1/webhooks/{webhook_id}',
    'GET /v1/webhooks/{webhook_id}/deliveries',
    'POST /v1/webhooks/{webhook_id}/replay',
    'GET /v1/keys',
    'POST /v1/keys',
    'PUT /v1/items/{item_id}',
  ])
    expect({ name, ok: [...(statuses.get(name) ?? [])].some((status) => status < 300) }).toEqual({ name, ok: true });
}, 60_000);

test('what concerns the whole stack takes an admin key of the tenant that operates it', async () => {
  const scopes = ['read', 'ingest'] as const;
  const keyOf = async (tenant: string, wanted: readonly ('read' | 'ingest' | 'admin')[]) => {
    const { ledger } = rig;
    return (
      await createApiKey({ ledger, now: Date.now, randomBytes }, { tenant, name: 'n', scopes: [...wanted], expiresAt: null })
    ).secret;
  };
  const codeFor = async (key: string, asked: Asked) => {
    const { status, text } = await ask(rig, key, asked);
    return status < 300 ? status : JSON.parse(text).code;
  };
  const list = { method: 'GET', url: '/v1/migrations' } as const;
  const cancel = { method: 'POST', url: '/v1/migrations/the-stacks/cancel', payload: {} } as const;
  for (const asked of [list, cancel]) {
    expect(await codeFor(betaKey, asked)).toBe('scope_missing');
    expect(await codeFor(await keyOf('default', scopes), asked)).toBe('scope_missing');
  }
  expect((await rig.ledger.getMigration('the-stacks'))?.status).toBe('waiting');
  const operator = await keyOf('default', ['admin']);
  expect(await codeFor(operator, list)).toBe(200);
  expect(await codeFor(operator, cancel)).toBe(202);
  expect(await codeFor(operator, cancel)).toBe('migration_state');
});

test("another tenant's cursor is none, for the very same request", async () => {
  const payload = { query: 'red shoe', limit: 1, group_by: 'asset', cursor: alpha.cursor };
  const { status, text } = await ask(rig, betaKey, { method: 'POST', url: '/v1/search', payload });
  expect({ status, code: JSON.parse(text).code }).toEqual({ status: 400, code: 'request_invalid' });
});

test('a tenant that deletes itself leaves the others whole', async () => {
  const before = await stateOfAlpha();
  const { status, text } = await ask(rig, betaKey, { method: 'DELETE', url: '/v1/tenant?confirm=beta' });
  expect({ status, tenant: JSON.parse(text).tenant }).toEqual({ status: 200, tenant: 'beta' });
  expect(await stateOfAlpha()).toBe(before);
  expect((await ask(rig, betaKey, { method: 'GET', url: '/v1/index' })).status).toBe(401);
  expect((await rig.index.scan('beta', { limit: 10 })).length).toBe(0);
});
