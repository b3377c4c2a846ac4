import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isNativeError } from 'node:util/types';

export interface SmallDisk {
  path: string;
  /** Leaves so many bytes free. */
  fill(leaveBytes: number): void;
  /** Gives back what `fill` took. */
  free(): void;
  close(): void;
}

const BLOCK_BYTES = 4_096;

/** Whether a test can have a disk that it may fill; else the reason why not, for the name of the skipped test. */
export const smallDiskMissing: string | null = probe();

function probe(): string | null {
  if (process.platform !== 'linux') return 'no tmpfs on this system';
  try {
    openSmallDisk(1024 ** 2).close();
    return null;
  } catch {
    return 'a tmpfs cannot be mounted here';
  }
}

/** A file system of its own in memory, as large as said. */
export function openSmallDisk(sizeBytes: number): SmallDisk {
  const path = mkdtempSync(join(tmpdir(), 'sightline-disk-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes},mode=777`, 'tmpfs', path], { encoding: 'utf8' });
  if (mounted.status !== 0) {
    rmSync(path, { recursive: true });
    throw new Error(`mount: ${mounted.error?.message ?? mounted.stderr}`);
  }
  const ballast = join(path, 'ballast');
  return {
    path,
    fill: (leaveBytes) => {
      const { bavail, bsize } = statfsSync(path);
      const block = Buffer.alloc(BLOCK_BYTES);
      const file = openSync(ballast, 'a');
      try {
        for (let left = bavail * bsize - leaveBytes; left >= BLOCK_BYTES; left -= BLOCK_BYTES) writeSync(file, block);
      } catch (error) {
        // Others write as well, and were quicker.
        if (!(isNativeError(error) && 'code' in error && error.code === 'ENOSPC')) throw error;
      } finally {
        closeSync(file);
      }
    },
    free: () => rmSync(ballast, { force: true }),
    close: () => {
      // Lazily: a process that is just ending may still have a file open.
      const unmounted = spawnSync('umount', ['--lazy', path], { encoding: 'utf8' });
      if (unmounted.status !== 0) throw new Error(`umount: ${unmounted.stderr}`);
      rmSync(path, { recursive: true, force: true });
    },
  };
}
