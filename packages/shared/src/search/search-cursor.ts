import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { ParsedSearchRequest } from '../contracts/http.ts';
import { SightlineError } from '../runtime/errors.ts';

const cursor = z.strictObject({
  offset: z.int().min(0).max(100_000),
  /** The first page's limit: it decides how many candidates there are, and more of them are another order. */
  reach: z.int().min(1).max(100),
  request: z.string(),
});

/** Where a page begins, and for how long a first page the candidates are fetched. */
export interface PagePlace {
  offset: number;
  reach: number;
}

/**
 * A cursor holds the place and the digest of tenant and request: another one's would page through another order. It carries no
 * right to anything: the page it names is searched for anew, under the filter of whoever brings it.
 */
export function cursorOf(tenant: string, request: ParsedSearchRequest, place: PagePlace): string {
  return Buffer.from(JSON.stringify({ ...place, request: digestOf(tenant, request) })).toString('base64url');
}

/** The place a request asks for; the beginning without a cursor. Error: `request_invalid` for a cursor of another request or tenant. */
export function placeOf(tenant: string, request: ParsedSearchRequest): PagePlace {
  if (!request.cursor) return { offset: 0, reach: request.limit };
  const parsed = cursor.safeParse(parseJson(Buffer.from(request.cursor, 'base64url').toString()));
  if (!parsed.success || parsed.data.request !== digestOf(tenant, request)) {
    throw new SightlineError('request_invalid', 'cursor: it belongs to another request; repeat the request that it came with.');
  }
  return { offset: parsed.data.offset, reach: parsed.data.reach };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What decides the order; how much of it is shown (`limit`) and with what (`explain`) may change between pages. */
function digestOf(tenant: string, request: ParsedSearchRequest): string {
  const { query, image, mode, alpha, k, weights, filter, min_score, group_by } = request;
  return createHash('sha256')
    .update(JSON.stringify([tenant, query, image, mode, alpha, k, weights, filter, min_score, group_by]))
    .digest('base64url')
    .slice(0, 16);
}
