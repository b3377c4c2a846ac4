/** Below this, differences are rounding and not information. */
const SMALLEST_DEVIATION = 1e-9;

/**
 * z-scores (value - mean) / standard deviation over the values that are there. Where all are equal each is 0: the signal
 * says nothing. Null (the point has nothing to compare) gets the least z-score present: absence of evidence ranks with the
 * least similar candidate, never above one that was compared; 0 when no value is there at all.
 */
export function standardise(values: (number | null)[]): number[] {
  const present = values.filter((value) => value !== null);
  if (present.length === 0) return values.map(() => 0);
  const mean = present.reduce((sum, value) => sum + value, 0) / present.length;
  const deviation = Math.sqrt(present.reduce((sum, value) => sum + (value - mean) ** 2, 0) / present.length);
  if (deviation < SMALLEST_DEVIATION) return values.map(() => 0);
  const least = (Math.min(...present) - mean) / deviation;
  return values.map((value) => (value === null ? least : (value - mean) / deviation));
}
