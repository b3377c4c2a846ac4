import type { ObjectInfo } from '../ports/object-store.ts';
import { SightlineError } from '../runtime/errors.ts';
import { compareKeys } from './s3-object-store-key.ts';
import type { FetchPage } from './s3-object-store-page.ts';
import { ChildSizes, pageRequest, replaceByPage, takeGroup, type Stretch } from './s3-object-store-shards.ts';

/** After how many keys that were taken the row is looked at again. */
const LOOK_EVERY_KEYS = 100;

/** One place of the row: keys that are there, a stretch that waits, one under way, or one that failed. */
type Place =
  | { kind: 'keys'; keys: ObjectInfo[] }
  | { kind: 'waiting'; stretch: Stretch }
  | { kind: 'underWay'; done: Promise<void> }
  | { kind: 'failed'; error: unknown };

export interface ListingOptions {
  prefix: string;
  startAfter?: string;
  signal?: AbortSignal;
  /** Requests under way at once, and keys held ahead of the reader. */
  ahead: { requests: number; keys: number; pageKeys: number };
}

/**
 * A prefix's objects in ascending byte order of key. A listing of more than a page is split by sub-prefix: those are disjoint
 * ranges of keys, so several are fetched ahead at once and told in order, and one key stays enough as a cursor. A flat prefix is
 * read page by page, ahead of the reader too.
 *
 * Errors: those of `fetchPage`, at the place in the order where they happened; `object_listing_unordered` when the store's own
 * order is another one: a listing could then not go on after a key.
 */
export async function* listInOrder(fetchPage: FetchPage, options: ListingOptions): AsyncGenerator<ObjectInfo> {
  const { signal } = options;
  const row = new Row(fetchPage, options);
  let last: string | null = null;
  let taken = 0;
  try {
    for (let keys = await row.next(); keys; keys = await row.next()) {
      for (const info of keys) {
        signal?.throwIfAborted();
        if (last !== null && compareKeys(last, info.key) >= 0)
          throw new SightlineError('object_listing_unordered', `"${info.key}" came after "${last}".`);
        last = info.key;
        yield info;
        taken += 1;
        if (taken % LOOK_EVERY_KEYS === 0) row.lookAhead();
      }
    }
    signal?.throwIfAborted();
  } finally {
    await row.close();
  }
}

class Row {
  readonly #fetchPage: FetchPage;
  readonly #ahead: ListingOptions['ahead'];
  readonly #sizes: ChildSizes;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  #places: Place[];
  #underWay = 0;
  /** Nothing is read ahead before the reader has shown that it wants more than a look. */
  #isAhead = false;

  constructor(fetchPage: FetchPage, { prefix, startAfter, signal, ahead }: ListingOptions) {
    this.#fetchPage = fetchPage;
    this.#ahead = ahead;
    this.#sizes = new ChildSizes(ahead.pageKeys);
    this.#signal = signal ? AbortSignal.any([signal, this.#stop.signal]) : this.#stop.signal;
    this.#places = [{ kind: 'waiting', stretch: { kind: 'flat', prefix, after: startAfter, isChild: false } }];
  }

  /** The next keys in order, or null at the end. */
  async next(): Promise<ObjectInfo[] | null> {
    for (;;) {
      this.#signal.throwIfAborted();
      const [first] = this.#places;
      if (!first) return null;
      if (first.kind === 'failed') throw first.error;
      if (first.kind === 'keys') {
        this.#places.shift();
        if (first.keys.length > 0) return first.keys;
      } else {
        this.#start();
        const head = this.#places[0];
        if (head?.kind === 'underWay') await head.done;
      }
    }
  }

  lookAhead(): void {
    this.#isAhead = true;
    this.#start();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled(this.#places.filter((place) => place.kind === 'underWay').map(({ done }) => done));
  }

  /** Starts what may be started, the earliest first: the reader waits for the head, and that is never held back. */
  #start(): void {
    if (this.#signal.aborted) return;
    for (let at = 0; at < this.#places.length && this.#underWay < this.#ahead.requests; at++) {
      const place = this.#places[at];
      if (place?.kind === 'failed') return;
      if (place?.kind !== 'waiting') continue;
      if (at > 0 && (!this.#isAhead || this.#held() + this.#underWay * this.#ahead.pageKeys >= this.#ahead.keys)) return;
      const { stretch } = place;
      if (stretch.kind === 'children') {
        const { keys, group, rest } = takeGroup(stretch, this.#sizes.groupSize);
        const parts: Place[] = [{ kind: 'keys', keys }];
        for (const part of [group, rest]) if (part) parts.push({ kind: 'waiting', stretch: part });
        this.#places.splice(at, 1, ...parts.filter((part) => part.kind !== 'keys' || part.keys.length > 0));
        at -= 1;
      } else {
        this.#places[at] = this.#fetch(stretch);
      }
    }
  }

  #fetch(stretch: Exclude<Stretch, { kind: 'children' }>): Place {
    this.#underWay += 1;
    const place: Place = { kind: 'underWay', done: this.#replace(stretch, () => this.#places.indexOf(place)) };
    return place;
  }

  async #replace(stretch: Exclude<Stretch, { kind: 'children' }>, placeOf: () => number): Promise<void> {
    let parts: Place[];
    try {
      const page = await this.#fetchPage(pageRequest(stretch), this.#signal);
      const { keys, rest } = replaceByPage(stretch, page, this.#sizes);
      parts = [{ kind: 'keys', keys }, ...rest.map((part): Place => ({ kind: 'waiting', stretch: part }))];
    } catch (error) {
      parts = [{ kind: 'failed', error }];
    }
    this.#underWay -= 1;
    this.#places.splice(placeOf(), 1, ...parts);
    if (this.#isAhead) this.#start();
  }

  /** Keys and sub-prefixes that are held. */
  #held(): number {
    return this.#places.reduce((sum, place) => {
      if (place.kind === 'keys') return sum + place.keys.length;
      return place.kind === 'waiting' && place.stretch.kind === 'children' ? sum + place.stretch.entries.length : sum;
    }, 0);
  }
}
