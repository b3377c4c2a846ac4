/**
 * Recall at a cut: |relevant among the first `cut`| / min(|relevant|, cut), from 0 to 1. The lesser of the two, so that a query with more
 * answers than places can reach 1 (with one answer it is whether that was found). Source: Manning, Raghavan, Schütze, "Introduction to
 * Information Retrieval", 2008, section 8.4, with the usual bound at the cut. `ranking`: ids, best first. Throws a RangeError
 * where nothing is relevant: such a query has no recall.
 */
export function recallAt(ranking: readonly string[], relevant: ReadonlySet<string>, cut: number): number {
  assertRelevant(relevant);
  const found = new Set(ranking.slice(0, cut).filter((id) => relevant.has(id)));
  return found.size / Math.min(relevant.size, cut);
}

/**
 * Normalised discounted cumulative gain with gains of 0 and 1: sum over the first `cut` ranks of rel(rank) / log2(1 + rank), divided by the
 * same sum of an ideal order. From 0 to 1. Source: Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques",
 * ACM TOIS 20(4), 2002, with the discount log2(1 + rank) that is usual today. Throws a RangeError where nothing is relevant.
 */
export function ndcgAt(ranking: readonly string[], relevant: ReadonlySet<string>, cut: number): number {
  assertRelevant(relevant);
  const seen = new Set<string>();
  let gain = 0;
  ranking.slice(0, cut).forEach((id, i) => {
    if (relevant.has(id) && !seen.has(id)) gain += 1 / Math.log2(i + 2);
    seen.add(id);
  });
  let ideal = 0;
  for (let i = 0; i < Math.min(relevant.size, cut); i++) ideal += 1 / Math.log2(i + 2);
  return gain / ideal;
}

/**
 * 1 / rank of the first relevant id, 0 where none is listed; its mean over queries is the MRR. Source: Voorhees, "The TREC-8 Question
 * Answering Track Report", 1999.
 */
export function reciprocalRank(ranking: readonly string[], relevant: ReadonlySet<string>): number {
  const at = ranking.findIndex((id) => relevant.has(id));
  return at < 0 ? 0 : 1 / (at + 1);
}

function assertRelevant(relevant: ReadonlySet<string>): void {
  if (relevant.size === 0) throw new RangeError('A query to which nothing is relevant has neither recall nor gain.');
}
