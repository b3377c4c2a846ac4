import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { freePort } from './free-port.ts';

export interface RedisServer {
  url: string;
  /** SIGTERM, SIGKILL, and the same server with its data again. Null for a server that is not ours. */
  stop: (() => Promise<void>) | null;
  kill: (() => Promise<void>) | null;
  start: (() => Promise<void>) | null;
  close(): Promise<void>;
}

/** Whether a test can have a real Redis here; else the reason why not, for the name of the skipped test. */
export const redisMissing: string | null =
  process.env['REDIS_URL'] || spawnSync('redis-server', ['--version']).status === 0
    ? null
    : 'no redis-server on the PATH and no REDIS_URL';

/** Whether a test can have a Redis that it starts with settings of its own, stops and kills. */
export const ownRedisMissing: string | null =
  spawnSync('redis-server', ['--version']).status === 0 ? null : 'no redis-server on the PATH';

/**
 * A Redis of the test's own on a free port, with further `settings` of its command line; where there is no binary, the one that
 * REDIS_URL names.
 */
export async function openRedisServer(
  options: { appendFsync?: 'always' | 'everysec'; settings?: string[] } = {},
): Promise<RedisServer> {
  if (ownRedisMissing)
    return { url: process.env['REDIS_URL'] ?? '', stop: null, kill: null, start: null, close: async () => undefined };
  const port = await freePort();
  const dir = mkdtempSync(join(tmpdir(), 'sightline-redis-'));
  const url = `redis://127.0.0.1:${port}`;
  let child: ChildProcess | null = null;
  const start = async () => {
    child = spawn(
      'redis-server',
      [
        `--port ${port} --bind 127.0.0.1 --appendonly yes --appendfsync ${options.appendFsync ?? 'everysec'}`.split(' '),
        ['--dir', dir, '--save', ''],
        options.settings ?? [],
      ].flat(),
      { stdio: 'ignore' },
    );
    const client = new Redis(url, { lazyConnect: true, retryStrategy: () => 50, maxRetriesPerRequest: null });
    client.on('error', () => undefined);
    await client.ping();
    client.disconnect();
  };
  const end = async (signal: 'SIGTERM' | 'SIGKILL') => {
    const running = child;
    child = null;
    if (!running || running.exitCode !== null) return;
    const exited = new Promise((resolve) => running.once('exit', resolve));
    running.kill(signal);
    await Promise.race([exited, sleep(5_000, undefined, { ref: false }).then(() => running.kill('SIGKILL'))]);
  };
  await start();
  return {
    url,
    start,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    close: async () => {
      await end('SIGTERM');
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
