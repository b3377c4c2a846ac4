import type { Schemas } from '@qdrant/js-client-rest';
import type { Filter } from '../contracts/filter.ts';
import type { IndexSpec, Leg, LegHit } from '../ports/vector-index.ts';
import type { QdrantConnection } from './qdrant-connection.ts';
import { searchFilter } from './qdrant-filter.ts';
import { queryVector } from './qdrant-keywords.ts';
import { assetIdOf, HAS_FIELD } from './qdrant-point.ts';
import { unitVector } from './unit-vector.ts';

export interface SearchSettings {
  /** Breadth of the walk through the HNSW graph; null leaves it to the server (its `ef_construct`). */
  hnswEf: number | null;
  /** Compares every point that passes the filter; for measuring what the graph misses. */
  exact: boolean;
  /** With quantised vectors: how many times the limit is fetched before the whole vectors decide. */
  oversampling: number;
}

/** Hits fetched beyond the limit, so that ties at the limit are seen. */
const SLACK = 8;
/** A group of equal scores is followed this far beyond the limit; of a larger one any members may be cut. */
const MAX_TIES = 10_000;

type Request = Schemas['QueryRequest'];

interface Asked {
  leg: Leg;
  request: Request;
  /** Hits to fetch: the limit and a margin for ties. */
  fetch: number;
}

/** All legs in one request; a leg whose limit cuts a group of equal scores is asked again for more of it. */
export async function searchLegs(
  {
    connection,
    collection,
    spec,
    settings,
  }: { connection: QdrantConnection; collection: string; spec: IndexSpec; settings: SearchSettings },
  tenant: string,
  filter: Filter | undefined,
  legs: Leg[],
): Promise<LegHit[][]> {
  const params = {
    exact: settings.exact,
    ...(settings.hnswEf !== null && { hnsw_ef: settings.hnswEf }),
    quantization: { rescore: true, oversampling: settings.oversampling },
  };
  const results: LegHit[][] = legs.map(() => []);
  let asked = new Map<number, Asked>();
  legs.forEach((leg, i) => {
    const query = leg.space === 'keywords' ? queryVector(leg.keywords) : Array.from(unitVector(spec, leg.space, leg.vector));
    if (query === null || leg.limit <= 0) return;
    const { must } = searchFilter(tenant, filter);
    const has = { key: HAS_FIELD[leg.space], match: { value: true } };
    const request = { query, using: leg.space, filter: { must: [...must, has] }, params, with_payload: false };
    asked.set(i, { leg, request, fetch: leg.limit + SLACK });
  });

  while (asked.size > 0) {
    const searches = [...asked.values()].map(({ request, fetch }) => ({ ...request, limit: fetch }));
    const answers = await connection.call((client) => client.queryBatch(collection, { searches }));
    const again = new Map<number, Asked>();
    [...asked].forEach(([place, one], i) => {
      const hits = (answers[i]?.points ?? []).map(({ id, score }) => ({
        assetId: assetIdOf(tenant, String(id)),
        // Held to [-1, 1], which float32 rounding leaves; before the sorting, so that what became equal is ordered by id.
        score: one.leg.space === 'keywords' ? score : Math.max(-1, Math.min(1, score)),
      }));
      const { limit } = one.leg;
      const isCut = hits.length >= one.fetch && hits.at(-1)?.score === hits[limit - 1]?.score;
      if (isCut && one.fetch < limit + MAX_TIES)
        again.set(place, { ...one, fetch: Math.min(limit + MAX_TIES, limit + (one.fetch - limit) * 8) });
      else results[place] = hits.sort(byScoreThenId).slice(0, limit);
    });
    asked = again;
  }
  return results;
}

function byScoreThenId(a: LegHit, b: LegHit): number {
  return b.score - a.score || (a.assetId < b.assetId ? -1 : 1);
}
