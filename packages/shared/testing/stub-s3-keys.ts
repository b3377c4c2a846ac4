/** Keys of a bucket that nobody stored: told by their place in ascending byte order, so that a million cost no memory. */
export interface StubKeys {
  count: number;
  keyAt(index: number): string;
}

/** Keys that are given; sorted by their bytes here. */
export function givenKeys(keys: Iterable<string>): StubKeys {
  const sorted = [...keys]
    .map((key) => ({ key, bytes: Buffer.from(key) }))
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ key }) => key);
  return { count: sorted.length, keyAt: (index) => sorted[index] ?? '' };
}

/** `<prefix><number>.jpg`, all at one level. */
export function flatKeys(count: number, prefix = 'pictures/'): StubKeys {
  return { count, keyAt: (index) => `${prefix}${String(index).padStart(9, '0')}.jpg` };
}

/** `<prefix><folder>/<number>.jpg`: the count over so many folders evenly. */
export function folderKeys(count: number, folders: number, prefix = 'catalogue/'): StubKeys {
  const each = Math.ceil(count / folders);
  return {
    count,
    keyAt: (index) =>
      `${prefix}${String(Math.floor(index / each)).padStart(7, '0')}/${String(index % each).padStart(9, '0')}.jpg`,
  };
}

/** The first place whose key is not below `key` in byte order. */
export function lowerBound({ count, keyAt }: StubKeys, key: string): number {
  const wanted = Buffer.from(key);
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (Buffer.compare(Buffer.from(keyAt(middle)), wanted) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

export interface StubPageRequest {
  prefix: string;
  isDelimited: boolean;
  /** The place that the page before ended at; before `startAfter`. */
  startAt?: number;
  startAfter?: string;
  maxKeys: number;
  /** Some gateways leave out a sub-prefix that `start-after` points into, though keys of it are left; AWS tells it. */
  skipsStartedPrefix?: boolean;
  /** Instead of `start-after` itself being left out. */
  includesStartAfter?: boolean;
}

/** One page as S3 tells it: places of keys, and sub-prefixes; and the place where the next one begins. */
export function stubPage(keys: StubKeys, request: StubPageRequest): { told: (number | string)[]; next: number | null } {
  const { prefix, isDelimited, startAfter, maxKeys } = request;
  const startsAt = (): number => {
    if (request.startAt !== undefined) return request.startAt;
    if (startAfter === undefined) return 0;
    const at = lowerBound(keys, startAfter);
    return keys.keyAt(at) === startAfter && !request.includesStartAfter ? at + 1 : at;
  };
  const isInPrefix = (at: number): boolean => at < keys.count && keys.keyAt(at).startsWith(prefix);
  const told: (number | string)[] = [];
  let at = Math.max(startsAt(), lowerBound(keys, prefix));
  while (told.length < maxKeys && isInPrefix(at)) {
    const key = keys.keyAt(at);
    const slash = isDelimited ? key.indexOf('/', prefix.length) : -1;
    if (slash === -1) {
      told.push(at);
      at += 1;
      continue;
    }
    const child = key.slice(0, slash + 1);
    // What follows the slash in ASCII: the first text after everything in the sub-prefix.
    at = lowerBound(keys, `${child.slice(0, -1)}0`);
    const isStarted = request.startAt === undefined && startAfter?.startsWith(child) === true;
    if (!(request.skipsStartedPrefix && isStarted)) told.push(child);
  }
  return { told, next: isInPrefix(at) ? at : null };
}
