import { realpath, stat } from 'node:fs/promises';
import { basename, relative, sep } from 'node:path';
import { watch, type FSWatcher } from 'chokidar';
import type { Logger } from 'pino';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { ChangeFeed, Noticed } from '../core/change-feed.ts';

export interface LocalChangeFeedOptions {
  /** Absolute folders that are sources at present; asked again and again, so that new ones are watched. */
  folders: () => Promise<string[]>;
  /** The stack's own files, which may lie in a source. */
  dataDir: string;
  logger: Logger;
  /**
   * Told, some time after a folder began to be watched, since when it is (Unix milliseconds): what changed in it before was not
   * heard of.
   */
  onWatched?: (folder: string, since: number) => Promise<void>;
  tellAfterMs?: number;
  lookEveryMs?: number;
  /** A file that does not grow for so long is taken for whole. */
  settledMs?: number;
  /** Pause after a handler that threw. */
  retryMs?: number;
  /** Files that are kept while they are not taken; of a folder with more it is only known that it has to be looked through. */
  maxGathered?: number;
}

const GATHER_MS = 50;
/** A folder of millions takes minutes until it is watched: nothing else waits for it. */
const READY_WITHIN_MS = 10_000;

interface Watched {
  watcher: FSWatcher;
  /** Which folder it is: another in its place has the same path. */
  root: string;
  /** Unix milliseconds; null until it is watched. */
  since: number | null;
  isTold: boolean;
  ready: Promise<void>;
}

/**
 * Changes heard of from the file system: every folder that is a source is watched. What happens while the process is down, or before a
 * folder is watched, is not heard of. A folder that cannot be watched is told to the log and tried again; one that goes, or that
 * another takes the place of, is watched anew.
 */
export class LocalChangeFeed implements ChangeFeed {
  readonly #options: LocalChangeFeedOptions;
  readonly #watched = new Map<string, Watched>();
  readonly #over = new AbortController();
  /** By folder and path: a file is looked at once, however often it was told of. */
  #gathered = new Map<string, Noticed>();
  #loops: Promise<void>[] = [];
  #failed: Error | null = null;

  constructor(options: LocalChangeFeedOptions) {
    this.#options = options;
  }

  async start(handler: (noticed: Noticed[], signal: AbortSignal) => Promise<void>): Promise<void> {
    await this.#look().catch((error: unknown) => this.#options.logger.warn({ err: error }, 'watching folders'));
    const ready = Promise.all([...this.#watched.values()].map((watched) => watched.ready)).then(() => undefined);
    await Promise.race([ready, pause(READY_WITHIN_MS, this.#over.signal)]);
    const { lookEveryMs = 250, retryMs = 1_000 } = this.#options;
    this.#loops = [
      this.#every(lookEveryMs, () => this.#look()),
      this.#every(GATHER_MS, async () => {
        if (this.#gathered.size === 0) return;
        const batch = this.#gathered;
        this.#gathered = new Map();
        try {
          await handler([...batch.values()], this.#over.signal);
          this.#failed = null;
        } catch (error) {
          if (this.#over.signal.aborted) return;
          // What came meanwhile is as new, or newer.
          this.#gathered = new Map([...batch, ...this.#gathered]);
          this.#failed = error instanceof Error ? error : new Error(String(error));
          this.#options.logger.warn({ err: error, files: batch.size }, 'changes were not taken and come again');
          await pause(retryMs, this.#over.signal);
        }
      }),
    ];
  }

  async ping(): Promise<void> {
    if (this.#loops.length === 0 || this.#over.signal.aborted)
      throw new SightlineError('events_unavailable', 'The change feed does not run.');
    if (this.#failed) throw new SightlineError('events_unavailable', 'Changes are not taken.', { cause: this.#failed });
  }

  async close(): Promise<void> {
    this.#over.abort();
    await Promise.all(this.#loops);
    await Promise.all([...this.#watched.values()].map(({ watcher }) => watcher.close()));
    this.#watched.clear();
  }

  async #every(ms: number, step: () => Promise<void>): Promise<void> {
    while (!this.#over.signal.aborted) {
      await step().catch((error: unknown) => this.#options.logger.warn({ err: error }, 'watching folders'));
      await pause(ms, this.#over.signal);
    }
  }

  /** Watches folders that became sources, and no longer those that are none any more. */
  async #look(): Promise<void> {
    const wanted = new Set(await this.#options.folders());
    const roots = new Map<string, string | null>();
    for (const folder of wanted) roots.set(folder, await rootOf(folder));
    for (const [folder, { watcher, root }] of this.#watched) {
      if (roots.get(folder) === root) continue;
      this.#watched.delete(folder);
      await watcher.close();
    }
    for (const [folder, root] of roots) {
      // It may be there later: a disk that is not mounted yet.
      if (root !== null && !this.#watched.has(folder) && !this.#over.signal.aborted) await this.#watch(folder, root);
    }
    const { onWatched, tellAfterMs = 3_000 } = this.#options;
    for (const [folder, watched] of this.#watched) {
      if (watched.isTold || watched.since === null || Date.now() - watched.since < tellAfterMs) continue;
      await onWatched?.(folder, watched.since);
      watched.isTold = true;
    }
  }

  async #watch(folder: string, root: string): Promise<void> {
    const { dataDir, logger, settledMs = 200 } = this.#options;
    const top = await realpath(folder).catch(() => folder);
    const ownFiles = await realpath(dataDir).catch(() => dataDir);
    const watcher = watch(top, {
      ignoreInitial: true,
      followSymlinks: false,
      ignored: (path) => path !== top && (basename(path).startsWith('.') || path === ownFiles),
      awaitWriteFinish: { stabilityThreshold: settledMs, pollInterval: Math.max(10, settledMs / 4) },
    });
    const note = (path: string): void => {
      const key = relative(top, path).split(sep).join('/');
      if (key !== '') this.#gather(folder, key);
    };
    watcher.on('add', note).on('change', note).on('unlink', note);
    watcher.on('error', (error) => {
      logger.warn(
        { err: error, folder },
        'a folder, or a part of it, cannot be watched: changes there wait for the next ingestion or audit',
      );
    });
    const { promise: ready, resolve } = Promise.withResolvers<void>();
    const watched: Watched = { watcher, root, since: null, isTold: false, ready };
    watcher.once('ready', () => {
      watched.since = Date.now();
      resolve();
    });
    this.#watched.set(folder, watched);
  }

  #gather(folder: string, key: string): void {
    const { maxGathered = 100_000, logger } = this.#options;
    const place = `${folder}\0${key}`;
    if (this.#gathered.size >= maxGathered && !this.#gathered.has(place)) {
      for (const other of this.#gathered.keys()) if (other.startsWith(`${folder}\0`)) this.#gathered.delete(other);
      const watched = this.#watched.get(folder);
      if (watched && watched.isTold) logger.warn({ folder }, 'too many changes wait: the folder is looked through instead');
      if (watched) Object.assign(watched, { isTold: false, since: Date.now() });
    }
    this.#gathered.set(place, { kind: 'object', bucket: folder, keys: [key], changedAt: null });
  }
}

/** Where a folder really lies and which it is; null while it is not there. */
async function rootOf(folder: string): Promise<string | null> {
  try {
    const path = await realpath(folder);
    const { dev, ino } = await stat(path, { bigint: true });
    return `${path} ${dev} ${ino}`;
  } catch {
    return null;
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}
