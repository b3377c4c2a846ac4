/** How the commands talk to a running stack: the same schemas as the server's, and its problems as errors people can read. */
import type { z } from 'zod';
import { problem, type Problem } from '@sightline/shared/contracts/http';

/** The stack answered with a problem; `code` is what to branch on. */
export class ApiError extends Error {
  readonly code: Problem['code'];

  constructor({ code, title, detail }: Problem) {
    super(`${title}${detail ? ` ${detail}` : ''} (${code})`);
    this.name = 'ApiError';
    this.code = code;
  }
}

export class ApiClient {
  readonly url: string;

  /** `url`: where the stack listens, such as http://127.0.0.1:8080. */
  constructor(url: string) {
    this.url = url.replace(/\/+$/, '');
  }

  get<T>(path: string, schema: z.ZodType<T>): Promise<T> {
    return this.#call('GET', path, schema);
  }

  post<T>(path: string, body: unknown, schema: z.ZodType<T>): Promise<T> {
    return this.#call('POST', path, schema, body);
  }

  async #call<T>(method: string, path: string, schema: z.ZodType<T>, body?: unknown): Promise<T> {
    const sent = body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    const response = await fetch(this.url + path, { method, ...sent }).catch((error: unknown) => {
      // The connection broke while the answer was awaited, or while a body was sent that is larger than is taken.
      const isCutOff = CUT_OFF.has(codeOf(error instanceof Error ? error.cause : null) ?? '');
      throw new Error(
        isCutOff
          ? `${this.url} closed the connection: it was stopped, or what was sent is too large.`
          : `Nothing answers at ${this.url}: start the stack with \`npm run up\`, or set SIGHTLINE_URL.`,
        { cause: error },
      );
    });
    const answer: unknown = await response.json().catch(() => null);
    if (response.ok) return schema.parse(answer);
    const told = problem.safeParse(answer);
    throw told.success ? new ApiError(told.data) : new Error(`${this.url} answered ${response.status}, not as Sightline does.`);
  }
}

const CUT_OFF: ReadonlySet<string> = new Set(['EPIPE', 'ECONNRESET', 'UND_ERR_SOCKET']);

function codeOf(error: unknown): string | null {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : null;
}

/** SIGHTLINE_URL, by default the embedded stack's address. */
export function clientFromEnvironment(): ApiClient {
  return new ApiClient(process.env['SIGHTLINE_URL'] || 'http://127.0.0.1:8080');
}
