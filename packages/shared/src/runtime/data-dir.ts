import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { SightlineError } from './errors.ts';

export interface DataDir {
  /** Absolute. */
  path: string;
  release(): void;
}

/** Else a connection that nobody refers to is collected, and its lock with it. */
const held = new Set<DatabaseSync>();

/**
 * Makes this process the one owner of a data directory until it releases it or dies. The lock is the kernel's (SQLite's
 * exclusive lock on `owner.db`), so a kill -9 frees it and a reused process id cannot hold it; `owner.json` only says who.
 * Errors: `data_dir_in_use`; `config_invalid` when it cannot be written.
 */
export function ownDataDir(path: string): DataDir {
  const absolute = resolve(path);
  const who = join(absolute, 'owner.json');
  let db: DatabaseSync;
  try {
    mkdirSync(absolute, { recursive: true });
    db = new DatabaseSync(join(absolute, 'owner.db'), { timeout: 0 });
  } catch (error) {
    throw new SightlineError('config_invalid', `DATA_DIR cannot be written: ${absolute}`, { cause: error });
  }
  try {
    db.exec('PRAGMA journal_mode = DELETE');
    db.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    db.close();
    throw new SightlineError('data_dir_in_use', `It is process ${ownerPid(who)}, on ${absolute}.`, { cause: error });
  }
  writeFileSync(who, `${JSON.stringify({ pid: process.pid, started_at: new Date().toISOString() })}\n`);
  held.add(db);
  let released = false;
  return {
    path: absolute,
    release: () => {
      if (released) return;
      released = true;
      rmSync(who, { force: true });
      held.delete(db);
      db.close();
    },
  };
}

/** As `ownDataDir`, but waits so long for an owner that is just leaving. */
export async function waitForDataDir(path: string, timeoutMs: number): Promise<DataDir> {
  for (const endsAt = performance.now() + timeoutMs; ; await sleep(200)) {
    try {
      return ownDataDir(path);
    } catch (error) {
      if (!(error instanceof SightlineError && error.code === 'data_dir_in_use') || performance.now() >= endsAt) throw error;
    }
  }
}

function ownerPid(who: string): string {
  try {
    const owner: unknown = JSON.parse(readFileSync(who, 'utf8'));
    return typeof owner === 'object' && owner !== null && 'pid' in owner ? String(owner.pid) : 'unknown';
  } catch {
    return 'unknown';
  }
}
