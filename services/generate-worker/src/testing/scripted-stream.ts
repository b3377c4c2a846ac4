import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { answerTo, instanceOf, type Play } from './scripted-play.ts';

/** One request of a ScriptedModelServer, as it is played. */
export interface Playing {
  body: Record<string, unknown>;
  model: string;
  text: string;
  play: Play;
  response: ServerResponse;
  gone: AbortSignal;
}

type Chunk = (delta: Record<string, unknown>, finish?: string | null) => Promise<void>;

/** What may be neither ended nor waited for. */
async function forEver(gone: AbortSignal): Promise<void> {
  await sleep(3_600_000, undefined, { signal: gone, ref: false });
}

export async function playWhole({ body, model, text, play, response, gone }: Playing): Promise<void> {
  if (play.firstTokenMs) await sleep(play.firstTokenMs, undefined, { signal: gone });
  if (play.instead === 'hang') return forEver(gone);
  const isAsked = body['logprobs'] === true;
  const yes = play.yes === undefined ? 0.9 : play.yes;
  const chances = [
    ['Yes', (yes ?? 0) * 0.6],
    [' yes', (yes ?? 0) * 0.3],
    ['No', (1 - (yes ?? 0)) * 0.9],
    ['The', 0.1],
  ] as const;
  const top = chances.map(([token, chance]) => ({ token, logprob: Math.log(Math.max(1e-9, chance)), bytes: null }));
  const logprobs = isAsked && yes !== null ? { content: [{ ...top[0], top_logprobs: top }] } : null;
  const content = isAsked ? 'Yes' : (play.text ?? answerTo(text));
  const choices = [{ index: 0, message: { role: 'assistant', content }, logprobs, finish_reason: 'length' }];
  response.writeHead(200, { 'content-type': 'application/json' });
  if (play.instead === 'malformed') return void response.end('{"choices":[{"mess');
  const whole = { id: 'scripted', object: 'chat.completion', model, choices, usage: usageOf(text, 1) };
  response.end(JSON.stringify(play.instead ? { ...whole, choices: undefined } : whole));
}

export async function playStream({ body, model, text, play, response, gone }: Playing): Promise<void> {
  const write = writerOf(response, play, gone);
  const chunk: Chunk = (delta, finish = null) =>
    write({ id: 'scripted', object: 'chat.completion.chunk', model, choices: [{ index: 0, delta, finish_reason: finish }] });
  response.writeHead(200, { 'content-type': play.instead === 'not_a_stream' ? 'text/html' : 'text/event-stream' });
  if (play.instead === 'not_a_stream') return void response.end('<html>a proxy says: it works</html>');
  response.flushHeaders();
  await chunk({ role: 'assistant', content: null });
  if (play.instead === 'hang') return forEver(gone);
  if (play.firstTokenMs) await sleep(play.firstTokenMs, undefined, { signal: gone });
  if (play.instead) await spoil(play.instead, write, chunk, gone);
  if (play.instead === 'malformed' || play.instead === 'no_choices' || play.instead === 'error_at_once')
    return void response.end();
  const words = play.instead ? [] : ((play.text ?? textFor(body, text)).match(/\s*\S+\s*/g) ?? []);
  const breaksOff = play.ending === 'reset' || play.ending === 'close' || play.ending === 'hang';
  const end = breaksOff ? Math.ceil(words.length / 2) : words.length;
  const atOnce = play.wordsAtOnce ?? 1;
  for (let at = 0; at < end; at += atOnce) {
    if (at > 0 && play.tokenMs) await sleep(play.tokenMs, undefined, { signal: gone });
    await chunk({ content: words.slice(at, Math.min(end, at + atOnce)).join('') });
  }
  if (play.ending === 'hang') return forEver(gone);
  if (play.ending === 'reset') return void response.socket?.resetAndDestroy();
  if (play.ending === 'error')
    await write({ error: { message: play.message ?? 'CUDA error', type: 'InternalServerError', code: play.errorCode ?? 500 } });
  else if (!breaksOff && play.ending !== 'unfinished') {
    await chunk({}, play.ending === 'length' || play.ending === 'abort' ? play.ending : 'stop');
    const isCounted = (body['stream_options'] as { include_usage?: boolean } | undefined)?.include_usage === true;
    if (isCounted) await write({ id: 'scripted', model, choices: [], usage: usageOf(text, words.length) });
    if (play.ending !== 'no_done') await write('[DONE]');
  }
  response.end();
}

async function spoil(instead: NonNullable<Play['instead']>, write: Write, chunk: Chunk, gone: AbortSignal): Promise<void> {
  if (instead === 'malformed') return write('{"choices":[{"delta":{"content":"half a');
  if (instead === 'no_choices') return write({ object: 'chat.completion.chunk' });
  if (instead === 'error_at_once') return write({ error: "'LlavaProcessor' object has no attribute 'get_vocab'" });
  if (instead === 'thinking_only') return chunk({ reasoning_content: 'Let me see.' });
  for (let n = 0; !gone.aborted; n++) {
    if (instead === 'endless') await chunk({ content: Array.from({ length: 20 }, (_, m) => `word${20 * n + m} `).join('') });
    else if (instead === 'repeating') await chunk({ content: 'It fits the socket. ' });
    else if (instead === 'long_line') await write('x'.repeat(512 * 1024));
    else if (instead === 'comments') await write(null);
    else return;
    await sleep(1, undefined, { signal: gone });
  }
}

function textFor(body: Playing['body'], text: string): string {
  const format = body['response_format'] as { json_schema?: { schema?: unknown } } | undefined;
  return format?.json_schema ? JSON.stringify(instanceOf(format.json_schema.schema, answerTo(text))) : answerTo(text);
}

function usageOf(text: string, completion: number) {
  const prompt = text.split(/\s+/).length;
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
}

/** Writes an event: JSON, or text as it is; null is a comment. */
type Write = (data: object | string | null) => Promise<void>;

function writerOf(response: ServerResponse, { bytesAtOnce, lineEnd = '\n' }: Play, gone: AbortSignal): Write {
  return async (data) => {
    const line = data === null ? ': still here' : `data: ${typeof data === 'string' ? data : JSON.stringify(data)}`;
    const bytes = Buffer.from(`${line}${lineEnd}${lineEnd}`);
    for (let at = 0; at < bytes.length; at += bytesAtOnce ?? bytes.length) {
      gone.throwIfAborted();
      const isTaken = response.write(bytes.subarray(at, at + (bytesAtOnce ?? bytes.length)));
      // In turns of the event loop, or the kernel would put the pieces together again.
      if (bytesAtOnce) await new Promise((resolve) => setImmediate(resolve));
      if (!isTaken) await new Promise<void>((resolve) => response.once('drain', resolve).once('close', resolve));
    }
  };
}
