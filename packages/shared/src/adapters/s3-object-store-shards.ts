import type { ObjectInfo } from '../ports/object-store.ts';
import { compareKeys } from './s3-object-store-key.ts';
import { keyOf, type ListPage, type PageRequest } from './s3-object-store-page.ts';

/**
 * A stretch of a listing that is still to be fetched. A listing is a row of stretches in byte order; each page that comes
 * replaces its stretch by keys and by what is left of it. So whatever the pages say, the row stays in order.
 */
export type Stretch =
  /** Every key under `prefix` after `after`, page by page. */
  | { kind: 'flat'; prefix: string; after?: string; token?: string; isChild: boolean }
  /** The same, told as keys and sub-prefixes. */
  | { kind: 'level'; prefix: string; after?: string; token?: string }
  /** Keys and sub-prefixes of one level that are known; the sub-prefixes are still to be fetched, several at once if they are small. */
  | { kind: 'children'; prefix: string; entries: (ObjectInfo | string)[] }
  /** Neighbouring sub-prefixes that one flat page is likely to hold, first and last a sub-prefix. */
  | { kind: 'group'; prefix: string; entries: (ObjectInfo | string)[] };

/** Below so many keys a sub-prefix, telling the sub-prefixes takes about as many requests as telling the keys. */
const MIN_KEYS_PER_CHILD = 8;
const MAX_GROUP = 500;
/** How full a group's page is meant to be: a page that overflows costs another request. */
const GROUP_FILL = 0.8;
/** What a request before counts for beside the newest. */
const FADE = 0.7;
/** After everything under a sub-prefix when it is put behind one: the last code point there is. */
const LAST = '\u{10FFFF}';

/** What a listing has learnt of the sub-prefixes it is at: how many keys one holds, by sums that fade. */
export class ChildSizes {
  readonly pageKeys: number;
  #keys = 0;
  #children = 0;

  constructor(pageKeys: number) {
    this.pageKeys = pageKeys;
  }

  /** Another level begins, and a page of it was seen. */
  begin(keys: number, children: number): void {
    this.#keys = keys;
    this.#children = children;
  }

  learn(keys: number, children: number): void {
    this.#keys = FADE * this.#keys + keys;
    this.#children = FADE * this.#children + children;
  }

  /** How many sub-prefixes one page is likely to hold. */
  get groupSize(): number {
    const size = Math.floor((this.pageKeys * GROUP_FILL * this.#children) / Math.max(1, this.#keys));
    return Math.min(MAX_GROUP, Math.max(1, size));
  }
}

/** What one page of `stretch` is asked for by. */
export function pageRequest(stretch: Exclude<Stretch, { kind: 'children' }>): PageRequest {
  if (stretch.kind === 'group') {
    // The end of what sorts before the first sub-prefix: a key of exactly its name is still after it.
    const startAfter = `${keyOf(stretch.entries[0] ?? '').slice(0, -1)}.${LAST}`;
    return { prefix: stretch.prefix, startAfter, isDelimited: false };
  }
  const { prefix, after, token } = stretch;
  return { prefix, startAfter: after, token, isDelimited: stretch.kind === 'level' };
}

/** The keys that a page brought, and the stretches that are left, in order. */
export function replaceByPage(
  stretch: Exclude<Stretch, { kind: 'children' }>,
  page: ListPage,
  sizes: ChildSizes,
): { keys: ObjectInfo[]; rest: Stretch[] } {
  if (stretch.kind === 'level') return replaceLevel(stretch, page);
  if (stretch.kind === 'group') return replaceGroup(stretch, page, sizes);
  return replaceFlat(stretch, page, sizes);
}

/** The next group off known children, and the keys before it; `rest` is what stays. */
export function takeGroup(
  { prefix, entries }: Extract<Stretch, { kind: 'children' }>,
  groupSize: number,
): { keys: ObjectInfo[]; group: Stretch | null; rest: Stretch | null } {
  const first = entries.findIndex((entry) => typeof entry === 'string');
  if (first === -1) return { keys: objectsOf(entries), group: null, rest: null };
  let end = first + 1;
  for (let at = end, taken = 1; at < entries.length && taken < groupSize; at++) {
    if (typeof entries[at] !== 'string') continue;
    taken += 1;
    end = at + 1;
  }
  const inGroup = entries.slice(first, end);
  return {
    keys: objectsOf(entries.slice(0, first)),
    group:
      inGroup.length === 1
        ? { kind: 'flat', prefix: keyOf(inGroup[0] ?? ''), isChild: true }
        : { kind: 'group', prefix, entries: inGroup },
    rest: end < entries.length ? { kind: 'children', prefix, entries: entries.slice(end) } : null,
  };
}

function replaceFlat(
  { prefix, after, isChild }: Extract<Stretch, { kind: 'flat' }>,
  page: ListPage,
  sizes: ChildSizes,
): { keys: ObjectInfo[]; rest: Stretch[] } {
  const keys = objectsAfter(page.entries, after);
  if (isChild) sizes.learn(page.token === null ? keys.length : sizes.pageKeys, 1);
  if (page.token === null) return { keys, rest: [] };
  const inChildren = keys.map(({ key }) => childOf(prefix, key)).filter((child) => child !== null);
  const children = new Set(inChildren).size;
  const last = keys.at(-1);
  if (!last || children === 0 || inChildren.length / children < MIN_KEYS_PER_CHILD)
    return { keys, rest: [{ kind: 'flat', prefix, after, token: page.token, isChild: false }] };
  sizes.begin(inChildren.length, children);
  return { keys, rest: splitAfter(prefix, last.key) };
}

/** What comes after `key` under `prefix`: the rest of the sub-prefix that it lies in, then the level from there on. */
function splitAfter(prefix: string, key: string): Stretch[] {
  const child = childOf(prefix, key);
  if (child === null) return [{ kind: 'level', prefix, after: key }];
  return [
    { kind: 'flat', prefix: child, after: key, isChild: false },
    { kind: 'level', prefix, after: child + LAST },
  ];
}

function replaceLevel(
  { prefix, after }: Extract<Stretch, { kind: 'level' }>,
  page: ListPage,
): { keys: ObjectInfo[]; rest: Stretch[] } {
  const rest: Stretch[] = [{ kind: 'children', prefix, entries: page.entries.filter((entry) => isAfter(keyOf(entry), after)) }];
  if (page.token !== null) rest.push({ kind: 'level', prefix, after, token: page.token });
  return { keys: [], rest };
}

function replaceGroup(
  { prefix, entries }: Extract<Stretch, { kind: 'group' }>,
  page: ListPage,
  sizes: ChildSizes,
): { keys: ObjectInfo[]; rest: Stretch[] } {
  const first = keyOf(entries[0] ?? '');
  const last = keyOf(entries.at(-1) ?? '');
  const isBeyond = (key: string): boolean => isAfter(key, last) && !key.startsWith(last);
  const keys = objectsOf(page.entries).filter(({ key }) => !isAfter(first, key) && !isBeyond(key));
  const stoppedAt = keyOf(page.entries.at(-1) ?? last);
  if (page.token === null || isBeyond(stoppedAt)) {
    sizes.learn(keys.length, countChildren(entries));
    return { keys, rest: [] };
  }
  // The page ended within the group: what is left of that sub-prefix, then the others again.
  const left = entries.filter((entry) => isAfter(keyOf(entry), stoppedAt));
  sizes.learn(keys.length, countChildren(entries) - countChildren(left));
  const child = childOf(prefix, stoppedAt);
  const rest: Stretch[] = [];
  if (child !== null) rest.push({ kind: 'flat', prefix: child, after: stoppedAt, isChild: false });
  if (left.length > 0) rest.push({ kind: 'children', prefix, entries: left });
  return { keys, rest };
}

function countChildren(entries: (ObjectInfo | string)[]): number {
  return entries.filter((entry) => typeof entry === 'string').length;
}

/** The sub-prefix of `prefix` that `key` lies in, with its slash; null when it lies at the level itself. */
function childOf(prefix: string, key: string): string | null {
  const slash = key.indexOf('/', prefix.length);
  return slash === -1 ? null : key.slice(0, slash + 1);
}

function isAfter(key: string, after: string | undefined): boolean {
  return after === undefined || compareKeys(key, after) > 0;
}

function objectsOf(entries: (ObjectInfo | string)[]): ObjectInfo[] {
  return entries.filter((entry) => typeof entry !== 'string');
}

/** Gateways differ in whether what is asked for with `start-after` is itself in the answer. */
function objectsAfter(entries: (ObjectInfo | string)[], after: string | undefined): ObjectInfo[] {
  return objectsOf(entries).filter(({ key }) => isAfter(key, after));
}
