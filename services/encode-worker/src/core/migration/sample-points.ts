import type { MigrationQuery } from '@sightline/shared/contracts/migrations';
import type { PointCopy, VectorIndex } from '@sightline/shared/ports/vector-index';

const PLACES = 16;

/** Up to about `limit` live points of all tenants, each by its share, from places spread over the ids. */
export async function samplePoints(index: VectorIndex, limit: number): Promise<PointCopy[]> {
  const tenants = await index.tenants();
  const counts = await Promise.all(tenants.map((tenant) => index.count(tenant)));
  const total = counts.reduce((sum, { live }) => sum + live, 0);
  const sample: PointCopy[] = [];
  for (const [i, tenant] of tenants.entries()) {
    const live = counts[i]?.live ?? 0;
    const share = total <= limit ? live : Math.max(1, Math.round((limit * live) / total));
    const found = new Map<string, PointCopy>();
    const places = share >= live ? 1 : Math.min(PLACES, share);
    for (let place = 0; place < places; place++) {
      const some = share >= live ? live + (counts[i]?.deleted ?? 0) : Math.ceil(share / places);
      for (const copy of await index.copies(tenant, { after: startOf(place / places), limit: some }))
        if (copy.image?.live || copy.record?.live) found.set(copy.assetId, copy);
    }
    sample.push(...found.values());
  }
  return sample;
}

/** Ids are hashes: an id at this part (from 0 to 1) of all. */
function startOf(part: number): string {
  const head = Math.floor(part * 2 ** 32)
    .toString(16)
    .padStart(8, '0');
  return `${head}-0000-0000-0000-000000000000`;
}

/** Titles of sampled items as queries, each of which should find its item: for who has no queries of their own. */
export function titleQueries(sample: PointCopy[], limit: number): MigrationQuery[] {
  const queries = new Map<string, MigrationQuery>();
  for (const { tenant, records } of sample) {
    for (const { itemId, title } of records) {
      const query = title.trim().slice(0, 512);
      if (query !== '' && !queries.has(query)) queries.set(query, { tenant, query, relevant: [itemId] });
    }
  }
  const all = [...queries.values()];
  return all.filter(
    (_, i) => all.length <= limit || Math.floor((i * limit) / all.length) > Math.floor(((i - 1) * limit) / all.length),
  );
}
