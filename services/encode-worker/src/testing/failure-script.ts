/** What an encoder process that fails on command does, and when. Calls and starts count from 1, over all its processes. */
export interface FailureScript {
  /** Batches of more rows than this are told that there is no memory, from one call on and before another. */
  outOfMemoryAbove: number;
  outOfMemoryFrom: number;
  outOfMemoryUntil: number;
  /** Ends before it computes these calls, or after it computed them and before it says so. */
  deathsAt: number[];
  diesAfter: number[];
  hangsAt: number[];
  /** Ends while it loads. */
  failedStarts: number[];
  /** Memory that each call takes and never gives back. */
  leaksBytesPerCall: number;
}

export const NO_FAILURES: FailureScript = {
  outOfMemoryAbove: 0,
  outOfMemoryFrom: 0,
  outOfMemoryUntil: 0,
  deathsAt: [],
  diesAfter: [],
  hangsAt: [],
  failedStarts: [],
  leaksBytesPerCall: 0,
};

/** What computing a marked picture does: the call fails, the process ends, it hangs, or the vector has no direction. */
export const MARKS = ['fails', 'kills', 'hangs', 'blanks'] as const;
export type Mark = (typeof MARKS)[number];

const MAGIC = [83, 76, 70, 65, 75];

/** Writes a mark into a picture's first two pixels. */
export function mark(pixels: Uint8Array, as: Mark): void {
  pixels.set([...MAGIC, MARKS.indexOf(as)]);
}

/** The mark of the n-th crop of a batch. */
export function markOf(
  { pixels, widthPx, heightPx }: { pixels: Uint8Array; widthPx: number; heightPx: number },
  n: number,
): Mark | null {
  const at = n * widthPx * heightPx * 3;
  if (!MAGIC.every((value, i) => pixels[at + i] === value)) return null;
  return MARKS[pixels[at + MAGIC.length] ?? -1] ?? null;
}
