import type { IndexVersions } from '@sightline/shared/ports/index-versions';
import type { IndexSpec, VectorIndex } from '@sightline/shared/ports/vector-index';
import { copyOwed, driveMigration, dropLeftover } from './core/migration/drive-migration.ts';
import type { MigrationDeps } from './core/migration/migration-deps.ts';

/** Batches under way at once: one is encoded while another is written. */
const COPIERS = 2;
const IDLE_MS = 250;
const FAILED_MS = 2_000;

/** Drives migrations of the index that this worker's encoder has a part in, and copies what its version is owed, until closed. */
export function startMigrator(deps: MigrationDeps): { close: () => Promise<void> } {
  const stop = new AbortController();
  const loop = async (what: string, turn: () => Promise<boolean>): Promise<void> => {
    while (!stop.signal.aborted) {
      const waitMs = await turn().then(
        (worked) => (worked ? 0 : IDLE_MS),
        (error: unknown) => {
          if (!stop.signal.aborted) deps.logger.warn({ err: error }, what);
          return FAILED_MS;
        },
      );
      await deps.sleep(waitMs, stop.signal).catch(() => {});
    }
  };
  const running = [
    loop('the migration goes on later', () => driveMigration(deps, stop.signal)),
    loop('old versions of the index', async () => {
      await dropLeftover(deps);
      return false;
    }),
    ...Array.from({ length: COPIERS }, () => loop('points are copied later', () => copyOwed(deps, stop.signal))),
  ];
  return {
    close: async () => {
      stop.abort();
      await Promise.all(running);
    },
  };
}

/** Versions of the index, each opened once. */
export class OpenVersions {
  readonly #versions: IndexVersions;
  readonly #open = new Map<number, Promise<VectorIndex>>();

  constructor(versions: IndexVersions) {
    this.#versions = versions;
  }

  /** With a spec it is made where there is none. */
  open(version: number, spec?: IndexSpec): Promise<VectorIndex> {
    let opening = this.#open.get(version);
    if (!opening) {
      opening = this.#versions.open(version, spec);
      this.#open.set(version, opening);
      // What could not be opened now is tried anew.
      opening.catch(() => this.#open.delete(version));
    }
    return opening;
  }

  async close(): Promise<void> {
    const opened = [...this.#open.values()];
    this.#open.clear();
    for (const one of await Promise.allSettled(opened)) if (one.status === 'fulfilled') await one.value.close();
  }
}
