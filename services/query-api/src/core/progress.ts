import { totalsIn } from '@sightline/shared/contracts/dry-run';
import type { IngestionView } from '@sightline/shared/contracts/http';
import type { Counts, Ingestion } from '@sightline/shared/ports/ledger';

const WINDOW_MS = 30_000;
/** A shorter stretch says more about one chunk than about the rate. */
const LEAST_STRETCH_MS = 1_000;
const MOST_WATCHED = 200;

/** Statuses after which nothing changes any more. */
export const FINAL_STATUSES: readonly string[] = ['completed', 'failed', 'cancelled'];

/**
 * Rate and time left of ingestions, from the ledger's counts: the last half minute where they were looked at in between, else the
 * whole run. Time left counts what is listed, so it is told only once the source is listed to its end.
 */
export class Progress {
  readonly #now: () => number;
  readonly #seen = new Map<string, { atMs: number; done: number }[]>();

  /** `now` in Unix milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  view(ingestion: Ingestion): IngestionView {
    const self = `/v1/ingestions/${ingestion.ingestionId}`;
    const isFinal = FINAL_STATUSES.includes(ingestion.status);
    const rate = this.#rate(ingestion, isFinal);
    const left = ingestion.counts.listed - doneOf(ingestion.counts);
    return {
      ingestion_id: ingestion.ingestionId,
      status: ingestion.status,
      reason: ingestion.reason,
      hold: ingestion.hold,
      source: ingestion.source,
      dry_run: ingestion.dryRun,
      counts: ingestion.counts,
      images_per_second: rate === null ? null : Math.round(rate * 100) / 100,
      eta_seconds: isFinal || !ingestion.planned || !rate ? null : Math.ceil(left / rate),
      estimate: ingestion.dryRun ? totalsIn(ingestion.cursor) : null,
      created_at: new Date(ingestion.createdAt).toISOString(),
      finished_at: ingestion.finishedAt === null ? null : new Date(ingestion.finishedAt).toISOString(),
      links: { self, failures: `${self}/failures`, events: `${self}/events`, report: isFinal ? `${self}/report` : null },
    };
  }

  #rate(ingestion: Ingestion, isFinal: boolean): number | null {
    const done = doneOf(ingestion.counts);
    if (isFinal) {
      this.#seen.delete(ingestion.ingestionId);
      return over(done, (ingestion.finishedAt ?? this.#now()) - ingestion.createdAt);
    }
    const now = this.#now();
    const seen = (this.#seen.get(ingestion.ingestionId) ?? []).filter((mark) => now - mark.atMs <= WINDOW_MS);
    if (now - (seen.at(-1)?.atMs ?? 0) >= LEAST_STRETCH_MS / 2) seen.push({ atMs: now, done });
    this.#seen.delete(ingestion.ingestionId);
    this.#seen.set(ingestion.ingestionId, seen);
    const oldest = this.#seen.keys().next().value;
    if (this.#seen.size > MOST_WATCHED && oldest !== undefined) this.#seen.delete(oldest);
    const first = seen[0];
    if (first && now - first.atMs >= LEAST_STRETCH_MS) return over(done - first.done, now - first.atMs);
    return over(done, now - ingestion.createdAt);
  }
}

function doneOf({ indexed, unchanged, duplicate, failed }: Counts): number {
  return indexed + unchanged + duplicate + failed;
}

function over(done: number, ms: number): number | null {
  return ms <= 0 ? null : (done / ms) * 1000;
}
