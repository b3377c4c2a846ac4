import type { ItemLines } from './item-lines.ts';

/** What was learned of a manifest of that eTag. */
export interface KnownLines {
  eTag: string;
  lines: ItemLines;
}

/** Files on disk, each as long as its manifest has items. */
const MOST_KEPT = 8;

/**
 * Keeps what planning has learned of a manifest while it waits for its backlog to be worked: without it each turn would read the
 * whole manifest again. What is not here (another process planned before, too many were kept) is learned anew.
 */
export class KeptLines {
  readonly #kept = new Map<string, KnownLines>();
  #closed = false;

  /** Takes it out; who takes it closes it or keeps it again. */
  take(ingestionId: string): KnownLines | null {
    const known = this.#kept.get(ingestionId) ?? null;
    this.#kept.delete(ingestionId);
    return known;
  }

  keep(ingestionId: string, known: KnownLines): void {
    this.take(ingestionId)?.lines.close();
    if (this.#closed) return known.lines.close();
    this.#kept.set(ingestionId, known);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MOST_KEPT && oldest !== undefined) this.take(oldest)?.lines.close();
  }

  close(): void {
    this.#closed = true;
    for (const ingestionId of this.#kept.keys()) this.take(ingestionId)?.lines.close();
  }
}
