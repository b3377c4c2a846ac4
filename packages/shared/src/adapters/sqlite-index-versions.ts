import { existsSync } from 'node:fs';
import { open as openFile, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import type { IndexVersions } from '../ports/index-versions.ts';
import { SightlineError } from '../runtime/errors.ts';
import { openSqliteVectorIndex } from './sqlite-vector-index.ts';

const pointer = z.strictObject({ format: z.literal(1), serving: z.int().positive() });

/**
 * Versions as files beside each other: `index.db` is the first, `index-2.db` and so on follow. `index.version.json` says which one
 * serves; without it that is the first.
 */
export function sqliteIndexVersions({ file }: { file: string }): IndexVersions {
  const folder = dirname(file);
  const name = basename(file).replace(/\.[^.]*$/, '');
  const suffix = basename(file).slice(name.length);
  const pointerFile = join(folder, `${name}.version.json`);
  const fileOf = (version: number): string => (version === 1 ? file : join(folder, `${name}-${version}${suffix}`));

  const serving = async (): Promise<number | null> => {
    const text = await readFile(pointerFile, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw new SightlineError('index_unavailable', undefined, { cause: error });
    });
    if (text === null) return existsSync(file) ? 1 : null;
    const parsed = pointer.safeParse(parseJson(text));
    if (!parsed.success) throw new SightlineError('store_damaged', `${pointerFile} does not name a version of the index.`);
    return parsed.data.serving;
  };

  return {
    serving,
    numbers: async () => {
      const names = await readdir(folder).catch(() => []);
      const versions = names.flatMap((one) => {
        if (one === basename(file)) return 1;
        const middle =
          one.startsWith(`${name}-`) && one.endsWith(suffix) ? one.slice(name.length + 1, -suffix.length || undefined) : '';
        return /^[1-9]\d{0,8}$/.test(middle) && middle !== '1' ? Number(middle) : [];
      });
      return versions.toSorted((a, b) => a - b);
    },
    open: (version, spec) => openSqliteVectorIndex({ file: fileOf(version), ...(spec && { spec }) }),
    found: async (spec) => {
      if (existsSync(pointerFile)) return;
      // Also where the file is there: whoever made it may have died before it was of anything.
      const held = await openSqliteVectorIndex({ file }).catch(() => null);
      const index = held ?? (await openSqliteVectorIndex({ file, spec }));
      await index.close();
    },
    serve: async (version) => {
      if (!existsSync(fileOf(version)))
        throw new SightlineError('index_unavailable', `There is no version ${version} of the index.`);
      const written = `${pointerFile}.${process.pid}.tmp`;
      const handle = await openFile(written, 'w');
      try {
        await handle.writeFile(`${JSON.stringify({ format: 1, serving: version })}\n`);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(written, pointerFile);
      const directory = await openFile(folder, 'r');
      try {
        await directory.sync();
      } finally {
        await directory.close();
      }
    },
    drop: async (version) => {
      if ((await serving()) === version) throw new SightlineError('internal', `Version ${version} of the index serves.`);
      for (const tail of ['', '-wal', '-shm']) await rm(`${fileOf(version)}${tail}`, { force: true });
    },
    close: async () => {},
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
