import { randomInt, randomUUID, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { z } from 'zod';
import { ChatAnswer } from './chat-answer-writer.ts';
import { ChatRefused, chatRequest, splitPictures, type ChatRequest } from './chat-request.ts';
import type { ModelEngine } from './model-engine.ts';
import type { ModelPack } from './model-pack.ts';
import { PictureInput } from './picture-input.ts';

const MOST_BODY_BYTES = 32 * 1024 ** 2;
/** Beside the one that is answered. More are sent away, so that their asker asks less. */
const MOST_WAITING = 16;
const RETRY_AFTER_SECONDS = 1;

export interface ModelServerOptions {
  port: number;
  apiKey: string;
  mostWaiting?: number;
}

export interface ModelServerDeps {
  pack: ModelPack;
  engine: ModelEngine;
  /** Milliseconds since 1970. */
  now?: () => number;
  newId?: () => string;
  /** From 0 to 2^32 - 1, for an answer whose asker gives none. */
  newSeed?: () => number;
}

/**
 * The OpenAI chat protocol on the loopback interface, for who knows `apiKey`: GET /v1/models and POST /v1/chat/completions, streamed or whole.
 * Answers the port it listens on; 0 takes a free one. The engine stays the caller's to close.
 */
export async function startModelServer(
  options: ModelServerOptions,
  deps: ModelServerDeps,
): Promise<{ port: number; close: () => Promise<void> }> {
  const desk = new Desk(options, deps);
  const server = createServer((request, response) => {
    desk.serve(request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else refuse(response, refusalOf(error));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, '127.0.0.1', resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : options.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

class Desk {
  readonly #key: Buffer;
  readonly #most: number;
  readonly #pack: ModelPack;
  readonly #engine: ModelEngine;
  readonly #pictures: PictureInput;
  readonly #now: () => number;
  readonly #newId: () => string;
  readonly #newSeed: () => number;
  #taken = 0;

  constructor({ apiKey, mostWaiting = MOST_WAITING }: ModelServerOptions, deps: ModelServerDeps) {
    const { pack, engine, now = Date.now, newId = randomUUID, newSeed = () => randomInt(2 ** 32) } = deps;
    this.#key = Buffer.from(`Bearer ${apiKey}`);
    this.#most = mostWaiting + 1;
    this.#pack = pack;
    this.#engine = engine;
    this.#pictures = new PictureInput(pack);
    this.#now = now;
    this.#newId = newId;
    this.#newSeed = newSeed;
  }

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!this.#knows(request.headers.authorization)) throw new ChatRefused('invalid_api_key', 'The key is wrong.', 401);
    if (request.method === 'GET' && request.url === '/v1/models') return send(response, this.#models());
    if (request.method !== 'POST' || request.url !== '/v1/chat/completions')
      throw new ChatRefused('not_found', 'There is no such route.', 404);
    // Before the body is read: what waits takes no more memory than so many bodies.
    if (this.#taken >= this.#most) throw new ChatRefused('overloaded', 'As many requests as are taken wait already.', 503);
    this.#taken++;
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    try {
      await this.#answer(request, response, gone.signal);
    } catch (error) {
      if (!gone.signal.aborted) throw error;
    } finally {
      this.#taken--;
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const asked = chatRequest.parse(JSON.parse(await bodyOf(request)));
    const model = this.#nameOf(asked.model);
    const { messages, urls } = splitPictures(asked);
    const pictures = await this.#pictures.read(urls);
    const answer = new ChatAnswer(response, {
      id: `chatcmpl-${this.#newId()}`,
      created: Math.floor(this.#now() / 1_000),
      model,
      isStreamed: asked.stream ?? false,
      withUsage: asked.stream_options?.include_usage ?? false,
    });
    const ended = await this.#engine.answer(
      { model, messages, pictures, ...rulesOf(asked, this.#newSeed) },
      { signal, onToken: (token) => answer.say(token) },
    );
    if (ended.finishReason !== 'cancelled') answer.end(ended, ended.finishReason);
  }

  #nameOf(model: string | null | undefined): string {
    const name = model ?? this.#pack.name;
    if (name !== this.#pack.name && !this.#pack.adapters.some((adapter) => adapter.name === name))
      throw new ChatRefused('model_not_found', `There is no model "${name}" here.`, 404);
    return name;
  }

  #models(): object {
    const names = [this.#pack.name, ...this.#pack.adapters.map(({ name }) => name)];
    return { object: 'list', data: names.map((id) => ({ id, object: 'model', created: 0, owned_by: 'sightline' })) };
  }

  #knows(authorization = ''): boolean {
    const given = Buffer.from(authorization);
    return given.length === this.#key.length && timingSafeEqual(given, this.#key);
  }
}

function rulesOf(asked: ChatRequest, newSeed: () => number) {
  return {
    sampling: { temperature: asked.temperature ?? 1, topP: asked.top_p ?? 1, seed: asked.seed ?? newSeed() },
    maxTokens: asked.max_completion_tokens ?? asked.max_tokens ?? null,
    stop: [asked.stop ?? []].flat(),
    topLogprobs: asked.logprobs ? (asked.top_logprobs ?? 0) : null,
  };
}

/** One that is too large is read to its end and let go, so that its sender, who reads only then, is told why it is refused. */
async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= MOST_BODY_BYTES) chunks.push(chunk);
  }
  if (bytes > MOST_BODY_BYTES) throw new ChatRefused('request_too_large', `At most ${MOST_BODY_BYTES} bytes are taken.`, 413);
  return Buffer.concat(chunks).toString('utf8');
}

function refusalOf(error: unknown): ChatRefused {
  if (error instanceof ChatRefused) return error;
  if (error instanceof z.ZodError) return new ChatRefused('invalid_request_error', z.prettifyError(error));
  if (error instanceof SyntaxError) return new ChatRefused('invalid_request_error', 'The body is not JSON.');
  return new ChatRefused('internal_error', error instanceof Error ? error.message : String(error), 500);
}

function refuse(response: ServerResponse, { status, code, message }: ChatRefused): void {
  const type = status >= 500 ? 'server_error' : 'invalid_request_error';
  const headers = {
    'content-type': 'application/json',
    ...(status === 503 ? { 'retry-after': String(RETRY_AFTER_SECONDS) } : {}),
  };
  response.writeHead(status, headers).end(JSON.stringify({ error: { message: message.slice(0, 2_000), type, code } }));
}

function send(response: ServerResponse, body: object): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
