/** What one explained search says of every leg, and what other weights would have made of it. */
import type { Explanation, SearchResponse } from '@sightline/shared/contracts/http';
import { alphaFusion, type Cosines } from '@sightline/shared/retrieval/alpha-fusion';
import { ndcgAt, recallAt, reciprocalRank } from '@sightline/shared/retrieval/ranking-metrics';
import { reciprocalRankFusion } from '@sightline/shared/retrieval/reciprocal-rank-fusion';

type Result = SearchResponse['results'][number];
export type LegName = 'image' | 'words' | 'text' | 'keywords';

/** Hessel et al., "CLIPScore: A Reference-free Evaluation Metric for Image Captioning", EMNLP 2021: w in w * max(cos, 0). */
const CLIP_SCORE_WEIGHT = 2.5;
const SHOWN = 5;

function idOf(result: Result): string {
  return result.item_id ?? result.asset_id;
}

/** Ids in the fused order, best first. */
export function fusedRanking(results: readonly Result[]): string[] {
  return results.map(idOf);
}

/** Ids in one leg's own order, of those that it listed. */
export function legRanking(results: readonly Result[], leg: LegName): string[] {
  return results
    .flatMap((result) => {
      const rank = result.explain?.[leg]?.rank ?? null;
      return rank === null ? [] : [{ id: idOf(result), rank }];
    })
    .sort((a, b) => a.rank - b.rank)
    .map(({ id }) => id);
}

/** Recall at 1, 5 and 10, nDCG at 10 and the reciprocal rank of a ranking. */
export function rankingScores(ranking: readonly string[], relevant: ReadonlySet<string>): Record<string, number> {
  return {
    recall_1: recallAt(ranking, relevant, 1),
    recall_5: recallAt(ranking, relevant, 5),
    recall_10: recallAt(ranking, relevant, 10),
    ndcg_10: ndcgAt(ranking, relevant, 10),
    mrr: reciprocalRank(ranking, relevant),
  };
}

/** The order that reciprocal rank fusion with another k gives the same candidates; exact codes stay first. Of a search by words. */
export function withRrfK(results: readonly Result[], k: number): string[] {
  const legs = (['image', 'text', 'keywords'] as const).map((leg) => ({ weight: 1, ranking: legRanking(results, leg) }));
  const scores = reciprocalRankFusion(legs, k);
  return ordered(results, (result) => scores.get(idOf(result)) ?? 0);
}

/** The order that another alpha gives the same candidates; exact codes stay first. Of a search by a picture and words. */
export function withAlpha(results: readonly Result[], alpha: number): string[] {
  const cosines = results.map(({ explain }): Cosines => cosinesOf(explain));
  const scores = alphaFusion(cosines, alpha, {
    words: cosines.some(({ words }) => words !== null),
    text: cosines.some(({ text }) => text !== null),
  });
  const scoreOf = new Map(results.map((result, i) => [result, scores[i] ?? 0]));
  return ordered(results, (result) => scoreOf.get(result) ?? 0);
}

function cosinesOf(explain: Explanation | undefined): Cosines {
  return {
    picture: explain?.image.score ?? null,
    words: explain?.words?.score ?? null,
    text: explain?.text.score ?? null,
  };
}

function firstOf(explain: Explanation | undefined): number {
  return Number(explain?.code === true) * 2 + Number(explain?.named === true);
}

/** As the product orders: codes, numbered names, score, then the id. */
function ordered(results: readonly Result[], scoreOf: (result: Result) => number): string[] {
  return results
    .map((result) => ({ id: idOf(result), first: firstOf(result.explain), score: scoreOf(result) }))
    .sort((a, b) => b.first - a.first || b.score - a.score || (a.id < b.id ? -1 : 1))
    .map(({ id }) => id);
}

/**
 * The article's three measures of what was retrieved, over the first five results; a name is missing where nothing has it.
 * - `visual_relevance`: mean CLIPScore, 2.5 * max(cos, 0) of the query (its picture, else its words) and each picture.
 * - `text_relevance`: mean cosine of the query's words and each record in the text space.
 * - `alignment`: the share of the softmax over all candidates (docs/retrieval.md) that the five have.
 */
export function articleScores(
  results: readonly Result[],
): Partial<Record<'visual_relevance' | 'text_relevance' | 'alignment', number>> {
  const first = results.slice(0, SHOWN).flatMap(({ explain }) => explain ?? []);
  const visual = first.flatMap(({ image }) => image.score ?? []);
  const text = first.flatMap(({ text: leg }) => leg.score ?? []);
  const aligned = first.flatMap(({ alignment }) => alignment ?? []);
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  return {
    ...(visual.length > 0 && {
      visual_relevance: sum(visual.map((cosine) => CLIP_SCORE_WEIGHT * Math.max(cosine, 0))) / visual.length,
    }),
    ...(text.length > 0 && { text_relevance: sum(text) / text.length }),
    ...(aligned.length > 0 && { alignment: sum(aligned) }),
  };
}
