import type { MigrationQuality, MigrationQuery } from '@sightline/shared/contracts/migrations';
import type { EncodeQueryResult } from '@sightline/shared/contracts/jobs';
import type { AssetPoint, Leg, VectorIndex } from '@sightline/shared/ports/vector-index';
import { analyseQuery } from '@sightline/shared/retrieval/analyser';
import { recallAt } from '@sightline/shared/retrieval/ranking-metrics';
import { reciprocalRankFusion } from '@sightline/shared/retrieval/reciprocal-rank-fusion';

const SHOWN = 10;
/** Of each leg; several assets of one item use places up. */
export const LEG_HITS = 30;

/** Something that was found: an item where the asset has a record, else the asset. */
export interface Found {
  name: string;
  /** Whatever a label may call it. */
  ids: string[];
}

/** What a query finds, best first. */
export type Ranking = (query: MigrationQuery) => Promise<Found[]>;

/** The same queries asked before and after. Means over the queries; recall over the labelled ones. */
export async function compareQuality(
  queries: MigrationQuery[],
  from: MigrationQuality['queries_from'],
  { before, after }: { before: Ranking; after: Ranking },
): Promise<MigrationQuality> {
  const overlaps: number[] = [];
  const recalls: { before: number; after: number }[] = [];
  for (const query of queries) {
    const [old, fresh] = await Promise.all([before(query), after(query)]);
    const most = Math.max(old.length, fresh.length);
    const names = new Set(old.map(({ name }) => name));
    // Nothing found by either is the same result.
    overlaps.push(most === 0 ? 1 : fresh.filter(({ name }) => names.has(name)).length / most);
    if (query.relevant.length > 0) recalls.push({ before: recall(query, old), after: recall(query, fresh) });
  }
  return {
    queries: queries.length,
    queries_from: from,
    labelled: recalls.length,
    overlap_at_10: mean(overlaps),
    recall_at_10:
      recalls.length === 0
        ? null
        : { before: mean(recalls.map((one) => one.before)) ?? 0, after: mean(recalls.map((one) => one.after)) ?? 0 },
  };
}

function recall({ relevant }: MigrationQuery, found: Found[]): number {
  // A label may name one found thing by several of its ids: all of them count as found.
  const ids = new Set(relevant);
  const named = found.slice(0, SHOWN).flatMap((one) => one.ids.filter((id) => ids.has(id)));
  return recallAt(named, ids, SHOWN);
}

function mean(values: number[]): number | null {
  if (values.length === 0) return null;
  return Math.round((values.reduce((sum, value) => sum + value, 0) / values.length) * 10_000) / 10_000;
}

/** The first ten of the legs' fusion, joined on items; ties by name. */
export function fuse(legs: Found[][]): Found[] {
  const known = new Map<string, Found>();
  for (const found of legs.flat()) known.set(found.name, found);
  const scores = reciprocalRankFusion(legs.map((leg) => ({ weight: 1, ranking: [...new Set(leg.map(({ name }) => name))] })));
  const names = [...scores].toSorted(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).map(([name]) => name);
  return names.slice(0, SHOWN).flatMap((name) => known.get(name) ?? []);
}

export function foundOf({ assetId, records }: Pick<AssetPoint, 'assetId' | 'records'>): Found {
  return { name: records[0]?.itemId ?? assetId, ids: [assetId, ...records.map(({ itemId }) => itemId)] };
}

/** Results of a version of the index: the legs of a search by words, with all that it holds. */
export function rankingOf(index: VectorIndex, encode: (tenant: string, query: string) => Promise<EncodeQueryResult>): Ranking {
  return async ({ tenant, query }) => {
    const encoded = await encode(tenant, query);
    const legs: Leg[] = [
      ...(encoded.wordsInImageSpace
        ? [{ space: 'image' as const, vector: Float32Array.from(encoded.wordsInImageSpace), limit: LEG_HITS }]
        : []),
      ...(encoded.wordsInTextSpace
        ? [{ space: 'text' as const, vector: Float32Array.from(encoded.wordsInTextSpace), limit: LEG_HITS }]
        : []),
      { space: 'keywords' as const, keywords: analyseQuery(query), limit: LEG_HITS },
    ];
    const answers = await index.search(tenant, undefined, legs);
    const points = await index.get(tenant, [...new Set(answers.flat().map(({ assetId }) => assetId))]);
    return fuse(
      answers.map((hits) =>
        hits.flatMap(({ assetId }) => {
          const point = points.get(assetId);
          return point ? [foundOf(point)] : [];
        }),
      ),
    );
  };
}
