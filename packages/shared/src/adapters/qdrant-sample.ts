import type { QdrantConnection } from './qdrant-connection.ts';
import type { QdrantFilter } from './qdrant-filter.ts';

/** Up to this many points all ids are read, and every n-th is taken; of more, the sample is taken in places. */
const ALL_IDS = 20_000;
const PAGE = 5_000;
const PLACES = 64;

/** Ids of up to `limit` points that pass the filter, spread evenly over the ids, in ascending order. */
export async function sampleIds(
  { connection, collection }: { connection: QdrantConnection; collection: string },
  filter: QdrantFilter,
  limit: number,
  { allIds = ALL_IDS }: { allIds?: number } = {},
): Promise<string[]> {
  const page = async (size: number, offset: string | null) => {
    const answer = await connection.call((client) =>
      client.scroll(collection, { filter, limit: size, offset, with_payload: false }),
    );
    const next = answer.next_page_offset;
    return { ids: answer.points.map(({ id }) => String(id)), next: typeof next === 'string' ? next : null };
  };
  if (limit === 0) return [];
  const { count } = await connection.call((client) => client.count(collection, { filter, exact: true }));

  if (count <= Math.max(allIds, limit)) {
    const ids: string[] = [];
    for (let offset: string | null = null; ;) {
      const { ids: some, next } = await page(PAGE, offset);
      ids.push(...some);
      if (next === null) break;
      offset = next;
    }
    // Every id whose place opens a new one of `limit` equal shares.
    return ids.length <= limit ? ids : ids.filter((_, i) => i === 0 || share(i) > share(i - 1));
    function share(i: number): number {
      return Math.floor((i * limit) / ids.length);
    }
  }

  // Ids are hashes: a run of neighbours is as good a sample as any, and runs from evenly spaced places read no more than they give.
  const places = Math.min(PLACES, limit);
  const found = new Set<string>();
  for (let place = 0; place < places; place++) {
    const size = Math.floor(((place + 1) * limit) / places) - Math.floor((place * limit) / places);
    const { ids } = await page(size, startOf(place / places));
    for (const id of ids) found.add(id);
  }
  return [...found];
}

/** The id at this part (from 0 to 1) of all ids. */
function startOf(part: number): string {
  const head = Math.floor(part * 2 ** 32)
    .toString(16)
    .padStart(8, '0');
  return `${head}-0000-0000-0000-000000000000`;
}
