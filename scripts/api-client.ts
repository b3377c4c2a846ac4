/** How the commands talk to a running stack: the same schemas as the server's, and its problems as errors people can read. */
import type { z } from 'zod';
import { problem, type Problem } from '@sightline/shared/contracts/http';
import { serverSentEvents, type ToldEvent } from './server-sent-events.ts';

/** What a person at a terminal does about it, where that is not the server's to say. */
function explained(told: Problem): ApiError {
  const isKey = told.code === 'api_key_missing' || told.code === 'api_key_invalid';
  return new ApiError(isKey ? { ...told, detail: 'Set SIGHTLINE_API_KEY; `npm run keys -- create` makes a key.' } : told);
}

/** The stack answered with a problem; `code` is what to branch on. */
export class ApiError extends Error {
  readonly code: Problem['code'];

  constructor({ code, title, detail }: Problem) {
    super(`${title}${detail ? ` ${detail}` : ''} (${code})`);
    this.name = 'ApiError';
    this.code = code;
  }
}

/** Nothing answered, or the connection broke before the answer was whole. */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';
}

export class ApiClient {
  readonly url: string;
  readonly #headers: Record<string, string>;

  /** `url`: where the stack listens, such as http://127.0.0.1:8080. `apiKey`: where it asks for one. */
  constructor(url: string, apiKey?: string) {
    this.url = url.replace(/\/+$/, '');
    this.#headers = apiKey ? { authorization: `Bearer ${apiKey}` } : {};
  }

  get<T>(path: string, schema: z.ZodType<T>, { signal }: { signal?: AbortSignal } = {}): Promise<T> {
    return this.#call('GET', path, schema, undefined, {}, signal);
  }

  post<T>(path: string, body: unknown, schema: z.ZodType<T>, headers: Record<string, string> = {}): Promise<T> {
    return this.#call('POST', path, schema, body, headers);
  }

  patch<T>(path: string, body: unknown, schema: z.ZodType<T>): Promise<T> {
    return this.#call('PATCH', path, schema, body);
  }

  delete<T>(path: string, schema: z.ZodType<T>): Promise<T> {
    return this.#call('DELETE', path, schema);
  }

  /** A picture that the stack makes, with its type. */
  async picture(path: string, { signal }: { signal?: AbortSignal } = {}): Promise<{ bytes: Buffer; type: string }> {
    const response = await this.#fetch(path, { headers: this.#headers, ...(signal && { signal }) });
    if (!response.ok) throw await this.#problemOf(response);
    const bytes = await response.arrayBuffer().catch((error: unknown) => {
      throw this.#cutOff(error);
    });
    return { bytes: Buffer.from(bytes), type: response.headers.get('content-type') ?? '' };
  }

  /** Server-sent events after the one of that id, until the connection ends, for whatever reason. */
  async *events(path: string, { after, signal }: { after?: string; signal?: AbortSignal } = {}): AsyncGenerator<ToldEvent> {
    const headers = { ...this.#headers, ...(after ? { 'last-event-id': after } : {}) };
    const response = await this.#fetch(path, { headers, ...(signal && { signal }) });
    if (!response.ok) throw await this.#problemOf(response);
    if (response.body) yield* serverSentEvents(response.body);
  }

  async #call<T>(
    method: string,
    path: string,
    schema: z.ZodType<T>,
    body?: unknown,
    more: Record<string, string> = {},
    signal?: AbortSignal,
  ): Promise<T> {
    const headers = { ...this.#headers, ...more, ...(body === undefined ? {} : { 'content-type': 'application/json' }) };
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    const response = await this.#fetch(path, { method, headers, ...sent, ...(signal && { signal }) });
    if (!response.ok) throw await this.#problemOf(response);
    const answer: unknown = await response.json().catch((error: unknown) => {
      if (error instanceof SyntaxError) return null;
      throw this.#cutOff(error);
    });
    return schema.parse(answer);
  }

  #fetch(path: string, init: RequestInit): Promise<Response> {
    return fetch(this.url + path, init).catch((error: unknown) => {
      if (init.signal?.aborted) throw error;
      // The connection broke while the answer was awaited, or while a body was sent that is larger than is taken.
      const isCutOff = CUT_OFF.has(codeOf(error instanceof Error ? error.cause : null) ?? '');
      if (isCutOff) throw this.#cutOff(error);
      throw new ConnectionError(`Nothing answers at ${this.url}: start the stack with \`npm run up\`, or set SIGHTLINE_URL.`, {
        cause: error,
      });
    });
  }

  #cutOff(cause: unknown): ConnectionError {
    return new ConnectionError(`${this.url} closed the connection: it was stopped, or what was sent is too large.`, { cause });
  }

  async #problemOf(response: Response): Promise<Error> {
    const told = problem.safeParse(await response.json().catch(() => null));
    return told.success ? explained(told.data) : new Error(`${this.url} answered ${response.status}, not as Sightline does.`);
  }
}

const CUT_OFF: ReadonlySet<string> = new Set(['EPIPE', 'ECONNRESET', 'UND_ERR_SOCKET']);

function codeOf(error: unknown): string | null {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : null;
}

/** SIGHTLINE_URL, by default the embedded stack's address, with the key in SIGHTLINE_API_KEY where there is one. */
export function clientFromEnvironment(): ApiClient {
  return new ApiClient(process.env['SIGHTLINE_URL'] || 'http://127.0.0.1:8080', process.env['SIGHTLINE_API_KEY']);
}
