import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Slots } from '../core/slots.ts';
import { answerTo, instanceOf, type Play } from './scripted-play.ts';

export interface ScriptedRequest {
  model: string;
  images: number;
  /** Everything that was said to the model, in order, pictures as their media types in brackets. */
  text: string;
  stream: boolean;
  body: Record<string, unknown>;
  /** The client closed the connection before the answer's end. */
  isCancelled: boolean;
  isDone: boolean;
}

export interface ScriptedModelServerOptions {
  port?: number;
  /** Played by every request for which nothing else is due. */
  always?: Play;
  /** Played in turn, over and over, instead of `always`. */
  rota?: Play[];
  models?: string[];
  ownedBy?: string;
  /** Requests that are worked at once; the others wait inside, as in vLLM. */
  slots?: number;
  /** How long a request holds its slot, besides what its play takes. */
  serviceMs?: number;
  /** Top-level fields that are refused by name with 400. */
  refuses?: string[];
  /** Whether it shows its load as vLLM does. */
  metrics?: boolean;
  apiKey?: string;
}

export interface Capacity {
  slots: number | null;
  /** Sum over the slots of the time they were held. */
  busyMs: number;
  mostAtOnce: number;
  mostWaiting: number;
}

type Body = Record<string, unknown> & { messages?: { content: unknown }[] };

/**
 * Fake, named so: a server of OpenAI's chat protocol without a model, which answers from the prompt alone and fails as it is told. Real
 * HTTP, so that what is seen of it is what would be seen of any server.
 */
export class ScriptedModelServer {
  readonly requests: ScriptedRequest[] = [];
  readonly #options: ScriptedModelServerOptions;
  readonly #due: Play[] = [];
  readonly #server = createServer((request, response) => void this.#serve(request, response).catch(() => response.destroy()));
  readonly #slots: Slots;
  readonly #never = new AbortController();
  #played = 0;
  #waiting = 0;
  #capacity = { busyMs: 0, mostAtOnce: 0, mostWaiting: 0 };
  models: string[];

  constructor(options: ScriptedModelServerOptions) {
    this.#options = options;
    this.models = options.models ?? ['scripted'];
    this.#slots = new Slots(() => options.slots ?? Infinity);
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#options.port ?? 0, '127.0.0.1', resolve));
  }

  get baseUrl(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  get capacity(): Capacity {
    return { slots: this.#options.slots ?? null, ...this.#capacity };
  }

  /** For the next requests, one each. */
  play(...plays: Play[]): void {
    this.#due.push(...plays);
  }

  /** From now on. */
  always(play: Play): void {
    this.#options.always = play;
  }

  async close(): Promise<void> {
    this.#never.abort();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '';
    const { apiKey, metrics, ownedBy = 'scripted' } = this.#options;
    if (path === '/metrics' && metrics) {
      const lines = [
        `vllm:num_requests_waiting{engine="0"} ${this.#waiting}.0`,
        `vllm:num_requests_running{engine="0"} ${this.#slots.taken}.0`,
      ];
      return void response.end(`# TYPE vllm:num_requests_waiting gauge\n${lines.join('\n')}\n`);
    }
    if (apiKey && path.startsWith('/v1') && request.headers.authorization !== `Bearer ${apiKey}`)
      return refuse(response, { status: 401, message: `Unauthorized: ${request.headers.authorization ?? 'no key'}` });
    const down = this.#options.always?.instead === 'reset';
    if (path === '/v1/models' && !down) {
      const data = this.models.map((id) => ({ id, object: 'model', created: 0, owned_by: ownedBy }));
      return json(response, 200, { object: 'list', data });
    }
    if (path === '/scripted/capacity') return json(response, 200, this.capacity);
    if (path === '/scripted/requests')
      return json(
        response,
        200,
        this.requests.map(({ body: _, ...rest }) => rest),
      );
    if (path !== '/v1/chat/completions')
      return down ? void response.destroy() : refuse(response, { status: 404, message: 'Not Found' });
    await this.#chat(await bodyOf(request), response);
  }

  async #chat(body: Body, response: ServerResponse): Promise<void> {
    const { rota = [], always = {}, refuses = [], serviceMs = 0 } = this.#options;
    const play = this.#due.shift() ?? rota[this.#played++ % Math.max(1, rota.length)] ?? always;
    const { text, images } = promptOf(body);
    const seen: ScriptedRequest = {
      model: String(body['model']),
      images,
      text,
      stream: body['stream'] === true,
      body,
      isCancelled: false,
      isDone: false,
    };
    this.requests.push(seen);
    const gone = new AbortController();
    response.once('close', () => {
      seen.isCancelled = !response.writableFinished && !seen.isDone;
      gone.abort();
    });
    const refused = refuses.find((field) => field in body);
    if (refused)
      return refuse(response, { status: 400, message: `Unsupported parameter: '${refused}' is not supported by this server.` });
    if (!this.models.includes(seen.model))
      return refuse(response, { status: 404, message: `The model \`${seen.model}\` does not exist.` });
    if (play.status !== undefined) return refuse(response, play);
    if (play.instead === 'reset') return void response.destroy();
    this.#waiting++;
    this.#capacity.mostWaiting = Math.max(
      this.#capacity.mostWaiting,
      this.#waiting - (this.#slots.taken < (this.#options.slots ?? Infinity) ? 1 : 0),
    );
    const give = await this.#slots.take(AbortSignal.any([gone.signal, this.#never.signal])).finally(() => this.#waiting--);
    const began = performance.now();
    this.#capacity.mostAtOnce = Math.max(this.#capacity.mostAtOnce, this.#slots.taken);
    try {
      if (serviceMs > 0) await sleep(serviceMs, undefined, { signal: gone.signal });
      await (seen.stream ? this.#stream(seen, play, response, gone.signal) : this.#whole(seen, play, response, gone.signal));
    } finally {
      this.#capacity.busyMs += performance.now() - began;
      give();
    }
  }

  async #whole({ body, model, text }: ScriptedRequest, play: Play, response: ServerResponse, gone: AbortSignal): Promise<void> {
    if (play.firstTokenMs) await sleep(play.firstTokenMs, undefined, { signal: gone });
    if (play.instead === 'hang') return void (await sleep(3_600_000, undefined, { signal: gone, ref: false }));
    if (play.instead) return json(response, 200, { object: 'chat.completion', model });
    const yes = play.yes === undefined ? 0.9 : play.yes;
    const chances = [
      ['Yes', (yes ?? 0) * 0.75],
      [' yes', (yes ?? 0) * 0.15],
      ['No', (1 - (yes ?? 0)) * 0.9],
      ['The', 0.1],
    ] as const;
    const top = chances.map(([token, chance]) => ({ token, logprob: Math.log(Math.max(1e-9, chance)), bytes: null }));
    const logprobs = body['logprobs'] === true && yes !== null ? { content: [{ ...top[0], top_logprobs: top }] } : null;
    const content = body['logprobs'] === true ? 'Yes' : (play.text ?? answerTo(text));
    const choices = [{ index: 0, message: { role: 'assistant', content }, logprobs, finish_reason: 'length' }];
    json(response, 200, { id: 'scripted', object: 'chat.completion', model, choices, usage: usageOf(text, 1) });
  }

  async #stream({ body, model, text }: ScriptedRequest, play: Play, response: ServerResponse, gone: AbortSignal): Promise<void> {
    const write = writerOf(response, play, gone);
    const chunk = (delta: Record<string, unknown>, finish: string | null = null) =>
      write(
        JSON.stringify({
          id: 'scripted',
          object: 'chat.completion.chunk',
          model,
          choices: [{ index: 0, delta, finish_reason: finish }],
        }),
      );
    const forEver = () => sleep(3_600_000, undefined, { signal: gone, ref: false });
    response.writeHead(200, { 'content-type': play.instead === 'not_a_stream' ? 'text/html' : 'text/event-stream' });
    if (play.instead === 'not_a_stream') return void response.end('<html>a proxy says: it works</html>');
    response.flushHeaders();
    await chunk({ role: 'assistant', content: null });
    if (play.instead === 'hang') return void (await forEver());
    if (play.firstTokenMs) await sleep(play.firstTokenMs, undefined, { signal: gone });
    await (play.instead ? this.#spoil(play.instead, { write, chunk }, gone) : undefined);
    if (play.instead === 'malformed' || play.instead === 'no_choices') return void response.end();
    const answer = play.instead ? '' : (play.text ?? textFor(body, text));
    const words = answer.match(/\s*\S+\s*/g) ?? [];
    const atOnce = play.wordsAtOnce === 0 ? Infinity : (play.wordsAtOnce ?? 1);
    const breaksOff = play.ending === 'reset' || play.ending === 'close' || play.ending === 'hang';
    const end = breaksOff ? Math.ceil(words.length / 2) : words.length;
    for (let at = 0; at < end; at += atOnce) {
      if (at > 0 && play.tokenMs) await sleep(play.tokenMs, undefined, { signal: gone });
      await chunk({ content: words.slice(at, Math.min(end, at + atOnce)).join('') });
    }
    if (play.ending === 'hang') return void (await forEver());
    if (play.ending === 'reset') return void response.socket?.resetAndDestroy();
    if (play.ending === 'close') return void response.end();
    if (play.ending === 'error')
      await write(
        JSON.stringify({
          error: { message: play.message ?? 'CUDA error', type: 'InternalServerError', code: Number(play.errorCode ?? 500) },
        }),
      );
    else if (play.ending !== 'unfinished') {
      await chunk({}, play.ending === 'length' || play.ending === 'abort' ? play.ending : 'stop');
      const counts = (body['stream_options'] as { include_usage?: boolean } | undefined)?.include_usage === true;
      if (counts) await write(JSON.stringify({ id: 'scripted', model, choices: [], usage: usageOf(text, words.length) }));
      if (play.ending !== 'no_done') await write('[DONE]');
    }
    response.end();
  }

  async #spoil(
    instead: NonNullable<Play['instead']>,
    { write, chunk }: { write: (data: string) => Promise<void>; chunk: (delta: Record<string, unknown>) => Promise<void> },
    gone: AbortSignal,
  ): Promise<void> {
    if (instead === 'malformed') return write('{"choices":[{"delta":{"content":"half a');
    if (instead === 'no_choices') return write('{"object":"chat.completion.chunk"}');
    if (instead === 'thinking_only') return chunk({ reasoning_content: 'Let me see.' });
    for (let n = 0; !gone.aborted; n++) {
      if (instead === 'endless') await chunk({ content: `word${n} ${n % 7} `.repeat(20) });
      else if (instead === 'repeating') await chunk({ content: 'It fits the socket. ' });
      else if (instead === 'long_line') await write('x'.repeat(512 * 1024));
      else if (instead === 'comments') await write('', ': still here');
      else return;
      await sleep(1, undefined, { signal: gone });
    }
  }
}

export async function openScriptedModelServer(options: ScriptedModelServerOptions = {}): Promise<ScriptedModelServer> {
  const server = new ScriptedModelServer(options);
  await server.listen();
  return server;
}

function textFor(body: Body, text: string): string {
  const format = body['response_format'] as { json_schema?: { schema?: unknown } } | undefined;
  return format?.json_schema ? JSON.stringify(instanceOf(format.json_schema.schema, answerTo(text))) : answerTo(text);
}

function promptOf(body: Body): { text: string; images: number } {
  const parts = (body.messages ?? []).flatMap(({ content }) =>
    typeof content === 'string'
      ? [{ type: 'text', text: content }]
      : (content as { type: string; text?: string; image_url?: { url: string } }[]),
  );
  const images = parts.filter(({ type }) => type === 'image_url').length;
  const text = parts
    .map((part) => ('image_url' in part && part.image_url ? `[${part.image_url.url.split(',')[0]}]` : part.text))
    .join('\n');
  return { text, images };
}

function usageOf(text: string, completion: number) {
  const prompt = text.split(/\s+/).length;
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
}

function writerOf(response: ServerResponse, { bytesAtOnce, lineEnd = '\n' }: Play, gone: AbortSignal) {
  return async (data: string, line = `data: ${data}`) => {
    const bytes = Buffer.from(`${line}${lineEnd}${lineEnd}`);
    for (let at = 0; at < bytes.length; at += bytesAtOnce ?? bytes.length) {
      gone.throwIfAborted();
      const isTaken = response.write(bytes.subarray(at, at + (bytesAtOnce ?? bytes.length)));
      // Written in turns of the event loop, or the kernel would put the pieces together again.
      if (bytesAtOnce) await new Promise((resolve) => setImmediate(resolve));
      if (!isTaken) await new Promise<void>((resolve) => response.once('drain', resolve).once('close', resolve));
    }
  };
}

function refuse(response: ServerResponse, { status = 500, message = 'Refused.', errorCode, retryAfterS }: Play): void {
  if (retryAfterS !== undefined) response.setHeader('retry-after', String(retryAfterS));
  json(response, status, { error: { message, type: 'BadRequestError', param: null, code: errorCode ?? status } });
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

async function bodyOf(request: IncomingMessage): Promise<Body> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString()) as Body;
}
