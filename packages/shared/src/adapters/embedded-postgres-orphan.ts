import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { SightlineError } from '../runtime/errors.ts';

/** How long each signal is given: a fast shutdown, an immediate one, the end. */
const SIGNALS = [
  { signal: 'SIGINT', waitMs: 10_000 },
  { signal: 'SIGQUIT', waitMs: 5_000 },
  { signal: 'SIGKILL', waitMs: 2_000 },
] as const;

/**
 * Stops the server that a killed predecessor left on the cluster in `data`. `postmaster.pid` names a process, but that number
 * may have gone to another program since: only a process that was started on this very cluster is signalled; with any
 * other alive under that number PostgreSQL would refuse to start for ever, so the file is removed.
 */
export async function stopOrphan(data: string, logger: Logger): Promise<void> {
  const pidFile = join(data, 'postmaster.pid');
  if (!existsSync(pidFile)) return;
  const pid = Number.parseInt(readFileSync(pidFile, 'utf8'), 10);
  if (!Number.isInteger(pid) || pid <= 1 || !isAlive(pid)) return;
  // A killed process that nobody has waited for is still listed, without arguments.
  const serves = () => isAlive(pid) && commandOf(pid).includes(` -D ${data} `);
  if (!serves()) {
    rmSync(pidFile, { force: true });
    return;
  }
  logger.info({ pid }, 'stopping the PostgreSQL that a killed predecessor left');
  for (const { signal, waitMs } of SIGNALS) {
    trySignal(pid, signal);
    for (const endsAt = performance.now() + waitMs; performance.now() < endsAt; await sleep(20)) {
      if (serves()) continue;
      if (isAlive(pid)) rmSync(pidFile, { force: true });
      return;
    }
  }
  throw new SightlineError('queue_unavailable', `An earlier PostgreSQL (pid ${pid}) does not stop.`);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It lives, but is not ours to signal.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

function trySignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone, or not ours: the wait that follows tells.
  }
}

/** The process's arguments. /proc where there is one: slim images have no ps. */
function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return spawnSync('ps', ['-ww', '-o', 'args=', '-p', String(pid)], { encoding: 'utf8' }).stdout ?? '';
  }
}
