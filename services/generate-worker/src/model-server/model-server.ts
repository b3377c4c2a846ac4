import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { estimateTokens } from '../core/estimate-tokens.ts';
import { INTERIM_MODEL, interimAnswer } from './interim-generator.ts';
import { chatRequest, readPrompt } from './read-prompt.ts';

const MOST_BODY_BYTES = 64 * 1024 ** 2;

/**
 * The OpenAI chat protocol on the loopback interface, for who knows `apiKey`: /v1/models and /v1/chat/completions, streamed or whole.
 * Answers the port it listens on; 0 takes a free one.
 */
export async function startModelServer({
  port,
  apiKey,
}: {
  port: number;
  apiKey: string;
}): Promise<{ port: number; close: () => Promise<void> }> {
  const server = createServer((request, response) => {
    answer(request, response, apiKey).catch((error: unknown) => {
      const isTheirs =
        error instanceof RangeError || error instanceof SyntaxError || (error as { name?: string }).name === 'ZodError';
      if (response.headersSent) response.destroy();
      else fail(response, isTheirs ? 400 : 500, error instanceof Error ? error.message : String(error));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, apiKey: string): Promise<void> {
  if (request.headers.authorization !== `Bearer ${apiKey}`) return fail(response, 401, 'The key is wrong.');
  if (request.method === 'GET' && request.url === '/v1/models')
    return send(response, { object: 'list', data: [{ id: INTERIM_MODEL, object: 'model', created: 0, owned_by: 'sightline' }] });
  if (request.method !== 'POST' || request.url !== '/v1/chat/completions') return fail(response, 404, 'There is no such route.');
  const asked = chatRequest.parse(JSON.parse(await bodyOf(request)));
  const prompt = readPrompt(asked);
  const text = await interimAnswer(prompt);
  const most = asked.max_completion_tokens ?? asked.max_tokens ?? Infinity;
  const words = text.split(/(?<=\s)/);
  const given = words.slice(0, most);
  const finish = given.length < words.length ? 'length' : 'stop';
  const promptTokens = asked.messages.reduce(
    (sum, { content }) =>
      sum +
      (typeof content === 'string'
        ? estimateTokens(content)
        : content.reduce((all, part) => all + (part.type === 'text' ? estimateTokens(part.text) : 1), 0)),
    0,
  );
  const usage = { prompt_tokens: promptTokens, completion_tokens: given.length, total_tokens: promptTokens + given.length };
  const head = { id: 'chatcmpl-interim', created: 0, model: INTERIM_MODEL };
  if (!asked.stream)
    return send(response, {
      ...head,
      object: 'chat.completion',
      choices: [{ index: 0, message: { role: 'assistant', content: given.join('') }, finish_reason: finish }],
      usage,
    });
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  const tell = (rest: object): void =>
    void response.write(`data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', ...rest })}\n\n`);
  for (const word of given) tell({ choices: [{ index: 0, delta: { content: word }, finish_reason: null }] });
  tell({ choices: [{ index: 0, delta: {}, finish_reason: finish }] });
  if (asked.stream_options?.include_usage) tell({ choices: [], usage });
  response.end('data: [DONE]\n\n');
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MOST_BODY_BYTES) throw new RangeError(`At most ${MOST_BODY_BYTES} bytes are taken.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function send(response: ServerResponse, body: object): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function fail(response: ServerResponse, status: number, message: string): void {
  response
    .writeHead(status, { 'content-type': 'application/json' })
    .end(JSON.stringify({ error: { message, type: 'invalid_request_error' } }));
}
