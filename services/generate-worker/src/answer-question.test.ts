import { afterEach, expect, test } from '@jest/globals';
import { SYSTEM_BUCKET, questionPictureKey } from '@sightline/shared/contracts/ids';
import type { Question } from '@sightline/shared/ports/question-ledger';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { setTimeout as sleep } from 'node:timers/promises';
import sharp from 'sharp';
import { recheckAnswers, reviewAnswers, watchEvents } from './core/watch-answers.ts';
import { openAnswerRig, type AnswerRig } from './testing/answer-rig.ts';

const rigs: AnswerRig[] = [];

afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close();
});

async function opened(...args: Parameters<typeof openAnswerRig>): Promise<AnswerRig> {
  const rig = await openAnswerRig(...args);
  rigs.push(rig);
  return rig;
}

async function withParts(...args: Parameters<typeof openAnswerRig>): Promise<AnswerRig & { red: string; blue: string }> {
  const rig = await opened(...args);
  const red = await rig.add({
    itemId: 'cooler-red',
    title: 'Red cooler',
    text: 'Its mounting holes are 78 mm apart and fit socket AM4.',
    colour: [1, 0, 0],
  });
  const blue = await rig.add({ itemId: 'cooler-blue', title: 'Blue cooler', text: 'A quiet fan of 120 mm.', colour: [0, 0, 1] });
  return Object.assign(rig, { red, blue });
}

async function answered(
  rig: AnswerRig,
  asking: Parameters<AnswerRig['ask']>[0],
): Promise<Question & { result: NonNullable<Question['result']> }> {
  const questionId = await rig.ask(asking);
  await rig.work(questionId);
  const question = await rig.question(questionId);
  if (!question.result) throw new Error(`It was not answered: ${JSON.stringify(question.error)}`);
  return { ...question, result: question.result };
}

async function code(rig: AnswerRig, questionId: string): Promise<string | undefined> {
  return (await rig.question(questionId)).error?.code;
}

test('a question is answered with its sources, its boxes on their picture, and what it took', async () => {
  const rig = await withParts({ always: { text: 'The red cooler fits AM4 [1]. Its holes are here [1] [[100,200,600,800]].' } });
  const { status, result } = await answered(rig, { question: 'Does the red cooler fit AM4?', metadata: { ticket: '7' } });
  expect(status).toBe('answered');
  expect(result.answer).toBe('The red cooler fits AM4 [1]. Its holes are here [1].');
  expect(result.citations).toMatchObject([{ citationId: 'c1', assetId: rig.red, itemId: 'cooler-red', title: 'Red cooler' }]);
  expect(result.citations[0]?.quote).toContain('AM4');
  expect(result.images).toMatchObject([{ n: 1, source: 'citation', citationId: 'c1', widthPx: 120, heightPx: 90 }]);
  // 120 x 90 in a square of 200: 200 x 150, with 25 above and below.
  expect(result.boxes).toMatchObject([{ image: 1, pixels: [12, 9, 72, 81] }]);
  expect(result).toMatchObject({ noMatch: false, model: 'scripted', promptVersion: 'answer-v1+claim-check-v1' });
  expect(result.usage.images).toBeGreaterThanOrEqual(1);
  const types = await rig.events((await rig.ledger.listQuestions('default', { limit: 1 })).questions[0]?.questionId ?? '');
  expect(types[0]).toBe('retrieved');
  expect(types.slice(-2)).toEqual(['citations', 'done']);
  expect(types).toContain('tokens');
});

test('the prompt is kept with the answer as the model server was sent it', async () => {
  const rig = await withParts({ always: { text: 'The red cooler fits AM4 [1].' } });
  const { questionId } = await answered(rig, { question: 'Does the red cooler fit AM4?' });
  const kept = (await rig.ledger.getReviewed('default', questionId))?.prompt;
  const [request] = rig.server.requests;
  const texts = kept?.content.filter((part) => typeof part === 'string') ?? [];
  for (const text of [kept?.system ?? '?', ...texts]) expect(request?.text).toContain(text);
  expect(kept?.content.filter((part) => typeof part === 'number')).toEqual([0, 1]);
  expect(kept?.sources[0]).toEqual({ n: 1, assetId: rig.red, itemId: 'cooler-red', title: 'Red cooler' });
  expect(kept?.pictures).toMatchObject([
    { source: 1, object: { key: 'cooler-red.png', eTag: expect.any(String) }, widthPx: 120, heightPx: 90, orientation: 1 },
    { source: 2 },
  ]);
  expect(kept).toMatchObject({ boxFrame: 'thousand', imageSidePx: 200, structured: false });
});

test('a prompt that asks for JSON is kept as one, also when the server turns out not to hold answers to a schema', async () => {
  const rig = await withParts({ refuses: ['response_format'] }, { structured: 'auto' });
  const { questionId } = await answered(rig, { question: 'Does the red cooler fit AM4?' });
  expect(rig.deps.generator.profile.structured).toBe(false);
  const kept = (await rig.ledger.getReviewed('default', questionId))?.prompt;
  expect(kept?.system).toContain('JSON');
  expect(kept?.structured).toBe(true);
});

test('the model is shown the sources by relevance with their pictures, and the question', async () => {
  const rig = await withParts();
  await answered(rig, { question: 'Does the red cooler fit AM4?' });
  const [request] = rig.server.requests;
  expect(request?.images).toBe(2);
  expect(request?.text).toMatch(/Source \[1\]\n<source-[0-9a-f]{12}>\nRed cooler\nIts mounting holes are 78 mm apart/);
  expect(request?.text.indexOf('Question:')).toBeGreaterThan(request?.text.indexOf('Source [2]') ?? Infinity);
});

test('where nothing is relevant it says so, and no model is asked', async () => {
  const rig = await opened();
  const { result } = await answered(rig, { question: 'Which dishwasher is the quietest?' });
  expect(result).toMatchObject({ noMatch: true, model: null, citations: [], usage: { promptTokens: 0 } });
  expect(result.answer).toMatch(/^I do not know/);
  expect(rig.server.requests).toEqual([]);
});

test('that it does not know is said in the language that was asked for, else that of the question', async () => {
  const rig = await opened();
  const said = async (question: string, language: string | null = null) =>
    (await answered(rig, { question, language })).result.answer;
  expect(await said('哪台洗碗机最安静？')).toMatch(/^我不知道/);
  expect(await said('一番静かな食洗機はどれですか')).toMatch(/^わかりません/);
  expect(await said('가장 조용한 식기세척기는?')).toMatch(/^모르겠습니다/);
  expect(await said('哪台洗碗机最安静？', 'de-CH')).toMatch(/^Das weiß ich nicht/);
  expect(await said('Which dishwasher is the quietest?', 'tlh')).toMatch(/^I do not know/);
});

test('where nothing passes the filter and there is no picture, no model is asked either', async () => {
  const rig = await withParts();
  const { result } = await answered(rig, { question: 'Does it fit AM4?', filter: { item_id: 'no-such-cooler' } });
  expect(result).toMatchObject({ noMatch: true, model: null });
  expect(rig.server.requests).toEqual([]);
  const empty = await answered(rig, { question: 'Which dishwasher is the quietest?', filter: {} });
  expect(empty.result).toMatchObject({ noMatch: true, model: null });
  await answered(rig, { question: 'What is its colour in Klingon?', filter: { item_id: 'cooler-red' } });
  expect(rig.server.requests[0]?.text).toContain('Red cooler');
});

test('half a search that finds nothing gives the question back: it does not say that there is nothing', async () => {
  const rig = await withParts();
  const whole = rig.deps.version();
  const encodeQuery = (): never => {
    throw new SightlineError('encoder_unavailable');
  };
  const half = { ...whole, search: { ...whole.search, encodeQuery } };
  const without = { version: () => half };
  const questionId = await rig.ask({ question: 'Which dishwasher is the quietest?' });
  await expect(rig.work(questionId, { deps: without })).rejects.toMatchObject({ code: 'job_handed_back' });
  expect(await rig.question(questionId)).toMatchObject({ status: 'queued', attempts: 0 });
  await rig.work(questionId, { deps: { ...without, giveUpAfterMs: 0 } });
  expect(await code(rig, questionId)).toBe('encoder_unavailable');
  // What the keywords alone find is answered from, and said.
  const found = await rig.ask({ question: 'Which cooler has holes 78 mm apart for socket AM4?' });
  await rig.work(found, { deps: without });
  expect((await rig.question(found)).result?.warnings.some((warning) => warning.startsWith('degraded: '))).toBe(true);
});

test('a question with a picture is asked of the model also where nothing matches', async () => {
  const rig = await opened({ always: { text: 'A green square [[0,0,1000,1000]].' } });
  const bytes = await sharp({ create: { width: 60, height: 60, channels: 3, background: '#00ff00' } })
    .jpeg()
    .toBuffer();
  const key = questionPictureKey('default', 'own');
  await rig.store.put({ bucket: SYSTEM_BUCKET, key }, bytes, { contentType: 'image/jpeg' });
  const { result } = await answered(rig, { picture: { key } });
  expect(result).toMatchObject({ noMatch: false, images: [{ source: 'question', citationId: null }] });
  expect(result.boxes).toMatchObject([{ image: 1, pixels: [0, 0, 60, 60], normalized: [0, 0, 1, 1] }]);
});

test('a picture of the index asks for what is like it, and is not its own source', async () => {
  const rig = await withParts({ always: { text: 'It looks like [1].' } });
  const { result } = await answered(rig, { picture: { assetId: rig.red }, mode: 'visually_similar' });
  expect(result.citations.map(({ assetId }) => assetId)).not.toContain(rig.red);
});

test('ids that were not given are cut from the answer and counted', async () => {
  const rig = await withParts({ always: { text: 'It fits [1], as all others do [9].' } });
  const { result } = await answered(rig, { question: 'Does the red cooler fit AM4?' });
  expect(result.answer).toBe('It fits [1], as all others do.');
  const metrics = await rig.registry.metrics();
  expect(metrics).toMatch(/sightline_answer_marks_dropped_total\{what="citations"\} 1/);
});

test('a prompt that the server finds too long is built shorter', async () => {
  const rig = await withParts();
  rig.server.play({
    status: 400,
    message: "This model's maximum context length is 2048 tokens.",
    errorCode: 'context_length_exceeded',
  });
  const { status } = await answered(rig, { question: 'Does the red cooler fit AM4?' });
  expect(status).toBe('answered');
  expect(rig.server.requests).toHaveLength(2);
});

test('an answer that may be longer than the model holds fails, and says how much that is', async () => {
  const rig = await withParts();
  const questionId = await rig.ask({ question: 'Does the red cooler fit AM4?', sampling: { maxTokens: 8_192 } });
  await rig.work(questionId);
  const { error } = await rig.question(questionId);
  expect(error?.code).toBe('question_too_long');
  expect(error?.detail).toMatch(/^It has \d+ tokens, of which the answer may take 8192\.$/);
  expect(rig.server.requests).toEqual([]);
});

test('a broken answer is asked for again, and what was streamed of it is void', async () => {
  const rig = await withParts();
  rig.server.play({ ending: 'close' });
  const question = await answered(rig, { question: 'Does the red cooler fit AM4?' });
  expect(question.status).toBe('answered');
  const events = await rig.ledger.questionEvents('default', question.questionId, { after: 0, limit: 100 });
  const retrieved = events.flatMap(({ data }) => (data.type === 'retrieved' ? [data.attempt] : []));
  expect(retrieved).toEqual([1, 2]);
});

test('attempts are counted on over workers that gave the question back: what each streamed is void', async () => {
  const rig = await withParts({ always: { instead: 'reset' } });
  const questionId = await rig.ask({ question: 'Does the red cooler fit AM4?' });
  await expect(rig.work(questionId)).rejects.toMatchObject({ code: 'job_handed_back' });
  rig.server.always({ text: 'It fits [1].' });
  await rig.work(questionId);
  const events = await rig.ledger.questionEvents('default', questionId, { after: 0, limit: 100 });
  expect(events.flatMap(({ data }) => (data.type === 'retrieved' ? [data.attempt] : []))).toEqual([1, 2]);
});

test('a server that answers broken over and over ends the question with its code', async () => {
  const rig = await withParts({ always: { instead: 'malformed' } });
  const questionId = await rig.ask({ question: 'Does the red cooler fit AM4?' });
  await rig.work(questionId, { deps: { sleep: async () => {} } });
  expect(await code(rig, questionId)).toBe('generator_malformed');
  expect(rig.told).toHaveLength(1);
});

test('a server that is away gives the question back, until it has waited too long', async () => {
  const rig = await withParts({ always: { instead: 'reset' } });
  const questionId = await rig.ask({ question: 'Does the red cooler fit AM4?' });
  await expect(rig.work(questionId)).rejects.toMatchObject({ code: 'job_handed_back' });
  expect(await rig.question(questionId)).toMatchObject({ status: 'queued', attempts: 0 });
  await rig.work(questionId, { deps: { giveUpAfterMs: 0 } });
  expect(await rig.question(questionId)).toMatchObject({
    status: 'failed',
    error: { code: 'generator_unavailable', detail: null },
  });
});

test('a cancelled question is broken off at the server, and nothing is told of it', async () => {
  const rig = await withParts({ always: { instead: 'hang' } });
  const questionId = await rig.ask({ question: 'Does the red cooler fit AM4?' });
  const working = rig.work(questionId);
  while (rig.server.requests.length === 0) await sleep(10);
  expect(await rig.ledger.cancelQuestion('default', questionId, { eventId: 'e', at: Date.now() })).toBe('cancelled');
  await working;
  while (!rig.server.requests[0]?.isCancelled) await sleep(10);
  expect(await rig.question(questionId)).toMatchObject({ status: 'cancelled', result: null });
  expect(rig.told).toEqual([]);
});

test('a question that is cancelled while its answer comes is counted as that, once, and as nothing else', async () => {
  const rig = await withParts({ always: { text: 'It fits AM4, '.repeat(4), wordsAtOnce: 1, tokenMs: 100 } });
  const questionId = await rig.ask({ question: 'Does the red cooler fit AM4?' });
  // Nothing but its writes can tell it.
  const working = rig.work(questionId, { deps: { renewEveryMs: 1_000_000 } });
  while (!(await rig.events(questionId)).includes('tokens')) await sleep(10);
  await rig.ledger.cancelQuestion('default', questionId, { eventId: 'e', at: Date.now() });
  await working;
  const late = await rig.ask({ question: 'Does the red cooler fit AM4?' });
  rig.server.always({ text: 'It fits.' });
  const { messages } = rig.deps;
  const answered: typeof messages.answered = (...args) => {
    // When all is done but the writing down of its end, which is asked of the ledger after this.
    void rig.ledger.cancelQuestion('default', late, { eventId: 'e2', at: Date.now() });
    return messages.answered(...args);
  };
  await rig.work(late, { deps: { messages: { ...messages, answered }, renewEveryMs: 1_000_000 } });
  expect((await rig.question(late)).status).toBe('cancelled');
  const ended = (await rig.registry.metrics()).match(/^sightline_questions_ended_total\{.*$/gm);
  expect(ended).toEqual(['sightline_questions_ended_total{outcome="cancelled"} 2']);
});

test('who stops gives its question back', async () => {
  const rig = await withParts({ always: { instead: 'hang' } });
  const questionId = await rig.ask({ question: 'Does the red cooler fit AM4?' });
  const stop = new AbortController();
  const working = rig.work(questionId, { signal: stop.signal });
  while (rig.server.requests.length === 0) await sleep(10);
  stop.abort(new Error('the worker is closing'));
  await expect(working).rejects.toMatchObject({ code: 'job_handed_back' });
  expect(await rig.question(questionId)).toMatchObject({ status: 'queued', attempts: 0 });
});

test('two workers of one question answer it once', async () => {
  const rig = await withParts();
  const questionId = await rig.ask({ question: 'Does the red cooler fit AM4?' });
  await Promise.all([rig.work(questionId), rig.work(questionId), rig.work(questionId)]);
  expect(rig.server.requests).toHaveLength(1);
  expect(rig.told).toHaveLength(1);
});

test('a worker that stood still past its claim changes nothing any more', async () => {
  const rig = await withParts({ always: { firstTokenMs: 400 } });
  const questionId = await rig.ask({ question: 'Does the red cooler fit AM4?' });
  // Its clock stands: the claim is over as soon as it is made, and is not renewed.
  const frozen = rig.work(questionId, { deps: { claimMs: 1, renewEveryMs: 1_000_000 } });
  while (rig.server.requests.length === 0) await sleep(5);
  await rig.work(questionId);
  const first = await rig.question(questionId);
  await frozen;
  expect(await rig.question(questionId)).toEqual(first);
  expect(rig.told).toHaveLength(1);
});

test('a question over which workers die is given up', async () => {
  const rig = await withParts();
  const questionId = await rig.ask({ question: 'Does the red cooler fit AM4?' });
  for (let death = 0; death < 6; death++)
    await rig.ledger.takeQuestion(questionId, { token: `dead-${death}`, claimMs: 0, at: Date.now() });
  await rig.work(questionId);
  expect(await code(rig, questionId)).toBe('question_kills_worker');
});

test('questions that workers died over are worked one at a time, and those that are not at fault are answered', async () => {
  const rig = await withParts({ always: { firstTokenMs: 60 } });
  const ids = await Promise.all([1, 2, 3].map(() => rig.ask({ question: 'Does the red cooler fit AM4?' })));
  for (const id of ids)
    for (let death = 0; death < 3; death++)
      await rig.ledger.takeQuestion(id, { token: `dead-${death}`, claimMs: 0, at: Date.now() });
  await Promise.all(ids.map((id) => rig.work(id)));
  for (const id of ids) expect((await rig.question(id)).status).toBe('answered');
  expect(rig.server.capacity.mostAtOnce).toBe(1);
  const others = await Promise.all([1, 2, 3].map(() => rig.ask({ question: 'Does the red cooler fit AM4?' })));
  await Promise.all(others.map((id) => rig.work(id)));
  expect(rig.server.capacity.mostAtOnce).toBeGreaterThan(1);
});

test("a question's picture that is none fails with its code and the reason", async () => {
  const rig = await withParts();
  const key = questionPictureKey('default', 'bad');
  await rig.store.put({ bucket: SYSTEM_BUCKET, key }, Buffer.from('<html>not found</html>'), { contentType: 'text/html' });
  const questionId = await rig.ask({ picture: { key } });
  await rig.work(questionId);
  expect((await rig.question(questionId)).status).toBe('failed');
  expect(await code(rig, questionId)).toMatch(/^picture_/);
});

test('a picture of a source that cannot be shown is left out and said, the rest goes on', async () => {
  const rig = await withParts();
  await rig.store.put({ bucket: rig.bucket, key: 'cooler-red.png' }, Buffer.from('no picture any more'), {
    contentType: 'image/png',
  });
  const { result } = await answered(rig, { question: 'Does the red cooler fit AM4?' });
  expect(result.warnings.some((warning) => warning.startsWith('picture_'))).toBe(true);
  expect(rig.server.requests[0]?.images).toBe(1);
});

test('however many questions are worked, few stored pictures are in memory at a time; one that breaks gives its place back', async () => {
  const rig = await withParts();
  await rig.store.put({ bucket: rig.bucket, key: 'cooler-blue.png' }, Buffer.from('no picture any more'), {
    contentType: 'image/png',
  });
  const { store, letterbox } = rig.deps;
  let [now, most] = [0, 0];
  const counted: Partial<typeof rig.deps> = {
    store: Object.assign(Object.create(store) as typeof store, {
      get: async (...args: Parameters<typeof store.get>) => {
        most = Math.max(most, ++now);
        return await store.get(...args).catch((error: unknown) => {
          now--;
          throw error;
        });
      },
    }),
    letterbox: { letterbox: (bytes) => letterbox.letterbox(bytes).finally(() => now--) },
  };
  const ids = await Promise.all(Array.from({ length: 6 }, () => rig.ask({ question: 'Does the red cooler fit AM4?' })));
  await Promise.all(ids.map((questionId) => rig.work(questionId, { deps: counted })));
  expect(most).toBe(2);
  expect((await Promise.all(ids.map((questionId) => rig.question(questionId)))).map(({ status }) => status)).toEqual(
    ids.map(() => 'answered'),
  );
});

test("a question whose picture's asset is gone, or whose picture is, fails with the code of that", async () => {
  const rig = await withParts();
  const [first, second] = [await rig.ask({ picture: { assetId: rig.red } }), await rig.ask({ picture: { assetId: rig.blue } })];
  await rig.remove(rig.red);
  await rig.store.delete({ bucket: rig.bucket, key: 'cooler-blue.png' });
  for (const questionId of [first, second]) await rig.work(questionId);
  expect([await code(rig, first), await code(rig, second)]).toEqual(['asset_not_found', 'object_not_found']);
  expect(rig.server.requests).toEqual([]);
});

test('pictures of sources for which the model has no place are said', async () => {
  const rig = await withParts({}, { profile: { maxImages: 1 } });
  const { result } = await answered(rig, { question: 'Does the red cooler fit AM4?' });
  expect(rig.server.requests[0]?.images).toBe(1);
  expect(result.warnings).toContain('pictures_left_out: 1 pictures of sources were not shown; the model takes 1.');
});

test('a question that allows no picture is answered from words alone, whatever the model could see', async () => {
  const rig = await withParts();
  const { result } = await answered(rig, { question: 'Does the red cooler fit AM4?', maxImages: 0 });
  expect(rig.server.requests[0]).toMatchObject({ images: 0 });
  expect(rig.server.requests[0]?.text).toContain('Red cooler');
  expect(result).toMatchObject({ images: [], boxes: [], usage: { images: 0 } });
  // Its own picture is searched with and not shown: where nothing is like it there is nothing to ask about.
  const bytes = await sharp({ create: { width: 60, height: 60, channels: 3, background: '#00ff00' } })
    .jpeg()
    .toBuffer();
  const key = questionPictureKey('default', 'own');
  await rig.store.put({ bucket: SYSTEM_BUCKET, key }, bytes, { contentType: 'image/jpeg' });
  const alone = await answered(rig, { question: '', picture: { key }, maxImages: 0 });
  expect(alone.result).toMatchObject({ noMatch: true, model: null });
  expect(rig.server.requests).toHaveLength(1);
});

test('other tenants see nothing of it', async () => {
  const rig = await withParts();
  await rig.add({ itemId: 'secret', title: 'Secret cooler', text: 'Fits AM4.', colour: [1, 0, 0], tenant: 'other' });
  const { result } = await answered(rig, { question: 'Which cooler fits AM4?', k: 10 });
  expect(rig.server.requests[0]?.text).not.toContain('Secret');
  expect(result.citations.map(({ itemId }) => itemId)).not.toContain('secret');
});

test('an answer is marked stale, once, when its source changes or goes, and not by what it does not cite', async () => {
  const rig = await withParts({ always: { text: 'It fits [1].' } });
  const { questionId } = await answered(rig, { question: 'Does the red cooler fit AM4?' });
  const asset = (assetId: string, itemId: string) =>
    ({ type: 'asset.indexed', tenant: 'default', data: { asset_id: assetId, item_ids: [itemId] } }) as never;
  const signal = new AbortController().signal;
  expect(await recheckAnswers(rig.watch, 100)).toBe(1);
  expect(await recheckAnswers(rig.watch, 100)).toBe(0);
  expect(await watchEvents(rig.watch, [asset(rig.red, 'cooler-red')], signal)).toBe(0);
  await rig.add({ itemId: 'cooler-blue', title: 'Blue cooler', text: 'Another text.', colour: [0, 0, 1] });
  expect(await watchEvents(rig.watch, [asset(rig.blue, 'cooler-blue')], signal)).toBe(0);
  await rig.add({ itemId: 'cooler-red', title: 'Red cooler', text: 'It fits socket AM5.', colour: [1, 0, 0] });
  expect(await watchEvents(rig.watch, [asset(rig.red, 'cooler-red')], signal)).toBe(1);
  expect(await watchEvents(rig.watch, [asset(rig.red, 'cooler-red')], signal)).toBe(0);
  expect((await rig.question(questionId)).staleAt).not.toBeNull();
  const told = await rig.ledger.unpublishedMessages(10);
  expect(told.map(({ event }) => (JSON.parse(event) as { type: string }).type)).toEqual(['question.answered', 'answer.stale']);
});

test('a source that changed while the model wrote is seen when the answer is looked at again', async () => {
  const rig = await withParts({ always: { text: 'It fits [1].', firstTokenMs: 300 } });
  const questionId = await rig.ask({ question: 'Does the red cooler fit AM4?' });
  const working = rig.work(questionId);
  while (rig.server.requests.length === 0) await sleep(10);
  await rig.remove(rig.red);
  await working;
  expect((await rig.question(questionId)).status).toBe('answered');
  await recheckAnswers(rig.watch, 100);
  expect((await rig.question(questionId)).staleAt).not.toBeNull();
});

test('JSON is held to its schema and streamed as text where the server can', async () => {
  const rig = await withParts(
    { always: { text: JSON.stringify({ answer: 'It fits AM4 [1].', boxes: [] }), wordsAtOnce: 1 } },
    { structured: 'on' },
  );
  const question = await answered(rig, { question: 'Does the red cooler fit AM4?' });
  expect(question.result.answer).toBe('It fits AM4 [1].');
  expect(rig.server.requests[0]?.body['response_format']).toMatchObject({ type: 'json_schema' });
  const events = await rig.ledger.questionEvents('default', question.questionId, { after: 0, limit: 100 });
  expect(events.map(({ data }) => (data.type === 'tokens' ? data.text : '')).join('')).toBe('It fits AM4 [1].');
});

test('what no event told of is found when all answers are gone through', async () => {
  const rig = await withParts({ always: { text: 'It fits [1].' } });
  const { questionId } = await answered(rig, { question: 'Does the red cooler fit AM4?' });
  const review = () =>
    reviewAnswers(
      { ...rig.watch, ledger: rig.ledger, tenants: async () => ['default', 'other'] },
      { pauseMs: 0, sleep: async () => {}, signal: new AbortController().signal },
    );
  expect(await review()).toBe(0);
  await rig.remove(rig.red);
  expect(await review()).toBe(1);
  expect(await review()).toBe(0);
  expect((await rig.question(questionId)).staleAt).not.toBeNull();
});
