import { afterEach, expect, test } from '@jest/globals';
import { closeRigs, openRig, openServer, PIXEL, QUESTION, until } from '../testing/generator-rig.ts';
import { answerTo } from '../testing/scripted-play.ts';

afterEach(closeRigs);

const PROMPT = 'Answer from the sources.\nDoes the cooler fit AM4?';

test('an answer streams as it comes, and what is returned is what was handed out, with how it ended and what it cost', async () => {
  const server = await openServer();
  const { ask, metric } = openRig(server.baseUrl);
  const { answer, pieces } = ask();
  const generated = await answer;
  expect(generated).toEqual({
    text: answerTo(PROMPT),
    finishReason: 'stop',
    model: 'scripted',
    usage: { promptTokens: 9, completionTokens: answerTo(PROMPT).split(' ').length },
  });
  expect(pieces.length).toBeGreaterThan(5);
  expect(pieces.join('')).toBe(generated.text);
  expect(await metric('sightline_generator_requests_total{')).toEqual([
    'sightline_generator_requests_total{kind="answer",outcome="stop"} 1',
  ]);
  expect(await metric('sightline_generator_first_token_seconds_count')).toEqual([
    'sightline_generator_first_token_seconds_count 1',
  ]);
  expect(await metric('sightline_generator_tokens_total{kind="prompt"')).toEqual([
    'sightline_generator_tokens_total{kind="prompt"} 9',
  ]);
});

test('the defaults are sent, and the asker wins over them', async () => {
  const server = await openServer();
  const { ask } = openRig(server.baseUrl);
  await ask().answer;
  await ask({ sampling: { temperature: 0, maxTokens: 64, stop: [], seed: 7 } }).answer;
  expect(server.requests.map(({ body }) => body)).toEqual([
    {
      model: 'scripted',
      stream: true,
      stream_options: { include_usage: true },
      temperature: 0.3,
      top_p: 0.85,
      max_tokens: 512,
      stop: ['<|im_end|>'],
    },
    {
      model: 'scripted',
      stream: true,
      stream_options: { include_usage: true },
      temperature: 0,
      top_p: 0.85,
      max_tokens: 64,
      seed: 7,
    },
  ]);
});

test('pictures travel as data URLs, between the texts that they stand between', async () => {
  const server = await openServer();
  const picture = { type: 'image', bytes: PIXEL, mediaType: 'image/png' } as const;
  await openRig(server.baseUrl).ask({
    content: [{ type: 'text', text: 'A' }, picture, { type: 'text', text: 'B' }, { ...picture, mediaType: 'image/jpeg' }],
  }).answer;
  expect(server.requests[0]).toMatchObject({
    images: 2,
    text: `Answer from the sources.\nA\n[image/png ${PIXEL.length}]\nB\n[image/jpeg ${PIXEL.length}]`,
  });
});

test('the key is sent where there is one, no key of the environment ever, and none is told', async () => {
  const server = await openServer({ apiKey: 'right-key' });
  await openRig(server.baseUrl, { apiKey: 'right-key' }).ask().answer;
  const before = process.env['OPENAI_API_KEY'];
  process.env['OPENAI_API_KEY'] = 'right-key';
  try {
    await expect(openRig(server.baseUrl).ask().answer).rejects.toMatchObject({
      code: 'generator_refused',
      detail: expect.stringMatching(/401 Unauthorized: no key/),
    });
  } finally {
    if (before === undefined) delete process.env['OPENAI_API_KEY'];
    else process.env['OPENAI_API_KEY'] = before;
  }
  const wrong = openRig(server.baseUrl, { apiKey: 'wrong-key' }).ask().answer;
  await expect(wrong).rejects.toMatchObject({ code: 'generator_refused', detail: '401 Unauthorized: Bearer …' });
});

test('a named adapter is sent as the model where the server lists it, and refused by name where it does not', async () => {
  const server = await openServer({ models: ['base', 'shoes-lora'] });
  const { ask } = openRig(server.baseUrl);
  await expect(ask({ adapter: 'shoes-lora' }).answer).resolves.toMatchObject({ model: 'shoes-lora' });
  await expect(ask({ adapter: 'hats-lora' }).answer).rejects.toMatchObject({
    code: 'generator_refused',
    detail: 'The model server serves no adapter "hats-lora".',
  });
  expect(server.requests.map(({ model }) => model)).toEqual(['shoes-lora']);
});

test('the salt of the tenant goes to vLLM, and to nobody else', async () => {
  const vllm = await openServer({ ownedBy: 'vllm' });
  await openRig(vllm.baseUrl).ask().answer;
  expect(vllm.requests[0]?.body['cache_salt']).toBe('tenant-a');
  const other = await openServer();
  await openRig(other.baseUrl).ask().answer;
  expect(other.requests[0]?.body).not.toHaveProperty('cache_salt');
});

const SCHEMA = { name: 'answer', schema: { type: 'object', properties: { answer: { type: 'string' } } } };

test('a schema holds the answer; a server that refuses it is asked without, once and for all', async () => {
  const able = await openServer();
  const rig = openRig(able.baseUrl);
  expect(JSON.parse((await rig.ask({ schema: SCHEMA }).answer).text)).toEqual({ answer: answerTo(PROMPT) });
  expect(rig.generator.profile.structured).toBe(true);
  const unable = await openServer({ refuses: ['response_format'] });
  const { ask, generator } = openRig(unable.baseUrl);
  await expect(ask({ schema: SCHEMA }).answer).resolves.toMatchObject({ text: answerTo(PROMPT) });
  expect(generator.profile.structured).toBe(false);
  await ask({ schema: SCHEMA }).answer;
  expect(unable.requests.map(({ body }) => 'response_format' in body)).toEqual([true, false, false]);
});

test('a server that takes a schema and answers outside it is not asked for one again', async () => {
  const server = await openServer();
  const { ask, generator } = openRig(server.baseUrl);
  server.play({ text: 'Yes, it fits [1].' });
  await expect(ask({ schema: SCHEMA }).answer).resolves.toMatchObject({ text: 'Yes, it fits [1].' });
  expect(generator.profile.structured).toBe(false);
});

test('an asker whose own stop text cuts the JSON takes no schema from the others', async () => {
  const server = await openServer();
  const { ask, generator } = openRig(server.baseUrl);
  await ask({ schema: SCHEMA, sampling: { stop: [':'] } }).answer;
  server.play({ status: 400, message: 'no structured thing was asked for' });
  await expect(ask().answer).rejects.toMatchObject({ code: 'generator_refused' });
  expect(generator.profile.structured).toBe(true);
});

test('what the settings say of schemas and log-probabilities is not tried out', async () => {
  const server = await openServer({ refuses: ['response_format'] });
  const off = openRig(server.baseUrl, { structured: 'off', logprobs: 'off' });
  await off.ask({ schema: SCHEMA }).answer;
  expect(await off.generator.yesNo(QUESTION, { signal: new AbortController().signal })).toBe(null);
  expect(server.requests.length).toBe(1);
  const on = openRig(server.baseUrl, { structured: 'on' });
  await expect(on.ask({ schema: SCHEMA }).answer).rejects.toMatchObject({ code: 'generator_refused' });
  expect(on.generator.profile).toMatchObject({ structured: true });
});

test('a server that takes neither the usage nor the old name of the bound of tokens is asked as it likes', async () => {
  const server = await openServer({ refuses: ['stream_options', 'max_tokens'] });
  const { ask } = openRig(server.baseUrl);
  await expect(ask().answer).rejects.toMatchObject({ code: 'generator_refused' });
  expect(server.requests.length).toBe(2);
  server.play({ status: 400, message: "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead." });
  await expect(openRig((await openServer({ refuses: ['stream_options'] })).baseUrl).ask().answer).resolves.toMatchObject({
    usage: { promptTokens: 0, completionTokens: answerTo(PROMPT).split(' ').length },
  });
});

test('the bound of tokens goes under the name that the server asks for', async () => {
  const server = await openServer();
  server.play({ status: 400, message: "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead." });
  await openRig(server.baseUrl).ask().answer;
  expect(server.requests.map(({ body }) => [body['max_tokens'], body['max_completion_tokens']])).toEqual([
    [512, undefined],
    [undefined, 512],
  ]);
});

test("yes against no is the model's own chance of the two, in one call", async () => {
  const server = await openServer();
  const { generator, metric } = openRig(server.baseUrl);
  const signal = new AbortController().signal;
  server.play({ yes: 0.9 });
  expect(await generator.yesNo(QUESTION, { signal })).toBeCloseTo(0.9, 5);
  server.play({ yes: 0.2 });
  expect(await generator.yesNo(QUESTION, { signal })).toBeCloseTo(0.2, 5);
  expect(
    server.requests.map(({ stream, body }) => [stream, body['logprobs'], body['top_logprobs'], body['temperature']]),
  ).toEqual([
    [false, true, 20, 0],
    [false, true, 20, 0],
  ]);
  expect(await metric('sightline_generator_requests_total{kind="yes_no"')).toEqual([
    'sightline_generator_requests_total{kind="yes_no",outcome="stop"} 2',
  ]);
});

test('a server without log-probabilities is asked for them once', async () => {
  const signal = new AbortController().signal;
  const silent = await openServer({ always: { yes: null } });
  const rig = openRig(silent.baseUrl);
  expect([await rig.generator.yesNo(QUESTION, { signal }), await rig.generator.yesNo(QUESTION, { signal })]).toEqual([
    null,
    null,
  ]);
  expect(silent.requests.length).toBe(1);
  expect(rig.generator.profile.logprobs).toBe(false);
  const refusing = await openServer({ refuses: ['logprobs'] });
  const { generator } = openRig(refusing.baseUrl);
  expect(await generator.yesNo(QUESTION, { signal })).toBe(null);
  expect(await generator.yesNo(QUESTION, { signal })).toBe(null);
  // With twenty a place, then with five: some servers take only so many.
  expect(refusing.requests.map(({ body }) => body['top_logprobs'])).toEqual([20, 5]);
  const modest = await openServer({ mostTopLogprobs: 5 });
  const together = openRig(modest.baseUrl).generator;
  const chances = await Promise.all(Array.from({ length: 4 }, () => together.yesNo(QUESTION, { signal })));
  expect(chances.map((chance) => chance?.toFixed(3))).toEqual(Array(4).fill('0.900'));
});

test('characters and lines cut through, other line ends, a missing [DONE]: the same answer', async () => {
  const server = await openServer();
  const text = '孔距为 54 毫米，适合 AM4 🧊 插槽 [1]。';
  server.play({ text, bytesAtOnce: 1 }, { text, bytesAtOnce: 7, lineEnd: '\r\n' }, { text, ending: 'no_done' });
  const { ask } = openRig(server.baseUrl);
  for (let n = 0; n < 3; n++) await expect(ask().answer).resolves.toMatchObject({ text, finishReason: 'stop' });
});

test('an answer ends before its stop string, also where the server sends it and goes on', async () => {
  const server = await openServer();
  server.play({ text: 'It fits. <|im_ end|> <|im_end|> and so on for ever', tokenMs: 1 });
  const { answer, pieces } = openRig(server.baseUrl).ask();
  await expect(answer).resolves.toMatchObject({ text: 'It fits. <|im_ end|> ', finishReason: 'stop' });
  expect(pieces.join('')).toBe('It fits. <|im_ end|> ');
});

test('a server that cannot take stop strings is asked without them, and the answer still ends there', async () => {
  const text = 'It fits.<|im_end|> and so on';
  const refusing = await openServer({ refuses: ['stop'], always: { text } });
  const failing = await openServer({ always: { text } });
  failing.play({ instead: 'error_at_once' });
  for (const server of [refusing, failing]) {
    const { ask } = openRig(server.baseUrl);
    await expect(ask().answer).resolves.toMatchObject({ text: 'It fits.', finishReason: 'stop' });
    await ask().answer;
    expect(server.requests.map(({ body }) => 'stop' in body)).toEqual([true, false, false]);
  }
});

test('an answer cut at the bound of tokens says so', async () => {
  const server = await openServer({ always: { ending: 'length' } });
  await expect(openRig(server.baseUrl).ask().answer).resolves.toMatchObject({ finishReason: 'length' });
});

test('an answer without end, or that turns in circles, is cut, and the server stops', async () => {
  const server = await openServer();
  server.play({ instead: 'endless' }, { instead: 'repeating' });
  const { ask } = openRig(server.baseUrl);
  const endless = await ask().answer;
  expect(endless.finishReason).toBe('length');
  expect(Buffer.byteLength(endless.text)).toBe(64 * 1024);
  const repeating = await ask().answer;
  expect(repeating.finishReason).toBe('repeating');
  expect(repeating.text.length).toBeLessThan(500);
  await until(() => server.requests.every(({ isCancelled }) => isCancelled));
});

test('ready asks the server, and says which model it does not have', async () => {
  const server = await openServer();
  await openRig(server.baseUrl).generator.ready();
  const other = openRig(server.baseUrl, { profile: { ...openRig(server.baseUrl).generator.profile, model: 'llava' } });
  await expect(other.generator.ready()).rejects.toMatchObject({
    code: 'generator_refused',
    detail: expect.stringMatching(/"llava"/),
  });
  await server.close();
  await expect(other.generator.ready()).rejects.toMatchObject({ code: 'generator_unavailable' });
});
