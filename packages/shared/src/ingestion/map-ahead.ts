/** Maps in order with up to `concurrency` calls under way: the source is read ahead by that much, never more. */
export async function* mapAhead<T, R>(
  items: AsyncIterable<T> | Iterable<T>,
  concurrency: number,
  map: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const underWay: Promise<R>[] = [];
  try {
    for await (const item of items) {
      const result = map(item);
      // A later one may fail before its turn: its rejection is read at its turn, or never when an earlier one failed.
      result.catch(() => {});
      underWay.push(result);
      const first = underWay.length >= concurrency ? underWay.shift() : undefined;
      if (first) yield await first;
    }
    for (let next = underWay.shift(); next; next = underWay.shift()) yield await next;
  } finally {
    await Promise.allSettled(underWay);
  }
}
