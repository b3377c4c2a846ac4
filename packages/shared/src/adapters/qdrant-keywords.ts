import { hash } from 'node:crypto';

/** BM25's term saturation, as FTS5 has it. */
const K1 = 1.2;
const B = 0.75;
/**
 * The length in keywords that counts as average. BM25 wants the collection's own average, which is not known while it is being
 * written and would change the weights of what is already stored. 50 is what the sample catalogue's records have (mean 50.8,
 * median 51); a constant keeps scores of the same text equal for ever, whoever wrote it and when.
 */
const AVERAGE_KEYWORDS = 50;

export interface SparseVector {
  indices: number[];
  values: number[];
}

/**
 * A keyword's dimension: the first 32 bits of its SHA-256. Two words share one with probability 2^-32; in a vocabulary of a
 * million words a query's word meets a stranger with probability 0.02 %, and then ranks some wrong records among the right ones.
 */
export function keywordDimension(keyword: string): number {
  return Number.parseInt(hash('sha256', keyword, 'hex').slice(0, 8), 16);
}

function byDimension(keywords: Iterable<string>): Map<number, number> {
  const counts = new Map<number, number>();
  for (const keyword of keywords) {
    const dimension = keywordDimension(keyword);
    counts.set(dimension, (counts.get(dimension) ?? 0) + 1);
  }
  return counts;
}

/**
 * A point's keywords as BM25 weighs them, except for the words' rarity (IDF), which the server puts in at the time of a search:
 * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / average)). Null when there are none.
 */
export function documentVector(keywords: string[]): SparseVector | null {
  if (keywords.length === 0) return null;
  const dampening = K1 * (1 - B + (B * keywords.length) / AVERAGE_KEYWORDS);
  const counts = [...byDimension(keywords)];
  return {
    indices: counts.map(([dimension]) => dimension),
    values: counts.map(([, count]) => (count * (K1 + 1)) / (count + dampening)),
  };
}

/** A query for any of the keywords; null when there are none. A word said twice weighs no more. */
export function queryVector(keywords: string[]): SparseVector | null {
  const indices = [...byDimension(new Set(keywords.filter((keyword) => keyword !== ''))).keys()];
  return indices.length === 0 ? null : { indices, values: indices.map(() => 1) };
}
