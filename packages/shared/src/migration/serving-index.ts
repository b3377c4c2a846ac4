import type { Logger } from 'pino';
import type { IndexVersions } from '../ports/index-versions.ts';
import type { MigrationLedger } from '../ports/migration-ledger.ts';
import type { IndexSpec, VectorIndex } from '../ports/vector-index.ts';
import { SightlineError } from '../runtime/errors.ts';
import { mirroredIndex, type MirrorDeps } from './mirrored-index.ts';

export interface ServingIndexDeps extends MirrorDeps {
  versions: IndexVersions;
  ledger: MirrorDeps['ledger'] & Pick<MigrationLedger, 'indexWriting'>;
  logger: Pick<Logger, 'info' | 'warn'>;
  /** How often it is asked which version serves. */
  lookEveryMs?: number;
  /** How long a version that no longer serves is kept open for who still reads it. */
  keepOpenMs?: number;
}

interface Opened {
  version: number;
  index: VectorIndex;
  /** As its writers see it. */
  mirrored: VectorIndex;
}

const LOOK_EVERY_MS = 300;
const KEEP_OPEN_MS = 60_000;

/**
 * The index that serves, whichever version that is at the time: it is asked again and again, and a cut-over is followed without an
 * error. Work of several steps that belong together, such as encoding a query and searching with it, takes `pinned()`.
 * Deletions that meet a cut-over go to the new version; writes with vectors only where its encoders are the same.
 * Errors beside VectorIndex's: `lease_lost` for a write of the old version's vectors.
 */
export class ServingIndex implements VectorIndex {
  readonly #deps: ServingIndexDeps;
  readonly #stop = new AbortController();
  readonly #retired = new Map<Opened, number>();
  #current: Opened;
  #looking: Promise<void> = Promise.resolve();

  private constructor(deps: ServingIndexDeps, current: Opened) {
    this.#deps = deps;
    this.#current = current;
  }

  /** Error: `index_unavailable` when no version serves yet. */
  static async open(deps: ServingIndexDeps): Promise<ServingIndex> {
    const version = await deps.versions.serving();
    if (version === null)
      throw new SightlineError(
        'index_unavailable',
        'There is no index yet: an encode worker makes it when it starts with its pack.',
      );
    const serving = new ServingIndex(deps, await opened(deps, version));
    serving.#looking = serving.#look();
    return serving;
  }

  get spec(): IndexSpec {
    return this.#current.index.spec;
  }

  /** The number of the version that serves. */
  get version(): number {
    return this.#current.version;
  }

  /** The version that serves now, for good. */
  pinned(): VectorIndex {
    return this.#current.mirrored;
  }

  get: VectorIndex['get'] = (...args) => this.#current.index.get(...args);
  findImageVectors: VectorIndex['findImageVectors'] = (...args) => this.#current.index.findImageVectors(...args);
  findByItem: VectorIndex['findByItem'] = (...args) => this.#current.index.findByItem(...args);
  findByPicture: VectorIndex['findByPicture'] = (...args) => this.#current.index.findByPicture(...args);
  search: VectorIndex['search'] = (...args) => this.#current.index.search(...args);
  sample: VectorIndex['sample'] = (...args) => this.#current.index.sample(...args);
  scan: VectorIndex['scan'] = (...args) => this.#current.index.scan(...args);
  count: VectorIndex['count'] = (...args) => this.#current.index.count(...args);
  tenants: VectorIndex['tenants'] = () => this.#current.index.tenants();
  copies: VectorIndex['copies'] = (...args) => this.#current.index.copies(...args);
  putCopies: VectorIndex['putCopies'] = (...args) => this.#current.index.putCopies(...args);

  writePictures: VectorIndex['writePictures'] = (writes) => this.#write('image', (index) => index.writePictures(writes));
  writeRecords: VectorIndex['writeRecords'] = (writes) => this.#write('text', (index) => index.writeRecords(writes));
  delete: VectorIndex['delete'] = (deletions) => this.#write(null, (index) => index.delete(deletions));
  purge: VectorIndex['purge'] = (...args) => this.#everywhere((index) => index.purge(...args));
  deleteTenant: VectorIndex['deleteTenant'] = (...args) => this.#everywhere((index) => index.deleteTenant(...args));

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#looking;
    await Promise.all([this.#current, ...this.#retired.keys()].map(({ index }) => index.close()));
  }

  async #write(space: 'image' | 'text' | null, write: (index: VectorIndex) => Promise<void>): Promise<void> {
    const before = this.#current;
    try {
      return await write(before.mirrored);
    } catch (error) {
      if (!(error instanceof SightlineError && error.code === 'lease_lost')) throw error;
      await this.#follow();
      const now = this.#current;
      const fits = space === null || now.index.spec[space].fingerprint === before.index.spec[space].fingerprint;
      if (now === before || !fits) throw error;
      return await write(now.mirrored);
    }
  }

  /** What goes past the mirroring is done to both versions. Answers for the one that serves. */
  async #everywhere(step: (index: VectorIndex) => Promise<number>): Promise<number> {
    const { version, index } = this.#current;
    const answer = await step(index);
    const writing = await this.#deps.ledger.indexWriting();
    const there = new Set(await this.#deps.versions.numbers());
    for (const other of new Set([writing?.version, writing?.mirror])) {
      if (other === null || other === undefined || other === version || !there.has(other)) continue;
      const also = await this.#deps.versions.open(other);
      try {
        await step(also);
      } finally {
        await also.close();
      }
    }
    return answer;
  }

  async #look(): Promise<void> {
    const { sleep, logger, lookEveryMs = LOOK_EVERY_MS, keepOpenMs = KEEP_OPEN_MS } = this.#deps;
    while (!this.#stop.signal.aborted) {
      await sleep(lookEveryMs, this.#stop.signal).catch(() => {});
      if (this.#stop.signal.aborted) return;
      // What is away now is asked again: until then the version that served goes on.
      await this.#follow().catch((error: unknown) =>
        logger.warn({ err: error }, 'which version of the index serves is not known'),
      );
      for (const [old, since] of this.#retired) {
        if (performance.now() - since < keepOpenMs) continue;
        this.#retired.delete(old);
        await old.index.close().catch((error: unknown) => logger.warn({ err: error }, 'an old version of the index'));
      }
    }
  }

  async #follow(): Promise<void> {
    const version = await this.#deps.versions.serving();
    if (version === null || version === this.#current.version) return;
    const next = await opened(this.#deps, version);
    if (this.#current.version === version) return next.index.close();
    this.#retired.set(this.#current, performance.now());
    this.#current = next;
    this.#deps.logger.info({ version, spec: next.index.spec }, 'another version of the index serves');
  }
}

async function opened(deps: ServingIndexDeps, version: number): Promise<Opened> {
  const index = await deps.versions.open(version);
  return { version, index, mirrored: mirroredIndex(index, version, deps) };
}

/** The version that serves now where the index follows, else the index itself: for work of several steps that belong together. */
export function pinned(index: VectorIndex): VectorIndex {
  return index instanceof ServingIndex ? index.pinned() : index;
}
