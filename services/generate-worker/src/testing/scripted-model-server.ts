import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Slots } from '../core/slots.ts';
import type { Play } from './scripted-play.ts';
import { playStream, playWhole } from './scripted-stream.ts';

export interface ScriptedRequest {
  model: string;
  images: number;
  /** Everything that was said to the model, in order; a picture as its media type and its number of bytes, in brackets. */
  text: string;
  stream: boolean;
  /** Whatever else was asked for. */
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
  /** The most chances of tokens that it gives at a place; more are refused. */
  mostTopLogprobs?: number;
  /** Whether it shows its load as vLLM does. */
  metrics?: boolean;
  apiKey?: string;
}

export interface Capacity {
  slots: number | null;
  /** Sum over the slots of the time they were held. */
  busyMs: number;
  mostAtOnce: number;
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
  readonly #closing = new AbortController();
  #played = 0;
  #waiting = 0;
  #capacity = { busyMs: 0, mostAtOnce: 0 };
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
    this.#closing.abort();
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
    if (path === '/scripted/requests') return json(response, 200, this.requests);
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
      body: { ...body, messages: undefined },
      isCancelled: false,
      isDone: false,
    };
    this.requests.push(seen);
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const refused = refuses.find((field) => field in body);
    if (refused)
      return refuse(response, { status: 400, message: `Unsupported parameter: '${refused}' is not supported by this server.` });
    if (Number(body['top_logprobs'] ?? 0) > (this.#options.mostTopLogprobs ?? Infinity))
      return refuse(response, { status: 400, message: 'top_logprobs is more than this server gives.' });
    if (!this.models.includes(seen.model))
      return refuse(response, { status: 404, message: `The model \`${seen.model}\` does not exist.` });
    if (play.status !== undefined) return refuse(response, play);
    if (play.instead === 'reset') return void response.destroy();
    try {
      await this.#inTurn(gone.signal, async () => {
        if (serviceMs > 0) await sleep(serviceMs, undefined, { signal: gone.signal });
        await (seen.stream ? playStream : playWhole)({ body, model: seen.model, text, play, response, gone: gone.signal });
      });
      seen.isDone = true;
    } catch (error) {
      seen.isCancelled = gone.signal.aborted;
      throw error;
    }
  }

  async #inTurn(gone: AbortSignal, work: () => Promise<void>): Promise<void> {
    this.#waiting++;
    const give = await this.#slots.take(AbortSignal.any([gone, this.#closing.signal])).finally(() => this.#waiting--);
    const began = performance.now();
    this.#capacity.mostAtOnce = Math.max(this.#capacity.mostAtOnce, this.#slots.taken);
    try {
      await work();
    } finally {
      this.#capacity.busyMs += performance.now() - began;
      give();
    }
  }
}

export async function openScriptedModelServer(options: ScriptedModelServerOptions = {}): Promise<ScriptedModelServer> {
  const server = new ScriptedModelServer(options);
  await server.listen();
  return server;
}

interface Part {
  type: string;
  text?: string;
  image_url?: { url: string };
}

function promptOf(body: Body): { text: string; images: number } {
  const parts = (body.messages ?? []).flatMap(({ content }) =>
    typeof content === 'string' ? [{ type: 'text', text: content } satisfies Part] : (content as Part[]),
  );
  const images = parts.filter(({ image_url }) => image_url !== undefined).length;
  return { text: parts.map(({ image_url, text }) => (image_url ? markOf(image_url.url) : text)).join('\n'), images };
}

function markOf(url: string): string {
  const [, mediaType, bytes] = /^data:([^;]+);base64,(.*)$/s.exec(url) ?? [];
  return bytes === undefined ? `[not a data URL: ${url}]` : `[${mediaType} ${Buffer.from(bytes, 'base64').length}]`;
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
