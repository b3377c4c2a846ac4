/**
 * Alignment: softmax over the candidates of logitScale * cosine in the shared visual space, as CLIP's own classifier scores
 * its labels (Radford et al., 2021, section 3.1.2; logitScale is exp of the learned temperature). Reported, and usable to
 * rerank; never added raw to a cosine, because over k candidates it averages 1/k. Null cosines stay null and take no share.
 */
export function alignment(cosines: (number | null)[], logitScale: number): (number | null)[] {
  const present = cosines.filter((cosine) => cosine !== null);
  if (present.length === 0) return cosines.map(() => null);
  const highest = Math.max(...present);
  const weights = cosines.map((cosine) => (cosine === null ? null : Math.exp(logitScale * (cosine - highest))));
  const total = weights.reduce<number>((sum, weight) => sum + (weight ?? 0), 0);
  return weights.map((weight) => (weight === null ? null : weight / total));
}
