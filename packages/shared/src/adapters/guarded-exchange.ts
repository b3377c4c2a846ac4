import { validateHeaderName, validateHeaderValue } from 'node:http';
import { Client, type buildConnector, type Dispatcher } from 'undici';
import { SightlineError } from '../runtime/errors.ts';

export interface Exchange {
  method: 'GET' | 'POST';
  url: URL;
  headers: Record<string, string>;
  body: string | Uint8Array | null;
  maxResponseBytes: number;
  signal: AbortSignal;
}

export interface ExchangeAnswer {
  /** A redirect is an answer like others: it is never followed. */
  status: number;
  /** In lower case; what came several times is joined by commas. */
  headers: Record<string, string>;
  /** As they came: nothing is decompressed. */
  bytes: Uint8Array;
}

const MAX_HEADER_BYTES = 16_384;
const FIRST_BYTES = 65_536;

/** Headers that say where a request goes or how it is framed; `host` would also become the name that the certificate is held against. */
const OWN_HEADERS = new Set([
  'accept-encoding',
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Headers as they are sent. Errors: `request_invalid`. */
export function outgoingHeaders(headers: Record<string, string>): Record<string, string> {
  const sent: Record<string, string> = { 'user-agent': 'Sightline' };
  for (const [name, value] of Object.entries(headers)) {
    try {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    } catch (error) {
      throw new SightlineError('request_invalid', 'A header cannot be sent as it is.', { cause: error });
    }
    if (OWN_HEADERS.has(name.toLowerCase()))
      throw new SightlineError('request_invalid', `The header ${name} is not the caller's.`);
    sent[name.toLowerCase()] = value;
  }
  return { ...sent, 'accept-encoding': 'identity' };
}

/** One request and its answer, on a connection that is made for them and gone after them. Errors: what `faultOf` makes codes of. */
export async function exchange(
  { method, url, headers, body, maxResponseBytes, signal }: Exchange,
  connect: buildConnector.connector,
): Promise<ExchangeAnswer> {
  // The one deadline is the signal's, over all of it.
  const client = new Client(url.origin, { connect, maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: 0, bodyTimeout: 0 });
  try {
    const path = `${url.pathname}${url.search}`;
    const answer = await client.request({ method, path, headers, body, signal, reset: true });
    const bytes = await readBody(answer, maxResponseBytes);
    return { status: answer.statusCode, headers: joined(answer.headers), bytes };
  } finally {
    await client.destroy();
  }
}

async function readBody({ body, headers }: Dispatcher.ResponseData, maxBytes: number): Promise<Uint8Array> {
  const tooLarge = new SightlineError('url_answer_too_large', `More than ${maxBytes} bytes.`);
  if (Number(headers['content-length'] ?? 0) > maxBytes) {
    // Destroyed unread, it says so by an event that nobody needs.
    body.on('error', () => {}).destroy();
    throw tooLarge;
  }
  // Copied as they come: kept, pieces of a byte each would hold a hundred times what they bring.
  let bytes = Buffer.alloc(Math.min(maxBytes, FIRST_BYTES));
  let sizeBytes = 0;
  for await (const piece of body as AsyncIterable<Uint8Array>) {
    if (sizeBytes + piece.length > maxBytes) throw tooLarge;
    if (sizeBytes + piece.length > bytes.length) {
      const larger = Buffer.alloc(Math.min(maxBytes, 2 * (sizeBytes + piece.length)));
      bytes.copy(larger, 0, 0, sizeBytes);
      bytes = larger;
    }
    bytes.set(piece, sizeBytes);
    sizeBytes += piece.length;
  }
  return bytes.subarray(0, sizeBytes);
}

function joined(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value ?? ''].flat().join(', ')]));
}

/** What failed, as a code and no more: refused, reset, not resolved and badly certified are one and the same to who asked. */
export function faultOf(error: unknown): SightlineError {
  for (let at = error; isObject(at); at = at.cause) if (at instanceof SightlineError) return at;
  const code = isObject(error) ? error.code : undefined;
  if (code === 'UND_ERR_HEADERS_OVERFLOW') return new SightlineError('url_answer_too_large', undefined, { cause: error });
  if (code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT')
    return new SightlineError('url_timeout', undefined, { cause: error });
  return new SightlineError('url_unreachable', undefined, { cause: error });
}

function isObject(value: unknown): value is { code?: unknown; cause?: unknown } {
  return typeof value === 'object' && value !== null;
}
