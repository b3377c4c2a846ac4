import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { problem } from '@sightline/shared/contracts/http';
import { DEFAULT_TENANT, newId } from '@sightline/shared/contracts/ids';
import { questionGrounded, questionRetrieved, questionTokens, questionView } from '@sightline/shared/contracts/question-http';
import type { QuestionEventData } from '@sightline/shared/contracts/questions';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { newAsked } from '@sightline/shared/testing/question-builder';
import { openRig, type Rig } from './testing/query-api-rig.ts';
import { doneId, QuestionWorker, retrieved, tokens } from './testing/question-worker.ts';

let rig: Rig;
let origin: string;
/** Whose heartbeats take nobody for gone that only reads slowly. */
let patient: Rig;
const HEARTBEAT_MS = 50;
const INTERVAL_MS = 10;
const LISTENERS = 60;
/** Of every answer, by the path that was asked for. */
const responses: { url: string; raw: ServerResponse }[] = [];

beforeAll(async () => {
  rig = await openRig({
    port: 0,
    heartbeatMs: HEARTBEAT_MS,
    questionIntervalMs: INTERVAL_MS,
    longestQuestionIntervalMs: 40,
    questionListeners: LISTENERS,
  });
  origin = await rig.app.listen({ host: '127.0.0.1', port: 0 });
  patient = await openRig({ port: 0, heartbeatMs: 600_000 });
  await patient.app.listen({ host: '127.0.0.1', port: 0 });
  for (const { app } of [rig, patient]) app.server.on('request', ({ url = '' }, raw) => responses.push({ url, raw }));
});
afterAll(async () => {
  await rig.close();
  await patient.close();
});

async function ask({ ledger } = rig): Promise<string> {
  const questionId = newId();
  const question = { questionId, tenant: DEFAULT_TENANT, traceId: 't', asked: newAsked(), createdAt: Date.now() };
  await ledger.createQuestion(question, { maxBacklog: 1_000 });
  return questionId;
}

/** A question that a worker has begun to answer. */
async function begin(on = rig): Promise<{ questionId: string; worker: QuestionWorker }> {
  const questionId = await ask(on);
  const worker = new QuestionWorker(on.ledger, newId());
  await worker.take(questionId);
  return { questionId, worker };
}

interface Told {
  id: string;
  event: string;
  data: unknown;
}

function listen(questionId: string, lastEventId?: string, signal?: AbortSignal, at = origin): Promise<Response> {
  return fetch(`${at}/v1/questions/${questionId}/events`, {
    ...(lastEventId === undefined ? {} : { headers: { 'last-event-id': lastEventId } }),
    ...(signal && { signal }),
  });
}

/** Events as they come, by the rules of server-sent events. */
async function* eventsOf(response: Response): AsyncGenerator<Told> {
  let text = '';
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += chunk;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const fields = new Map(
        text
          .slice(0, end)
          .split('\n')
          .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
      );
      text = text.slice(end + 2);
      if (fields.has('data'))
        yield { id: fields.get('id') ?? '', event: fields.get('event') ?? '', data: JSON.parse(fields.get('data') ?? '') };
    }
  }
}

async function allOf(response: Response): Promise<Told[]> {
  const told: Told[] = [];
  for await (const event of eventsOf(response)) told.push(event);
  return told;
}

const namesOf = (told: Told[]) => told.map(({ id, event }) => `${id} ${event}`);

test('an answer is streamed as it is made, from before it is begun, and the stream ends with it', async () => {
  const questionId = await ask();
  const response = await listen(questionId);
  expect({ status: response.status, type: response.headers.get('content-type') }).toEqual({
    status: 200,
    type: 'text/event-stream; charset=utf-8',
  });
  const events = eventsOf(response);
  const worker = new QuestionWorker(rig.ledger, 'w');
  await worker.take(questionId);
  await worker.tell(questionId, retrieved(1));
  // Each is told before the next is made: nothing waits for the end.
  const first = await events.next();
  expect(questionRetrieved.parse(first.value.data)).toEqual({
    attempt: 1,
    sources: [{ citation_id: 'c1', asset_id: 'asset-1', item_id: 'item-1', title: 'Cooler', relevance_score: 0.75 }],
    no_match: false,
    degraded: false,
  });
  await worker.tell(questionId, tokens(1, 'The first'));
  const second = await events.next();
  expect(questionTokens.parse(second.value.data)).toEqual({ attempt: 1, text: 'The first' });
  await worker.tell(questionId, tokens(1, ' one.\n\ndata: x'));
  await worker.answer(DEFAULT_TENANT, questionId);
  const rest: Told[] = [];
  for await (const event of events) rest.push(event);
  expect(namesOf([first.value, second.value, ...rest])).toEqual([
    '1 retrieved',
    '2 tokens',
    '3 tokens',
    '4 citations',
    `${doneId(questionId)} done`,
  ]);
  expect(rest[0]?.data).toEqual({ attempt: 1, text: ' one.\n\ndata: x' });
  const view: unknown = await (await fetch(`${origin}/v1/questions/${questionId}`)).json();
  expect(questionView.parse(rest.at(-1)?.data)).toEqual(view);
  const { citations, boxes, images, claims } = questionView.parse(view);
  expect(questionGrounded.parse(rest[1]?.data)).toEqual({ attempt: 1, citations, boxes, images, claims });
});

test('a listener goes on after any event that it was told last; what it was not told of begins from the beginning', async () => {
  const { questionId, worker } = await begin();
  const parts = Array.from({ length: 7 }, (_, n) => tokens(1, `${n}`));
  await worker.tell(questionId, retrieved(1), ...parts);
  await worker.answer(DEFAULT_TENANT, questionId);
  const whole = await allOf(await listen(questionId));
  expect(namesOf(whole)).toHaveLength(10);
  for (let told = 1; told < whole.length; told++)
    expect(await allOf(await listen(questionId, whole[told - 1]?.id))).toEqual(whole.slice(told));

  // EventSource ends at this answer, and at no other.
  const over = await listen(questionId, doneId(questionId));
  expect({ status: over.status, body: await over.text() }).toEqual({ status: 204, body: '' });
  const other = await begin();
  await other.worker.answer(DEFAULT_TENANT, other.questionId);
  for (const unknown of ['0', '-1', '1e1', '10', '11', '99999', '9'.repeat(40), 'x', '99; DROP', doneId(other.questionId)])
    expect({ unknown, told: await allOf(await listen(questionId, unknown)) }).toEqual({ unknown, told: whole });
});

test('a longer stream than is read at once is told whole, to whoever begins and to whoever goes on', async () => {
  const { questionId, worker } = await begin();
  const parts = Array.from({ length: 700 }, (_, n) => tokens(1, `${n}`));
  await worker.tell(questionId, retrieved(1), ...parts);
  await worker.answer(DEFAULT_TENANT, questionId);
  const expected = Array.from({ length: 702 }, (_, n) => `${n + 1}`);
  const ids = async (from?: string) => (await allOf(await listen(questionId, from))).map(({ id }) => id);
  const [whole, part] = await Promise.all([ids(), ids('300')]);
  expect(whole).toEqual([...expected, doneId(questionId)]);
  expect(part).toEqual([...expected.slice(300), doneId(questionId)]);
  expect((await listen(questionId, doneId(questionId))).status).toBe(204);
});

test('a new attempt is told after what it makes void, also to a listener who was away meanwhile', async () => {
  const { questionId, worker } = await begin();
  await worker.tell(questionId, retrieved(1), tokens(1, 'half an ans'));
  const leave = new AbortController();
  const stays = listen(questionId).then(allOf);
  const first = eventsOf(await listen(questionId, undefined, leave.signal));
  await first.next();
  const { id } = (await first.next()).value as Told;
  leave.abort();
  // The worker died; its claim has lapsed when the next one takes over, and what it still says is not told.
  const next = new QuestionWorker(rig.ledger, newId());
  expect(await next.take(questionId, Date.now() + 3_600_000)).toBe(2);
  expect(await worker.tell(questionId, tokens(1, 'wer'))).toBe(false);
  await next.tell(questionId, retrieved(2), tokens(2, 'an answer'));
  await next.answer(DEFAULT_TENANT, questionId);
  const again = await allOf(await listen(questionId, id));
  expect(again.map(({ event }) => event)).toEqual(['retrieved', 'tokens', 'citations', 'done']);
  expect(again[0]?.data).toMatchObject({ attempt: 2 });
  expect((await stays).map(({ event }) => event)).toEqual(['retrieved', 'tokens', ...again.map(({ event }) => event)]);
});

test('a question that fails or is cancelled ends its streams with done', async () => {
  const failing = await begin();
  const cancelled = await ask();
  const streams = [failing.questionId, cancelled].map(async (questionId) => allOf(await listen(questionId)));
  await failing.worker.fail(DEFAULT_TENANT, failing.questionId, { code: 'generator_empty', detail: null });
  await fetch(`${origin}/v1/questions/${cancelled}`, { method: 'DELETE' });
  const [failed, gone] = await Promise.all(streams);
  expect(failed).toMatchObject([{ event: 'done', data: { status: 'failed', error: { code: 'generator_empty' } } }]);
  expect(gone).toMatchObject([{ event: 'done', data: { status: 'cancelled', answer: null } }]);
  expect((await listen(cancelled, gone?.[0]?.id)).status).toBe(204);
});

test('one poll of the ledger serves all who listen to a question', async () => {
  const { questionId, worker } = await begin();
  await worker.tell(questionId, retrieved(1));
  const read = rig.ledger.questionEvents.bind(rig.ledger);
  let reads = 0;
  rig.ledger.questionEvents = (...asked) => {
    reads++;
    return read(...asked);
  };
  try {
    const streams = await Promise.all(Array.from({ length: 40 }, () => listen(questionId)));
    const all = Promise.all(streams.map(allOf));
    const [before, since] = [reads, performance.now()];
    for (let n = 0; n < 20; n++) {
      await worker.tell(questionId, tokens(1, `${n}`));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    // However slow the machine is, time allows for no more polls than this; forty times as many would be one for each.
    const polls = (performance.now() - since) / INTERVAL_MS;
    expect(reads - before).toBeLessThanOrEqual(polls + streams.length);
    await worker.answer(DEFAULT_TENANT, questionId);
    const [first, ...others] = await all;
    expect(first).toHaveLength(23);
    for (const told of others) expect(told).toEqual(first);
  } finally {
    rig.ledger.questionEvents = read;
  }
});

function addressOf({ app }: Rig): string {
  const [address] = app.addresses();
  if (typeof address !== 'object') throw new Error('It does not listen.');
  return `http://127.0.0.1:${address.port}`;
}

/** A bare connection that is read only when it is told to: fetch would read on by itself. */
async function slowListener(questionId: string, at: string) {
  const path = `/v1/questions/${questionId}/events`;
  const socket = connect(Number(new URL(at).port), '127.0.0.1');
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.pause();
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${new URL(at).host}\r\nConnection: close\r\n\r\n`);
  let raw: ServerResponse | undefined;
  while (!(raw = responses.findLast(({ url }) => url === path)?.raw)) await new Promise((resolve) => setTimeout(resolve, 5));
  return { socket, raw };
}

const LARGE = 64 * 1024;
/** More than a connection's buffers on both sides take. */
async function tellMuch(worker: QuestionWorker, questionId: string): Promise<void> {
  for (let n = 0; n < 25; n++)
    await worker.tell(questionId, ...Array.from({ length: 16 }, (): QuestionEventData => tokens(1, 'x'.repeat(LARGE))));
}

test('a listener who reads slowly holds one event at most, delays nobody, and is told everything in the end', async () => {
  const { questionId, worker } = await begin(patient);
  const at = addressOf(patient);
  const slow = await slowListener(questionId, at);
  await tellMuch(worker, questionId);
  await worker.answer(DEFAULT_TENANT, questionId);
  let most = 0;
  const fast = listen(questionId, undefined, undefined, at).then(async (response) => {
    const ids: string[] = [];
    for await (const { id } of eventsOf(response)) {
      ids.push(id);
      most = Math.max(most, slow.raw.writableLength);
    }
    return ids;
  });
  const ids = await fast;
  expect(ids).toHaveLength(402);
  expect(slow.raw.writableEnded).toBe(false);
  expect(most).toBeLessThan(2 * LARGE);

  let text = '';
  slow.socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  slow.socket.resume();
  await once(slow.socket, 'end');
  expect([...text.matchAll(/^id: (.+)$/gm)].map(([, id]) => id)).toEqual(ids);
}, 30_000);

test('a listener who takes nothing any more is let go, and its place is free', async () => {
  const { questionId, worker } = await begin();
  const { socket, raw } = await slowListener(questionId, origin);
  const closed = once(raw, 'close');
  await tellMuch(worker, questionId);
  await closed;
  expect({ isWhole: raw.writableFinished }).toEqual({ isWhole: false });
  socket.destroy();
}, 30_000);

test('while nothing comes only heartbeats are sent; a question that is not kept any more ends its streams', async () => {
  const { questionId, worker } = await begin();
  const response = await listen(questionId);
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  while ((text.match(/: heartbeat/g)?.length ?? 0) < 3) text += (await reader?.read())?.value ?? '';
  expect(text).not.toContain('event:');
  await worker.tell(questionId, retrieved(1));
  while (!text.includes('event: retrieved')) text += (await reader?.read())?.value ?? '';
  await rig.ledger.deleteTenant(DEFAULT_TENANT);
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done) break;
    expect(value).not.toContain('event:');
  }
});

test('a ledger that is away for a while ends no stream', async () => {
  const { questionId, worker } = await begin();
  await worker.tell(questionId, retrieved(1));
  const events = eventsOf(await listen(questionId));
  await events.next();
  const read = rig.ledger.questionEvents.bind(rig.ledger);
  let failures = 0;
  rig.ledger.questionEvents = async () => {
    failures++;
    throw new SightlineError('ledger_unavailable');
  };
  while (failures < 3) await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  rig.ledger.questionEvents = read;
  await worker.answer(DEFAULT_TENANT, questionId);
  const rest: Told[] = [];
  for await (const event of events) rest.push(event);
  expect(rest.map(({ event }) => event)).toEqual(['citations', 'done']);
});

test('listeners are bounded, and a place is free again when one leaves', async () => {
  const questionId = await ask();
  const leave = new AbortController();
  const listeners = await Promise.all(Array.from({ length: LISTENERS }, () => listen(questionId, undefined, leave.signal)));
  expect(new Set(listeners.map(({ status }) => status))).toEqual(new Set([200]));
  const refused = await listen(questionId);
  expect(problem.parse(await refused.json())).toMatchObject({ code: 'overloaded' });
  expect(refused.headers.get('retry-after')).toBe('1');
  leave.abort();
  let again = await listen(questionId);
  while (again.status !== 200) again = await listen(questionId);
  await again.body?.cancel();
});

test('closing ends open streams at once', async () => {
  const own = await openRig({ port: 0 });
  const url = await own.app.listen({ host: '127.0.0.1', port: 0 });
  const asked = await fetch(`${url}/v1/questions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ question: '?' }),
  });
  const { links } = (await asked.json()) as { links: { events: string } };
  const stream = await fetch(url + links.events);
  expect(stream.status).toBe(200);
  const told = stream.text();
  await own.close();
  expect(await told).not.toContain('event:');
});
