import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';
import sharp from 'sharp';
import { z } from 'zod';
import { TINY_ADAPTER, TINY_MODEL, TINY_PACK } from '../testing/tiny-pack.ts';
import { ModelEngine } from './model-engine.ts';
import { readModelPack } from './model-pack.ts';
import { startModelServer, type ModelServerDeps } from './model-server.ts';

const KEY = 'a key';
/** Another model than the pack's. */
const ENCODER = fileURLToPath(new URL('../../../../models/starter', import.meta.url));
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function opened({
  packDirectory = TINY_PACK,
  cancelPatienceMs,
  mostWaiting,
  ...deps
}: Omit<ModelServerDeps, 'pack' | 'engine'> & { mostWaiting?: number; packDirectory?: string; cancelPatienceMs?: number } = {}) {
  const pack = await readModelPack(packDirectory);
  const engine = await ModelEngine.open(pack, { threads: 1, ...(cancelPatienceMs ? { cancelPatienceMs } : {}) });
  closers.push(() => engine.close());
  const server = await startModelServer(
    { port: 0, apiKey: KEY, ...(mostWaiting ? { mostWaiting } : {}) },
    { pack, engine, ...deps },
  );
  closers.push(() => server.close());
  const url = `http://127.0.0.1:${server.port}/v1`;
  const send = (body: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`${url}/chat/completions`, { method: 'POST', headers: { authorization: `Bearer ${KEY}` }, body, ...init });
  const ask = (body: object, init: RequestInit = {}): Promise<Response> => send(JSON.stringify(body), init);
  return { url, send, ask, engine, pack };
}

/** A copy of the tiny pack, to be spoilt. */
function copyOfTiny(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sightline-model-server-'));
  closers.push(async () => rmSync(folder, { recursive: true, force: true }));
  cpSync(TINY_PACK, folder, { recursive: true });
  return folder;
}

/** With a template that says the last message's content, after whatever `program` does. */
function copyWithTemplate(program: string): string {
  const folder = copyOfTiny();
  const file = join(folder, 'tokenizer_config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as object;
  const said = "{% for m in messages %}{{ m['content'] }}{% endfor %}";
  writeFileSync(file, JSON.stringify({ ...config, chat_template: `${program}${said}` }));
  return folder;
}

const user = (...content: object[]) => ({ messages: [{ role: 'user', content }] });
/** As the engine takes it. */
const askedFor = (content: string) => ({
  model: null,
  messages: [{ role: 'user', content }],
  pictures: [],
  sampling: { temperature: 0, topP: 1, seed: 0 },
  maxTokens: 8_000,
  stop: [],
  topLogprobs: null,
});
const words = (text: string) => user({ type: 'text', text });
const picture = (url: string) => ({ type: 'image_url', image_url: { url } });
const greedy = { temperature: 0 };

const whole = z.object({
  model: z.string(),
  choices: z
    .array(
      z.object({
        message: z.object({ content: z.string() }),
        finish_reason: z.string(),
        logprobs: z
          .object({
            content: z.array(
              z.object({ token: z.string(), logprob: z.number(), top_logprobs: z.array(z.object({ token: z.string() })) }),
            ),
          })
          .nullable(),
      }),
    )
    .length(1),
  usage: z.object({ prompt_tokens: z.int(), completion_tokens: z.int(), total_tokens: z.int() }),
});
const answerOf = async (response: Response) => {
  const { model, choices, usage } = whole.parse(await response.json());
  return {
    status: response.status,
    model,
    text: choices[0]?.message.content ?? '',
    finish: choices[0]?.finish_reason,
    logprobs: choices[0]?.logprobs?.content,
    usage,
  };
};
const refusal = async (response: Response) => {
  const { error } = z
    .object({ error: z.object({ code: z.string(), message: z.string(), type: z.string() }) })
    .parse(await response.json());
  return { status: response.status, code: error.code };
};
const dotOf = async (side: number) => {
  const bytes = await sharp({ create: { width: side, height: side, channels: 3, background: '#d02040' } })
    .png()
    .toBuffer();
  return `data:image/png;base64,${bytes.toString('base64')}`;
};

test('a streamed answer is the whole one in pieces, with its usage at the end', async () => {
  const { ask } = await opened();
  const asked = { ...words('Which socket?'), ...greedy, max_tokens: 20 };
  const { text, finish, usage, model } = await answerOf(await ask(asked));
  expect(model).toBe(TINY_MODEL);
  expect(finish).toBe('length');
  expect(usage).toMatchObject({ completion_tokens: 20, total_tokens: usage.prompt_tokens + 20 });
  const stream = await (await ask({ ...asked, stream: true, stream_options: { include_usage: true } })).text();
  const events = stream.split('\n\n').filter(Boolean);
  expect(events.at(-1)).toBe('data: [DONE]');
  const chunk = z.object({
    choices: z.array(z.object({ delta: z.object({ content: z.string().optional() }), finish_reason: z.string().nullable() })),
    usage: whole.shape.usage.optional(),
  });
  const chunks = events.slice(0, -1).map((event) => chunk.parse(JSON.parse(event.slice('data: '.length))));
  expect(chunks.flatMap(({ choices }) => choices.map(({ delta }) => delta.content ?? '')).join('')).toBe(text);
  expect(chunks.flatMap(({ choices }) => choices.map((choice) => choice.finish_reason)).filter(Boolean)).toEqual(['length']);
  expect(chunks.at(-1)).toEqual({ choices: [], usage });
});

test('several pictures are seen, each in its place', async () => {
  const { ask } = await opened();
  const red = picture(await dotOf(32));
  const count = async (...parts: object[]) =>
    (await answerOf(await ask({ ...user(...parts), ...greedy, max_tokens: 1 }))).usage.prompt_tokens;
  const text = { type: 'text', text: 'What?' };
  expect((await count(red, text)) - (await count(text))).toBe(16);
  expect((await count(red, text, red)) - (await count(text))).toBe(32);
  // One that is not of the model's square is brought to it.
  expect((await count(picture(await dotOf(50)), text)) - (await count(text))).toBe(16);
});

test('seeds repeat an answer, a stop text ends it and is left out', async () => {
  const { ask } = await opened();
  const asked = { ...words('Which socket?'), temperature: 1, top_p: 0.95, max_tokens: 40, seed: 5 };
  const { text } = await answerOf(await ask(asked));
  expect((await answerOf(await ask(asked))).text).toBe(text);
  expect((await answerOf(await ask({ ...asked, seed: 6 }))).text).not.toBe(text);
  const stop = text.slice(6, 9);
  const cut = await answerOf(await ask({ ...asked, stop: ['not said', stop] }));
  expect(cut).toMatchObject({ text: text.slice(0, text.indexOf(stop)), finish: 'stop' });
  expect(cut.usage.completion_tokens).toBeLessThan(40);
});

test('an answer has the id and the time that it is given, and without a seed one that is drawn', async () => {
  const { ask } = await opened({ now: () => 1_700_000_000_999, newId: () => 'first', newSeed: () => 5 });
  const asked = { ...words('Which socket?'), temperature: 1, max_tokens: 12 };
  const answer = await ask(asked);
  expect(await answer.clone().json()).toMatchObject({ id: 'chatcmpl-first', created: 1_700_000_000 });
  const { text } = await answerOf(answer);
  expect((await answerOf(await ask({ ...asked, seed: 5 }))).text).toBe(text);
  expect((await answerOf(await ask({ ...asked, seed: 6 }))).text).not.toBe(text);
});

test('log-probabilities come where they are asked for', async () => {
  const { ask } = await opened();
  const { logprobs } = await answerOf(
    await ask({ ...words('Yes or no?'), ...greedy, max_tokens: 3, logprobs: true, top_logprobs: 20 }),
  );
  expect(logprobs).toHaveLength(3);
  for (const { token, logprob, top_logprobs: top } of logprobs ?? []) {
    expect(logprob).toBeLessThan(0);
    expect(top).toHaveLength(20);
    expect(top[0]?.token).toBe(token);
  }
  expect((await answerOf(await ask({ ...words('Yes or no?'), ...greedy, max_tokens: 3 }))).logprobs).toBeUndefined();
});

test('an adapter is a model of its own name', async () => {
  const { ask, url } = await opened();
  const list = await (await fetch(`${url}/models`, { headers: { authorization: `Bearer ${KEY}` } })).json();
  expect(list).toMatchObject({ data: [{ id: TINY_MODEL, owned_by: 'sightline' }, { id: TINY_ADAPTER }] });
  const asked = { ...words('Which socket?'), ...greedy, max_tokens: 8 };
  const [base, tuned] = [await answerOf(await ask(asked)), await answerOf(await ask({ ...asked, model: TINY_ADAPTER }))];
  expect(tuned.model).toBe(TINY_ADAPTER);
  expect(tuned.text).not.toBe(base.text);
  expect(await answerOf(await ask({ ...asked, model: TINY_MODEL }))).toEqual(base);
  expect(await refusal(await ask({ ...asked, model: 'another' }))).toEqual({ status: 404, code: 'model_not_found' });
});

test('an adapter that cannot be used is refused for good, and the pack answers on', async () => {
  const packDirectory = copyOfTiny();
  truncateSync(join(packDirectory, 'adapters/tuned/onnx/decoder_model_merged.onnx'), 100_000);
  const { ask } = await opened({ packDirectory });
  const asked = { ...words('a'), ...greedy, max_tokens: 1 };
  for (let n = 0; n < 2; n++)
    expect(await refusal(await ask({ ...asked, model: TINY_ADAPTER }))).toEqual({ status: 422, code: 'adapter_invalid' });
  expect((await ask(asked)).status).toBe(200);
});

test('an adapter of a model of other sizes is refused before it answers', async () => {
  const packDirectory = copyOfTiny();
  cpSync(join(ENCODER, 'onnx/text_model.onnx'), join(packDirectory, 'adapters/tuned/onnx/embed_tokens.onnx'));
  const { ask } = await opened({ packDirectory });
  const answer = await ask({ ...words('a'), ...greedy, max_tokens: 1, model: TINY_ADAPTER });
  expect(await refusal(answer)).toEqual({ status: 422, code: 'adapter_invalid' });
});

test('an empty prompt is refused', async () => {
  const { ask } = await opened({ packDirectory: copyWithTemplate('') });
  const answer = await ask({ messages: [{ role: 'user', content: '' }], ...greedy, max_tokens: 1 });
  expect(await refusal(answer)).toEqual({ status: 400, code: 'invalid_request_error' });
});

test('a thread that does not hear that it is cancelled is lost, and said to be', async () => {
  const loop = '{% for a in range(30000) %}{% for b in range(30000) %}{% endfor %}{% endfor %}';
  const packDirectory = copyWithTemplate(`{% if messages[0]['content'] == 'for ever' %}${loop}{% endif %}`);
  const { engine } = await opened({ packDirectory, cancelPatienceMs: 50 });
  const leaving = new AbortController();
  const onToken = () => undefined;
  const endless = engine.answer(askedFor('for ever'), { signal: leaving.signal, onToken });
  const next = engine.answer(askedFor('a'), { signal: new AbortController().signal, onToken });
  // Its turn has come by then; a template is rendered before anything is looked at.
  await new Promise(setImmediate);
  leaving.abort();
  const outcomes = await Promise.allSettled([endless, next]);
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect((await engine.lost()).message).toContain('did not end');
});

test('what is no request, no picture or too much is refused with its code, and the next request is answered', async () => {
  const { ask, send, pack } = await opened();
  const refused = async (body: object) => refusal(await ask({ ...greedy, max_tokens: 1, ...body }));
  const invalid = { status: 400, code: 'invalid_request_error' };
  expect(await refusal(await send('{"messages"'))).toEqual(invalid);
  expect(await refusal(await send('[]'))).toEqual(invalid);
  expect(await refused({ messages: [] })).toEqual(invalid);
  expect(await refused({ ...words('a'), n: 2 })).toEqual(invalid);
  expect(await refused({ ...words('a'), temperature: 9 })).toEqual(invalid);
  expect(await refused({ ...words('a'), response_format: { type: 'json_object' } })).toEqual(invalid);
  expect(await refused(user(picture('https://example.com/a.png')))).toEqual(invalid);
  expect(await refused(user(picture('file:///etc/passwd')))).toEqual(invalid);
  expect(await refused(user(picture('data:image/png;base64,aGVsbG8=')))).toEqual({ status: 400, code: 'picture_is_text' });
  const cut = (await dotOf(32)).slice(0, -40);
  expect(await refused(user(picture(cut)))).toMatchObject({ status: 400, code: expect.stringMatching(/^picture_/) });
  const many = Array.from({ length: pack.maxImages + 1 }, () => picture('data:image/png;base64,'));
  expect(await refused(user(...many))).toEqual({ status: 400, code: 'too_many_images' });
  // Who writes the place of a picture into a text has a picture missing.
  expect(await refused(words('Look: <image>'))).toEqual(invalid);
  const exceeded = { status: 400, code: 'context_length_exceeded' };
  expect(await refused({ ...words('a'), max_tokens: pack.contextTokens })).toEqual(exceeded);
  expect(await refused(words('socket '.repeat(pack.contextTokens)))).toEqual(exceeded);
  expect(await refused(words('a'.repeat(pack.contextTokens * 65)))).toEqual(exceeded);
  expect(await refusal(await send(' '.repeat(33 * 1024 ** 2)))).toEqual({ status: 413, code: 'request_too_large' });
  expect(await refusal(await ask(words('a'), { headers: { authorization: 'Bearer another' } }))).toEqual({
    status: 401,
    code: 'invalid_api_key',
  });
  expect((await ask({ ...words('a'), ...greedy, max_tokens: 1 })).status).toBe(200);
});

test('more requests than may wait are sent away, with when to come again', async () => {
  const { ask } = await opened({ mostWaiting: 1 });
  const short = { ...words('a'), ...greedy, max_tokens: 1 };
  const leaving = new AbortController();
  // Its head comes with its first token, so that its turn has begun.
  const long = await ask({ ...short, max_tokens: 8_000, stream: true }, { signal: leaving.signal });
  const both = [ask(short), ask(short)];
  const sentAway = await Promise.race(both);
  expect(sentAway.headers.get('retry-after')).toBe('1');
  expect(await refusal(sentAway)).toEqual({ status: 503, code: 'overloaded' });
  leaving.abort();
  await expect(long.text()).rejects.toThrow();
  expect((await Promise.all(both)).map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 503]);
  expect((await ask(short)).status).toBe(200);
});

test('who has gone is not answered any further', async () => {
  const { engine } = await opened();
  const leaving = new AbortController();
  let tokens = 0;
  const asked = askedFor('Which socket?');
  const ended = await engine.answer(asked, {
    signal: leaving.signal,
    onToken: () => {
      if (++tokens === 3) leaving.abort();
    },
  });
  expect(ended.finishReason).toBe('cancelled');
  expect(ended.completionTokens).toBeLessThan(asked.maxTokens);
  // One that waits for its turn is not even begun.
  await expect(engine.answer(asked, { signal: leaving.signal, onToken: () => undefined })).rejects.toThrow();
});
