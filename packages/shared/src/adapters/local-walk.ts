import { constants } from 'node:fs';
import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, isWithin, storeError } from './local-path.ts';

/** Why something in a folder is not listed. */
export type SkipReason =
  | 'name_not_utf8'
  | 'not_a_file'
  | 'link_outside'
  | 'link_to_folder'
  | 'link_to_data'
  | 'unreadable_folder'
  | 'unreadable_file'
  | 'key_too_long';

interface Entry {
  name: string;
  isFolder: boolean;
  isLink: boolean;
}

export interface Walk {
  /** With links resolved. */
  root: string;
  /** Only keys that begin so. */
  prefix: string;
  /** Only keys after this one, in byte order. */
  startAfter?: string;
  /** A folder that is left out, by its real path, also where a link leads into it. */
  leaveOut: string;
  signal?: AbortSignal;
  onSkip: (key: string, reason: SkipReason) => void;
}

/**
 * Keys of the regular files under a folder in ascending byte order of the whole key. Holds the names of the folders on the
 * way down, no more: memory grows with the largest folder, not with the tree.
 *
 * Order: siblings are compared with a slash behind folders, because a key's bytes go on with one there; `a-b/x` comes before
 * `a/x` although the folder `a` comes before `a-b`.
 */
export async function* walkFiles(walk: Walk): AsyncGenerator<string> {
  yield* walkFolder(walk, '');
}

async function* walkFolder(walk: Walk, parent: string): AsyncGenerator<string> {
  for (const entry of await readFolder(walk, parent)) {
    walk.signal?.throwIfAborted();
    const key = parent + entry.name;
    if (entry.isFolder) {
      const inside = `${key}/`;
      if (canHold(inside, walk) && (await realpathOrNull(join(walk.root, key))) !== walk.leaveOut)
        yield* walkFolder(walk, inside);
    } else if (key.startsWith(walk.prefix) && isAfter(key, walk.startAfter) && (!entry.isLink || (await linkIsFine(walk, key)))) {
      yield key;
    }
  }
}

async function readFolder(walk: Walk, parent: string): Promise<Entry[]> {
  const entries: { entry: Entry; order: Buffer }[] = [];
  try {
    for (const found of await readdir(join(walk.root, parent), { withFileTypes: true, encoding: 'buffer' })) {
      const name = found.name.toString('utf8');
      if (name.startsWith('.')) continue;
      if (!Buffer.from(name, 'utf8').equals(found.name)) {
        walk.onSkip(parent + name, 'name_not_utf8');
      } else if (found.isDirectory()) {
        entries.push({ entry: { name, isFolder: true, isLink: false }, order: Buffer.from(`${name}/`) });
      } else if (found.isFile() || found.isSymbolicLink()) {
        entries.push({ entry: { name, isFolder: false, isLink: found.isSymbolicLink() }, order: found.name });
      } else if (found.isFIFO() || found.isSocket() || found.isBlockDevice() || found.isCharacterDevice()) {
        walk.onSkip(parent + name, 'not_a_file');
      } else {
        // Some network file systems do not say the kind in the listing.
        const status = await lstat(join(walk.root, parent, name));
        const isFolder = status.isDirectory();
        entries.push({
          entry: { name, isFolder, isLink: status.isSymbolicLink() },
          order: Buffer.from(isFolder ? `${name}/` : name),
        });
      }
    }
  } catch (error) {
    // A folder that went away meanwhile holds nothing; one that may not be read must not end the whole listing.
    if (parent !== '' && errnoOf(error) === 'ENOENT') return [];
    // Paths beyond the system's limit: their keys would be longer than a key can be, too.
    if (parent !== '' && errnoOf(error) === 'ENAMETOOLONG') {
      walk.onSkip(parent, 'key_too_long');
      return [];
    }
    if (parent !== '' && (errnoOf(error) === 'EACCES' || errnoOf(error) === 'EPERM')) {
      walk.onSkip(parent, 'unreadable_folder');
      return [];
    }
    throw storeError(error);
  }
  return entries.sort((a, b) => Buffer.compare(a.order, b.order)).map(({ entry }) => entry);
}

/** False when no key under `folder` (with its slash) has the prefix or comes after `startAfter`. */
function canHold(folder: string, { prefix, startAfter }: Walk): boolean {
  if (!folder.startsWith(prefix) && !prefix.startsWith(folder)) return false;
  return startAfter === undefined || startAfter.startsWith(folder) || isAfter(folder, startAfter);
}

function isAfter(key: string, startAfter: string | undefined): boolean {
  return startAfter === undefined || Buffer.compare(Buffer.from(key), Buffer.from(startAfter)) > 0;
}

/** Links to files of the same source are followed; links out, to folders (rings!) or to nothing are not. */
async function linkIsFine(walk: Walk, key: string): Promise<boolean> {
  const target = await realpathOrNull(join(walk.root, key));
  if (target === null) return false;
  if (!isWithin(walk.root, target)) {
    walk.onSkip(key, 'link_outside');
    return false;
  }
  if (isWithin(walk.leaveOut, target) && !isWithin(walk.leaveOut, walk.root)) {
    walk.onSkip(key, 'link_to_data');
    return false;
  }
  const { mode } = await stat(target);
  const kind = mode & constants.S_IFMT;
  if (kind === constants.S_IFREG) return true;
  walk.onSkip(key, kind === constants.S_IFDIR ? 'link_to_folder' : 'not_a_file');
  return false;
}

async function realpathOrNull(path: string): Promise<string | null> {
  return realpath(path).catch(() => null);
}
