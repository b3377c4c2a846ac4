import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { z } from 'zod';
import { SightlineError } from '../runtime/errors.ts';
import { canWrite, choosePostgresUser, keyOf, sharedPlace } from './embedded-postgres-binaries.ts';
import type { PostgresUser } from './embedded-postgres-binaries.ts';
import { stopOrphan } from './embedded-postgres-orphan.ts';

/** Kept in the data directory, mode 600. `base` lies elsewhere where the server's user cannot enter the data directory. */
const state = z.object({ password: z.string(), base: z.string() });
type State = z.infer<typeof state>;

/** In a cluster of the shared place: the file of the data directory that it belongs to. */
const OWNER_FILE = 'owner';
/** `sun_path` holds 108 bytes on Linux and 104 on macOS, with the socket's own name and an ending zero. */
const SOCKET_DIR_MAX_BYTES = 85;

/** Where a cluster lies and who runs it. */
export interface Place {
  user: PostgresUser;
  base: string;
  data: string;
  password: string;
  /** What lies there is not known: a data directory was deleted and made anew. Its cluster held nothing but a queue. */
  isStranger: boolean;
}

/** The cluster's place for a data directory: inside it, or for root, where another user cannot get there, in the shared place. */
export function preparePlace(dataDir: string): Place {
  const file = join(dataDir, 'postgres.json');
  const known = readState(file);
  const inside = join(dataDir, 'postgres');
  const base = known?.base ?? inside;
  const user = choosePostgresUser(join(base, 'data'));
  mkdirSync(base, { recursive: true });
  if (user) chownSync(base, user.uid, user.gid);
  if (canWrite(base, user)) return finish(file, base, user, known);
  if (!user)
    throw new SightlineError('config_invalid', `${base} cannot be written; was Sightline run on this DATA_DIR as another user?`);
  rmSync(inside, { recursive: true, force: true });
  const outside = join(sharedPlace(), keyOf(dataDir));
  mkdirSync(outside, { recursive: true });
  chownSync(outside, user.uid, user.gid);
  const place = finish(file, outside, user, known?.base === outside ? known : null);
  writeFileSync(join(outside, OWNER_FILE), file);
  return place;
}

function finish(file: string, base: string, user: PostgresUser, known: State | null): Place {
  chmodSync(base, 0o755);
  const password = known?.password ?? randomBytes(24).toString('hex');
  writeFileSync(file, `${JSON.stringify({ password, base })}\n`, { mode: 0o600 });
  return { user, base, data: join(base, 'data'), password, isStranger: !known };
}

function readState(file: string): State | null {
  try {
    return state.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    return null;
  }
}

/**
 * Clusters in the shared place whose data directory was deleted: with their server stopped they are removed.
 * Elsewhere a cluster goes with its data directory.
 */
export async function removeAbandoned(shared: string, logger: Logger): Promise<void> {
  for (const name of readdirSync(shared)) {
    const base = join(shared, name);
    const owner = await readFile(join(base, OWNER_FILE), 'utf8').catch(() => null);
    if (owner === null || existsSync(owner)) continue;
    try {
      await stopOrphan(join(base, 'data'), logger);
      rmSync(base, { recursive: true, force: true });
    } catch (error) {
      logger.warn({ err: error, base }, 'an abandoned cluster stays');
    }
  }
}

/** Short enough for a socket's path, reachable for us and for the server's user. */
export function makeSocketDir(place: Place): string {
  const inside = join(place.base, 'run');
  const dir = Buffer.byteLength(inside) <= SOCKET_DIR_MAX_BYTES ? inside : mkdtempSync(join(tmpdir(), 'sightline-'));
  mkdirSync(dir, { recursive: true });
  chmodSync(dir, 0o755);
  if (place.user) chownSync(dir, place.user.uid, place.user.gid);
  return dir;
}
