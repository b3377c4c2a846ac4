/**
 * Cohen's kappa with quadratic weights of two raters' whole grades from 1 to `grades`: 1 - sum(w o) / sum(w e), where w = (i - j)^2 /
 * (grades - 1)^2, o is how often the pair (i, j) was given and e how often it would be by chance, from each rater's own shares. 1 is
 * agreement, 0 what chance gives. Source: Cohen, "Weighted kappa", Psychological Bulletin 70(4), 1968. Null without pairs, and where
 * both gave one and the same grade to all: then nothing can be told from chance.
 */
export function quadraticKappa(pairs: readonly (readonly [a: number, b: number])[], grades: number): number | null {
  const n = pairs.length;
  if (n === 0) return null;
  const shares = (side: 0 | 1) =>
    Array.from({ length: grades }, (_, i) => pairs.filter((pair) => pair[side] === i + 1).length / n);
  const [first, second] = [shares(0), shares(1)];
  const weight = (i: number, j: number) => (i - j) ** 2 / (grades - 1) ** 2;
  const observed = pairs.reduce((sum, [a, b]) => sum + weight(a, b), 0) / n;
  let expected = 0;
  for (const [i, a] of first.entries()) for (const [j, b] of second.entries()) expected += weight(i, j) * a * b;
  return expected === 0 ? null : 1 - observed / expected;
}

/** The share of pairs whose grades are the same; null without pairs. */
export function exactAgreement(pairs: readonly (readonly [a: number, b: number])[]): number | null {
  return pairs.length === 0 ? null : pairs.filter(([a, b]) => a === b).length / pairs.length;
}
