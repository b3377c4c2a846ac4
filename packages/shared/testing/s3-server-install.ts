import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The version that the tests were seen to pass with. */
const VERSITYGW = 'github.com/versity/versitygw/cmd/versitygw@v1.8.0';
const CACHE = fileURLToPath(new URL('../../../node_modules/.cache/versitygw', import.meta.url));
const INSTALL_TIMEOUT_MS = 15 * 60_000;

/** The gateway's binary: on the PATH, where Go puts it, or where `installVersitygw` did; null when there is none. */
export function findVersitygw(): string | null {
  const goPath = spawnSync('go', ['env', 'GOPATH'], { encoding: 'utf8' }).stdout?.trim();
  const places = ['versitygw', join(CACHE, 'versitygw'), ...(goPath ? [join(goPath, 'bin', 'versitygw')] : [])];
  return places.find((place) => spawnSync(place, ['--version'], { stdio: 'ignore' }).status === 0) ?? null;
}

/**
 * Builds the gateway into a cache below node_modules where Go is there and no gateway is; minutes the first time. Answers its
 * path, or why there is none.
 */
export function installVersitygw(): { path: string } | { missing: string } {
  const found = findVersitygw();
  if (found) return { path: found };
  if (spawnSync('go', ['version'], { stdio: 'ignore' }).status !== 0) return { missing: 'no versitygw and no Go to build it' };
  mkdirSync(CACHE, { recursive: true });
  const built = spawnSync('go', ['install', VERSITYGW], {
    // oxlint-disable-next-line node/no-process-env -- the tool needs its own environment, with one more variable
    env: { ...process.env, GOBIN: CACHE },
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    timeout: INSTALL_TIMEOUT_MS,
  });
  const path = join(CACHE, 'versitygw');
  if (built.status === 0 && existsSync(path)) return { path };
  return { missing: `go install ${VERSITYGW} failed: ${(built.stderr ?? '').trim().split('\n').at(-1) ?? 'no reason given'}` };
}
