/** Batch sizes that are ever computed: few shapes, so that the runtime's memory is reused instead of growing with each new one. */
export const RUNGS = [1, 2, 4, 8, 16, 32, 64] as const;

const SMOOTHING = 0.3;
/** A measurement that was too slow is believed this long; then the rung may be tried again. */
const BELIEVED_MS = 30_000;
/** How long a rung that failed is left alone: doubled each time it fails soon after it was tried again. */
const LEFT_ALONE_MS = { first: 60_000, most: 30 * 60_000 };
/** Then the ladder is climbed again, one rung in each of these. */
const CLIMB_EVERY_MS = 10_000;

interface Measurement {
  ms: number;
  at: number;
}

/**
 * Picks batch sizes from measured times: the largest rung whose expected time stays within `maxBatchMs`. A rung that was not
 * measured yet is expected to take its share of the nearest measured one, so the ladder is climbed a step at a time.
 */
export class BatchLadder {
  readonly #rungs: readonly number[];
  readonly #maxBatchMs: number;
  readonly #now: () => number;
  readonly #measured = new Map<number, Measurement>();
  /** Rungs from `rung` on are left alone until `until`. */
  #cap: { rung: number; until: number } = { rung: Infinity, until: 0 };
  #lowered: { at: number; forMs: number; isGuess: boolean } | null = null;

  constructor(rungs: readonly number[], maxBatchMs: number, now: () => number) {
    this.#rungs = rungs;
    this.#maxBatchMs = maxBatchMs;
    this.#now = now;
  }

  /** The largest batch for now. */
  get largest(): number {
    this.#climb();
    let largest = this.#rungs[0]!;
    for (const rung of this.#rungs) {
      const expected = this.#expectedMs(rung);
      if (rung === largest || (expected !== null && expected <= this.#maxBatchMs && rung < this.#cap.rung)) largest = rung;
      else break;
    }
    return largest;
  }

  /** How many of `available` to take, and the rung to compute them on. Blank rows are computed only where they are nearly free. */
  choose(available: number): { take: number; rung: number } {
    const largest = this.largest;
    if (available >= largest) return { take: largest, rung: largest };
    const above = this.#rungs.find((rung) => rung >= available)!;
    const below = this.#rungs.findLast((rung) => rung <= available) ?? above;
    if (below === above) return { take: available, rung: above };
    const [aboveMs, belowMs] = [this.#expectedMs(above), this.#expectedMs(below)];
    const isNearlyFree = aboveMs !== null && belowMs !== null && aboveMs <= 1.15 * belowMs;
    return isNearlyFree || below > available ? { take: available, rung: above } : { take: below, rung: below };
  }

  record(rung: number, ms: number): void {
    const old = this.#measured.get(rung);
    this.#measured.set(rung, { ms: old ? old.ms + SMOOTHING * (ms - old.ms) : ms, at: this.#now() });
  }

  /**
   * A batch of this rung failed as a whole: stay below it for a while. `guess` when nothing says that it was for want of memory.
   */
  lower(rung: number, { guess }: { guess: boolean }): void {
    const now = this.#now();
    // It was on its way when a smaller one failed.
    if (now < this.#cap.until && rung >= this.#cap.rung) return;
    const last = this.#lowered;
    const sinceMs = last ? now - last.at : Infinity;
    let forMs: number = LEFT_ALONE_MS.first;
    if (last && sinceMs < last.forMs) forMs = last.forMs;
    else if (last && sinceMs < 2 * last.forMs + LEFT_ALONE_MS.first) forMs = Math.min(LEFT_ALONE_MS.most, 2 * last.forMs);
    this.#lowered = { at: now, forMs, isGuess: guess };
    this.#cap = { rung, until: now + forMs };
  }

  /** One input was at fault: a guess that it was the size is taken back. */
  forgive(): void {
    if (!this.#lowered?.isGuess) return;
    this.#cap = { rung: Infinity, until: 0 };
    this.#lowered = null;
  }

  /** Memory that came back for one rung has not come back for all. */
  #climb(): void {
    if (this.#cap.rung === Infinity || this.#now() < this.#cap.until) return;
    const next = this.#rungs.find((rung) => rung > this.#cap.rung);
    this.#cap = { rung: next ?? Infinity, until: this.#now() + CLIMB_EVERY_MS };
  }

  #expectedMs(rung: number): number | null {
    const own = this.#measured.get(rung);
    if (own && (own.ms <= this.#maxBatchMs || this.#now() - own.at < BELIEVED_MS)) return own.ms;
    const nearest =
      this.#rungs.findLast((r) => r < rung && this.#measured.has(r)) ??
      this.#rungs.find((r) => r > rung && this.#measured.has(r));
    return nearest === undefined ? null : (this.#measured.get(nearest)!.ms * rung) / nearest;
  }
}
