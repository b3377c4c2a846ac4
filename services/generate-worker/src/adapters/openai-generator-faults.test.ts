import { afterEach, expect, test } from '@jest/globals';
import { freePort } from '@sightline/shared/testing/free-port';
import { createServer } from 'node:net';
import { closeRigs, openRig, openServer, QUESTION, until } from '../testing/generator-rig.ts';
import type { Play } from '../testing/scripted-play.ts';

afterEach(closeRigs);

test.each<[string, Play, string]>([
  ['a server error', { status: 500, message: 'CUDA out of memory' }, 'generator_unavailable'],
  ['a refusal', { status: 400, message: 'At most 2 image(s) may be provided in one prompt.' }, 'generator_refused'],
  ['a body too large', { status: 413 }, 'generator_refused'],
  ['a connection reset in the middle', { ending: 'reset' }, 'generator_malformed'],
  ['a stream that ends in the middle', { ending: 'close' }, 'generator_malformed'],
  ['a stream without a reason of its end', { ending: 'unfinished' }, 'generator_malformed'],
  ['a stream that is not JSON', { instead: 'malformed' }, 'generator_malformed'],
  ['a page of a proxy', { instead: 'not_a_stream' }, 'generator_malformed'],
  ['a stream without choices', { instead: 'no_choices' }, 'generator_malformed'],
  ['one line without end', { instead: 'long_line' }, 'generator_malformed'],
  ['an error inside the stream', { ending: 'error' }, 'generator_unavailable'],
  ['a refusal inside the stream', { ending: 'error', errorCode: '400', message: 'bad token' }, 'generator_refused'],
  ['a request that the server gave up', { ending: 'abort' }, 'generator_malformed'],
  ['nothing', { instead: 'empty' }, 'generator_empty'],
  ['blanks', { text: '  \n ' }, 'generator_empty'],
  ['thoughts without an answer', { instead: 'thinking_only' }, 'generator_empty'],
  [
    "a prompt over vLLM's context",
    { status: 400, message: "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens." },
    'generator_context_exceeded',
  ],
  [
    'a prompt over the context, inside the stream',
    {
      ending: 'error',
      errorCode: '400',
      message: 'The decoder prompt (length 5000) is longer than the maximum model length of 4096.',
    },
    'generator_context_exceeded',
  ],
  [
    'a prompt over the context, by code',
    { status: 400, message: 'too long', errorCode: 'context_length_exceeded' },
    'generator_context_exceeded',
  ],
])('%s', async (_, play, code) => {
  const server = await openServer();
  server.play(play);
  const { ask, metric } = openRig(server.baseUrl);
  await expect(ask().answer).rejects.toMatchObject({ code });
  expect(server.requests.length).toBe(1);
  expect(await metric('sightline_generator_requests_total{')).toEqual([
    `sightline_generator_requests_total{kind="answer",outcome="${code}"} 1`,
  ]);
  // And the next question is answered.
  await expect(ask().answer).resolves.toMatchObject({ finishReason: 'stop' });
});

test('what the server says is told, up to 300 characters', async () => {
  const server = await openServer();
  server.play({ status: 400, message: 'x'.repeat(10_000) });
  const error = await openRig(server.baseUrl)
    .ask()
    .answer.catch((error: unknown) => error);
  expect(error).toMatchObject({ detail: expect.stringMatching(/^400 x{295}…$/) });
});

test.each<[string, Play, Parameters<typeof openRig>[1], RegExp]>([
  ['no first token', { instead: 'hang' }, { firstTokenTimeoutMs: 500 }, /0\.5 s for the first token/],
  ['a first token too late', { firstTokenMs: 60_000 }, { firstTokenTimeoutMs: 500 }, /first token/],
  ['only comments', { instead: 'comments' }, { firstTokenTimeoutMs: 500 }, /first token/],
  ['a token too late', { ending: 'hang' }, { tokenTimeoutMs: 500 }, /0\.5 s for the next token/],
  [
    'a whole too late',
    { text: Array.from({ length: 10_000 }, (_, n) => `word${n}`).join(' '), tokenMs: 5 },
    { timeoutMs: 1_000 },
    /1 s for the whole answer/,
  ],
])('%s is given up, and the server stops', async (_, play, options, detail) => {
  const server = await openServer();
  server.play(play);
  await expect(openRig(server.baseUrl, options).ask().answer).rejects.toMatchObject({
    code: 'generator_timeout',
    detail: expect.stringMatching(detail),
  });
  // A machine that is busy may not even have sent it.
  await until(() => server.requests.every(({ isCancelled }) => isCancelled));
});

test("a listener that takes long is waited for, and its time is not the server's", async () => {
  const server = await openServer();
  const { ask } = openRig(server.baseUrl, { tokenTimeoutMs: 1_000 });
  const seen: string[] = [];
  const { answer } = ask({}, async (text) => {
    if (seen.length === 0) await new Promise((resolve) => setTimeout(resolve, 1_500));
    seen.push(text);
  });
  const { text } = await answer;
  expect(seen.join('')).toBe(text);
});

test('a listener that fails ends the answer with its own error, and the server stops', async () => {
  const server = await openServer({ always: { text: 'word '.repeat(1_000), tokenMs: 2 } });
  const { answer } = openRig(server.baseUrl).ask({}, () => {
    throw new Error('the ledger is full');
  });
  await expect(answer).rejects.toThrow('the ledger is full');
  await until(() => server.requests[0]!.isCancelled);
});

test.each<[string, Play]>([
  ['before the first token', { instead: 'hang' }],
  ['in the middle', { ending: 'hang' }],
])('who asked may go %s: its reason is thrown, and the server stops', async (_, play) => {
  const server = await openServer({ always: play });
  const { ask, metric } = openRig(server.baseUrl);
  const { answer, pieces, abort } = ask();
  await until(() => server.requests.length === 1 && (play.instead === 'hang' || pieces.length > 0));
  const reason = new Error('cancelled by its asker');
  abort(reason);
  await expect(answer).rejects.toBe(reason);
  await until(() => server.requests[0]!.isCancelled);
  expect(await metric('sightline_generator_in_flight')).toEqual(['sightline_generator_in_flight 0']);
  const late = ask();
  late.abort(reason);
  await expect(late.answer).rejects.toBe(reason);
});

test('a yes or no fails as an answer does', async () => {
  const server = await openServer({ always: { instead: 'hang' } });
  const { signal } = new AbortController();
  const hasty = openRig(server.baseUrl, { firstTokenTimeoutMs: 50 }).generator;
  await expect(hasty.yesNo(QUESTION, { signal })).rejects.toMatchObject({ code: 'generator_timeout' });
  const { generator } = openRig(server.baseUrl);
  server.play({ instead: 'malformed' }, { instead: 'no_choices' }, { status: 500 });
  for (const code of ['generator_malformed', 'generator_malformed', 'generator_unavailable'])
    await expect(generator.yesNo(QUESTION, { signal })).rejects.toMatchObject({ code });
});

test('a connection that breaks before anything was answered is tried again, twice', async () => {
  const server = await openServer();
  server.play({ instead: 'reset' }, { instead: 'reset' });
  const { ask } = openRig(server.baseUrl);
  await expect(ask().answer).resolves.toMatchObject({ finishReason: 'stop' });
  expect(server.requests.length).toBe(3);
  server.play({ instead: 'reset' }, { instead: 'reset' }, { instead: 'reset' });
  await expect(ask().answer).rejects.toMatchObject({ code: 'generator_unavailable' });
  expect(server.requests.length).toBe(6);
});

test('nothing is asked twice once text was handed out', async () => {
  const server = await openServer({ always: { ending: 'close' } });
  const { answer, pieces } = openRig(server.baseUrl).ask();
  await expect(answer).rejects.toMatchObject({ code: 'generator_malformed' });
  expect(pieces.length).toBeGreaterThan(0);
  expect(server.requests.length).toBe(1);
});

test('no server at all', async () => {
  const { ask } = openRig(`http://127.0.0.1:${await freePort()}/v1`);
  await expect(ask().answer).rejects.toMatchObject({
    code: 'generator_unavailable',
    detail: expect.stringMatching(/ECONNREFUSED/),
  });
});

test('a server that accepts and says nothing', async () => {
  const silent = createServer((socket) => socket.on('error', () => undefined));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const address = silent.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  const { ask } = openRig(`http://127.0.0.1:${port}/v1`, { timeoutMs: 100 });
  await expect(ask().answer).rejects.toMatchObject({ code: 'generator_timeout' });
  await closeRigs();
  silent.close();
});
