import { SightlineError } from '../runtime/errors.ts';

/** Readers of Redis' replies, which have no types of their own. Error of all: `store_damaged`. */
export function asNumber(reply: unknown): number {
  const number = typeof reply === 'number' ? reply : typeof reply === 'string' && reply !== '' ? Number(reply) : Number.NaN;
  if (!Number.isFinite(number)) throw new SightlineError('store_damaged', 'The ledger in Redis holds what is no number.');
  return number;
}

export function asText(reply: unknown): string {
  if (Buffer.isBuffer(reply)) return reply.toString();
  if (typeof reply !== 'string') throw new SightlineError('store_damaged', 'The ledger in Redis holds what is not text.');
  return reply;
}

export function asBytes(reply: unknown): Buffer {
  if (!Buffer.isBuffer(reply)) throw new SightlineError('store_damaged', 'The ledger in Redis holds what is not bytes.');
  return reply;
}

export function asList(reply: unknown): unknown[] {
  if (!Array.isArray(reply)) throw new SightlineError('store_damaged', 'The ledger in Redis holds what is no list.');
  return reply;
}

/** Names and values: a flat list from a script, an object from ioredis' own HGETALL. */
export function asFields(reply: unknown): Map<string, string> {
  if (typeof reply === 'object' && reply !== null && !Array.isArray(reply)) {
    return new Map(Object.entries(reply).map(([name, value]) => [name, asText(value)]));
  }
  const list = asList(reply).map(asText);
  const fields = new Map<string, string>();
  for (let at = 0; at + 1 < list.length; at += 2) fields.set(`${list[at]}`, `${list[at + 1]}`);
  return fields;
}
