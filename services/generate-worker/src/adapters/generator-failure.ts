import { SightlineError, type ErrorCode } from '@sightline/shared/runtime/errors';
import { APIConnectionError, APIConnectionTimeoutError, APIError } from 'openai';
import { AnswerFlood } from './bounded-fetch.ts';

/** What a failed request means. */
export interface GeneratorFailure {
  error: SightlineError;
  /** HTTP status, or what stands for it in a stream; null where the server said nothing. */
  status: number | null;
  /** What the server said, uncut. */
  said: string;
  /** The connection failed before the server had answered anything. */
  isUnanswered: boolean;
  /** The server is full: it is asked less. */
  isOverload: boolean;
  retryAfterMs: number | null;
  /** Counts towards opening the circuit. */
  isDown: boolean;
}

const MOST_SHOWN = 300;

/** How vLLM, transformers, llama.cpp and OpenAI say it. */
const CONTEXT_EXCEEDED =
  /context[ _-]?(length|size|window)|max(imum)? (model|context|sequence)|max_model_len|longer than the maximum|exceeds the model|prompt is too long|too many tokens/i;
const CONTEXT_CODES = new Set(['context_length_exceeded', 'exceed_context_size_error', 'string_above_max_length']);

/** Any thrown value of a request; `secret` is cut from what the server said. */
export function failureOf(thrown: unknown, secret?: string): GeneratorFailure {
  if (thrown instanceof SightlineError)
    return { ...failure(thrown.code, thrown.message), error: thrown, isOverload: thrown.code === 'generator_timeout' };
  if (thrown instanceof APIConnectionTimeoutError)
    return { ...failure('generator_timeout', 'No connection in time.', thrown), isOverload: true, isDown: true };
  if (thrown instanceof APIConnectionError) return unanswered(thrown);
  if (thrown instanceof APIError) return answered(thrown, secret);
  if (thrown instanceof AnswerFlood) return failure('generator_malformed', `It sent ${thrown.message}.`, thrown);
  if (thrown instanceof SyntaxError) return failure('generator_malformed', 'A piece of its stream is not JSON.', thrown);
  const why = textOf(thrown);
  if (why.includes('UND_ERR_BODY_TIMEOUT')) return { ...failure('generator_timeout', why, thrown), isOverload: true };
  return failure('generator_malformed', `The stream broke off: ${why}`, thrown);
}

function unanswered(thrown: APIConnectionError): GeneratorFailure {
  const why = textOf(thrown);
  if (/UND_ERR_(HEADERS|CONNECT)_TIMEOUT/.test(why))
    return { ...failure('generator_timeout', why, thrown), isOverload: true, isDown: true };
  return { ...failure('generator_unavailable', why, thrown), isUnanswered: true, isDown: true };
}

/** With a status, or inside a stream that began with 200. */
function answered(thrown: APIError, secret: string | undefined): GeneratorFailure {
  const { code, type } = thrown;
  const status = thrown.status ?? (Number(code) || null);
  const said = secret ? thrown.message.replaceAll(secret, '…') : thrown.message;
  const base = (errorCode: ErrorCode) => ({ ...failure(errorCode, said, thrown), status });
  const isRefusal = status !== null && status >= 400 && status < 500;
  const isContext = [code, type].some((name) => CONTEXT_CODES.has(String(name))) || CONTEXT_EXCEEDED.test(said);
  if (isContext && (status === null || isRefusal)) return base('generator_context_exceeded');
  const retryAfterMs = retryAfterOf(thrown.headers);
  if (status === 429 || (status === 503 && retryAfterMs !== null))
    return { ...base('generator_unavailable'), isOverload: true, retryAfterMs };
  if (status === 408) return { ...base('generator_timeout'), isOverload: true };
  if (isRefusal) return base('generator_refused');
  return { ...base('generator_unavailable'), isOverload: status === 503, isDown: true };
}

function failure(code: ErrorCode, said: string, cause?: unknown): GeneratorFailure {
  const detail = said.length > MOST_SHOWN ? `${said.slice(0, MOST_SHOWN - 1)}…` : said;
  const error = new SightlineError(code, detail, { cause });
  return { error, status: null, said, isUnanswered: false, isOverload: false, retryAfterMs: null, isDown: false };
}

function retryAfterOf(headers: Headers | undefined): number | null {
  const inMs = Number(headers?.get('retry-after-ms') ?? Number.NaN);
  if (inMs >= 0) return inMs;
  const value = headers?.get('retry-after');
  if (!value) return null;
  const seconds = Number(value);
  const ms = Number.isFinite(seconds) ? seconds * 1_000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : null;
}

/** A connection's error hides its reason in causes of causes. */
function textOf(thrown: unknown): string {
  const texts: string[] = [];
  let error = thrown as { code?: unknown; message?: unknown; cause?: unknown } | undefined;
  for (; typeof error === 'object' && error !== null && texts.length < 5; error = error.cause as typeof error)
    texts.push([error.code, error.message].filter((part) => typeof part === 'string' && part !== '').join(' '));
  return texts.filter(Boolean).join(': ') || String(thrown);
}
