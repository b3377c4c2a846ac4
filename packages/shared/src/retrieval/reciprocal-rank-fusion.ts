/** Ids of one leg, best first, without repetition. */
export interface RankedLeg {
  weight: number;
  ranking: string[];
}

/** Cormack, Clarke and Büttcher's constant; it damps how much the very first ranks count. */
export const RRF_K = 60;

/**
 * Weighted reciprocal rank fusion: score(d) = sum over the legs of weight / (k + rank of d), rank from 1; a leg that does not
 * list d adds nothing. Source: Cormack, Clarke, Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank
 * Learning Methods", SIGIR 2009, with a weight per leg.
 */
export function reciprocalRankFusion(legs: RankedLeg[], k = RRF_K): Map<string, number> {
  const scores = new Map<string, number>();
  for (const { weight, ranking } of legs) {
    ranking.forEach((id, index) => scores.set(id, (scores.get(id) ?? 0) + weight / (k + index + 1)));
  }
  return scores;
}
