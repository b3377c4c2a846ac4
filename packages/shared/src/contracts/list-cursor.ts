import { z } from 'zod';
import { SightlineError } from '../runtime/errors.ts';

const cursor = z.tuple([z.int(), z.string().max(128)]);

/** Where a page of a list that is ordered by time ends: the last entry's time, and what tells it from others of that time. */
export interface ListPlace {
  at: number;
  id: string;
}

export function listCursor({ at, id }: ListPlace): string {
  return Buffer.from(JSON.stringify([at, id])).toString('base64url');
}

/** The place of a cursor. It carries no right to anything: the list is the asker's own. Error: `request_invalid` for one that is none. */
export function listPlace(text: string): ListPlace {
  const parsed = cursor.safeParse(parseJson(Buffer.from(text, 'base64url').toString()));
  if (!parsed.success) throw new SightlineError('request_invalid', 'cursor: it is not one of this list.');
  const [at, id] = parsed.data;
  return { at, id };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
