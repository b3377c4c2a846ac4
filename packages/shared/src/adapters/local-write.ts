import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, realpath, rename, rm, type FileHandle } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { SightlineError } from '../runtime/errors.ts';
import { errnoOf, isWithin } from './local-path.ts';

const OPEN_ATTEMPTS = 3;

/** Writes a file of `folder` whole or not at all: into a temporary one beside it, which then takes its name. */
export async function writeWhole(folder: string, path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  const temporary = `${dirname(path)}/.${basename(path).slice(0, 32)}.${randomUUID()}.tmp`;
  try {
    const file = await openTemporary(folder, temporary);
    try {
      await write(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function openTemporary(folder: string, temporary: string): Promise<FileHandle> {
  for (let attempt = 1; ; attempt++) {
    try {
      await mkdir(dirname(temporary), { recursive: true });
      // The parent may be a link: what is written must lie in the bucket.
      if (!isWithin(await realpath(folder), await realpath(dirname(temporary)))) throw new SightlineError('key_outside_source');
      return await open(temporary, 'wx', 0o644);
    } catch (error) {
      // A deletion may take the empty folder away between its making and the writing.
      if (errnoOf(error) !== 'ENOENT' || attempt === OPEN_ATTEMPTS) throw error;
    }
  }
}

/** A rename is durable once its folder is. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
