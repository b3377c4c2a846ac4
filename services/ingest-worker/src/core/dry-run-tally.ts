import { totalsIn, type DryRunTotals } from '@sightline/shared/contracts/dry-run';
import type { SourcePlace } from '@sightline/shared/contracts/source-place';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ItemLines } from './item-lines.ts';

/** Adds up what a dry run lists. Contents that were seen are kept on disk; a run that died knows only of those since then. */
export class DryRunTally {
  readonly #seen: ItemLines | null;
  #bytes: number;
  #duplicates: number | null;

  private constructor(seen: ItemLines | null, { bytes, duplicates }: DryRunTotals) {
    this.#seen = seen;
    this.#bytes = bytes;
    this.#duplicates = duplicates;
  }

  /** Goes on from a cursor that has totals. */
  static open(openItemLines: () => ItemLines, { bucket }: SourcePlace, cursor: string | null): DryRunTally {
    // A file's eTag is made of its times and its place on the disk.
    const saysContent = !bucket.startsWith('/');
    const totals = totalsIn(cursor) ?? { bytes: 0, duplicates: saysContent ? 0 : null, seconds: null };
    return new DryRunTally(saysContent ? openItemLines() : null, totals);
  }

  count({ eTag, sizeBytes }: { eTag: string; sizeBytes: number }): void {
    this.#bytes += sizeBytes;
    const content = `${eTag}/${sizeBytes}`;
    if (this.#duplicates === null || !this.#seen) return;
    if (this.#seen.lineOf(content) === null) this.#seen.put(content, 0);
    else this.#duplicates += 1;
  }

  get totals(): DryRunTotals {
    return { bytes: this.#bytes, duplicates: this.#duplicates, seconds: null };
  }

  close(): void {
    this.#seen?.close();
  }
}

const LATE_INGESTIONS = 50;
const LATE_MS = 7 * 24 * 3_600_000;
/** Fewer say more about starting up than about the rate. */
const LEAST_INDEXED = 50;

/**
 * Seconds that indexing `objects` would take at the rate of this stack's ingestions of the last week, waiting and pauses
 * included; null where there is none to go by.
 */
export async function estimateSeconds(
  ledger: Pick<Ledger, 'listIngestions'>,
  objects: number,
  now: number,
): Promise<number | null> {
  const ended = await ledger.listIngestions(null, { statuses: ['completed'], limit: LATE_INGESTIONS });
  let indexed = 0;
  let ms = 0;
  for (const { dryRun, counts, createdAt, finishedAt } of ended) {
    // Where most was unchanged the time went into looking, not into encoding.
    const isTelling = counts.indexed >= LEAST_INDEXED && counts.indexed * 2 >= counts.listed;
    if (dryRun || !isTelling || finishedAt === null || finishedAt < now - LATE_MS) continue;
    indexed += counts.indexed;
    ms += finishedAt - createdAt;
  }
  return indexed === 0 ? null : Math.ceil(((ms / indexed) * objects) / 1000);
}
