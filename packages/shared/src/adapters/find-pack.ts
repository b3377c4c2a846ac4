import { realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { SightlineError } from '../runtime/errors.ts';

/** Published names have a slash; on disk it becomes two dashes, which no hub name may contain. */
export const packDirectoryName = (name: string) => name.replaceAll('/', '--');

/**
 * The directory of a pack, an encoder's or a language model's, named or pathed by a person. Names are looked for in `places` in order; `org/name` lies in
 * `org--name`. Errors: `pack_not_found`.
 */
export async function findPack(nameOrPath: string, places: string[]): Promise<string> {
  const candidates = /^[A-Za-z0-9][A-Za-z0-9._-]*(\/[A-Za-z0-9][A-Za-z0-9._-]*)?$/.test(nameOrPath)
    ? places.map((place) => path.join(place, packDirectoryName(nameOrPath)))
    : [];
  candidates.push(path.resolve(nameOrPath));
  for (const candidate of candidates) {
    if (await stat(path.join(candidate, 'config.json')).catch(() => null)) return realpath(candidate);
  }
  throw new SightlineError('pack_not_found', `${nameOrPath}: looked in ${candidates.join(', ')}.`);
}
