import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import {
  chownSync,
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from 'pino';
import { SightlineError } from '../runtime/errors.ts';
import type { Place } from './embedded-postgres-place.ts';

export const POSTGRES_USER = 'sightline';
const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;

/**
 * Small and quiet: a queue's few tables. A commit does not wait for the disk (`synchronous_commit`): the queue is a means,
 * what is owed stands in the ledger, and a power cut costs at most the last moments of the queue, never its consistency.
 */
const SETTINGS = {
  listen_addresses: '',
  max_connections: '60',
  shared_buffers: '32MB',
  synchronous_commit: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '256MB',
  max_worker_processes: '2',
  max_parallel_workers: '0',
  io_method: 'sync',
  huge_pages: 'off',
  jit: 'off',
  autovacuum_max_workers: '1',
  log_checkpoints: 'off',
};

/** Nothing of ours: no secret of the environment reaches the server. */
const ENVIRONMENT = { LC_ALL: 'C', TZ: 'UTC' };

/**
 * The server runs under a shell that waits for the end of its standard input and then asks it to stop: when this process dies,
 * however it dies, the pipe closes. The server is in a session of its own, so that Ctrl-C reaches only us.
 */
const SUPERVISOR = `
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
( while read -r _; do :; done <&3; kill -INT "$server" ) 2>/dev/null &
watch=$!
exec 3<&-
wait "$server"; code=$?
kill "$watch" 2>/dev/null
exit "$code"`;

/** Into a directory of its own and then renamed, so that a kill in the middle leaves nothing half made. */
export function initialisePostgres(native: string, place: Place): void {
  const fresh = `${place.data}.new`;
  rmSync(fresh, { recursive: true, force: true });
  const passwordFile = join(place.base, 'password');
  writeFileSync(passwordFile, `${place.password}\n`, { mode: 0o600 });
  if (place.user) chownSync(passwordFile, place.user.uid, place.user.gid);
  const { status, stderr } = spawnSync(
    join(native, 'bin', 'initdb'),
    [
      `--pgdata=${fresh}`,
      `--username=${POSTGRES_USER}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C',
      '--no-instructions',
    ],
    { ...place.user, cwd: place.base, env: ENVIRONMENT, encoding: 'utf8' },
  );
  rmSync(passwordFile, { force: true });
  if (status !== 0) throw new SightlineError('queue_unavailable', `initdb failed: ${stderr.trim().slice(-500)}`);
  renameSync(fresh, place.data);
  // Nobody waits for the disk: what a power cut in this half minute could cost is a queue in which nothing stands yet.
  spawn(join(native, 'bin', 'initdb'), ['--sync-only', `--pgdata=${place.data}`], {
    ...place.user,
    cwd: '/',
    env: ENVIRONMENT,
    stdio: 'ignore',
  })
    .on('error', () => undefined)
    .unref();
}

/** The server's process: started, watched, restarted when it dies, stopped. */
export class PostgresServer {
  readonly #native: string;
  readonly #place: Place;
  readonly #socketDir: string;
  readonly #logger: Logger;
  readonly #logFile: string;
  #child: ChildProcess | null = null;
  #stopping = false;
  #starting = false;
  #restarts = 0;

  constructor(native: string, place: Place, socketDir: string, logger: Logger) {
    this.#native = native;
    this.#place = place;
    this.#socketDir = socketDir;
    this.#logger = logger;
    this.#logFile = join(place.base, 'postgres.log');
  }

  async start(): Promise<void> {
    if (existsSync(this.#logFile) && statSync(this.#logFile).size > 1_000_000) truncateSync(this.#logFile);
    // Backends of a killed server may live on for a moment and hold its shared memory: then a later try succeeds.
    for (let attempt = 1; ; attempt += 1) {
      if ((await this.#startOnce()) || this.#stopping) return;
      if (attempt === 3)
        throw new SightlineError('queue_unavailable', `The embedded PostgreSQL does not start: ${this.#lastLog()}`);
      await sleep(1_000);
    }
  }

  async #startOnce(): Promise<boolean> {
    const log = openSync(this.#logFile, 'a');
    const settings = Object.entries({ ...SETTINGS, unix_socket_directories: this.#socketDir }).flatMap(([name, value]) => [
      '-c',
      `${name}=${value}`,
    ]);
    const child = spawn(
      '/bin/sh',
      ['-c', SUPERVISOR, 'sh', join(this.#native, 'bin', 'postgres'), '-D', this.#place.data, ...settings],
      {
        ...this.#place.user,
        cwd: this.#place.base,
        env: ENVIRONMENT,
        detached: true,
        stdio: ['pipe', log, log],
      },
    );
    closeSync(log);
    child.stdin?.on('error', () => undefined);
    this.#child = child;
    this.#starting = true;
    let exited = false;
    child.once('error', (error) => this.#logger.error({ err: error }, 'embedded PostgreSQL'));
    child.once('close', () => {
      exited = true;
      child.stdin?.destroy();
      this.#onExit(child);
    });
    const goesOn = () => !exited && !this.#stopping;
    for (const endsAt = performance.now() + START_TIMEOUT_MS; goesOn() && performance.now() < endsAt; await sleep(20)) {
      if (!(await this.#answers())) continue;
      this.#starting = false;
      return true;
    }
    child.stdin?.end();
    return false;
  }

  async #answers(): Promise<boolean> {
    const client = new pg.Client({
      host: this.#socketDir,
      user: POSTGRES_USER,
      password: this.#place.password,
      database: 'postgres',
      connectionTimeoutMillis: 2_000,
    });
    // A connection that the server cuts would otherwise be an uncaught error.
    client.on('error', () => undefined);
    try {
      await client.connect();
      return true;
    } catch {
      return false;
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  #onExit(child: ChildProcess): void {
    if (this.#stopping || this.#starting || this.#child !== child) return;
    this.#child = null;
    this.#restarts += 1;
    this.#logger.error({ restarts: this.#restarts, log: this.#lastLog() }, 'the embedded PostgreSQL died, starting it again');
    void this.#restart();
  }

  async #restart(): Promise<void> {
    await sleep(Math.min(30_000, 250 * 2 ** this.#restarts));
    if (this.#stopping) return;
    try {
      await this.start();
    } catch (error) {
      this.#logger.fatal({ err: error }, 'the embedded PostgreSQL is gone');
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    this.#child = null;
    if (child && child.exitCode === null && child.signalCode === null) {
      const closed = new Promise<void>((resolve) => void child.once('close', () => resolve()));
      child.stdin?.end();
      const timer = setTimeout(() => {
        this.#logger.warn('the embedded PostgreSQL does not stop, killing it');
        // The supervisor's process group; the server's children end with it.
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGQUIT');
      }, STOP_TIMEOUT_MS);
      await closed;
      clearTimeout(timer);
    }
    if (!this.#socketDir.startsWith(this.#place.base)) rmSync(this.#socketDir, { recursive: true, force: true });
  }

  #lastLog(): string {
    try {
      return readFileSync(this.#logFile, 'utf8').trim().split('\n').slice(-5).join(' | ');
    } catch {
      return '';
    }
  }
}
