import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.ts';

export interface QdrantServer {
  url: string;
  apiKey: string | undefined;
  /** Null for a server that is not ours. What it holds outlasts `stop` (SIGTERM) and `kill` (SIGKILL). */
  start: (() => Promise<void>) | null;
  stop: (() => Promise<void>) | null;
  kill: (() => Promise<void>) | null;
  close(): Promise<void>;
}

const IMAGE = 'qdrant/qdrant:v1.18.3';
const UP_WITHIN_MS = 60_000;

function answers(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { timeout: 10_000, stdio: 'ignore' }).status === 0;
}

const given = process.env['QDRANT_URL'];
const binary = process.env['QDRANT_BINARY'] || 'qdrant';
const source = given ? 'url' : answers(binary, '--version') ? 'binary' : answers('docker', 'info') ? 'docker' : null;

/** Whether a test can have a real Qdrant here; else the reason why not, for the name of the skipped test. */
export const qdrantMissing: string | null =
  source === null ? 'no QDRANT_URL, no qdrant on the PATH (or QDRANT_BINARY) and no Docker' : null;

/** Whether a test can have one that it starts, stops and kills itself. */
export const ownQdrantMissing: string | null =
  source === 'binary' ? null : 'no qdrant on the PATH (or QDRANT_BINARY) that the test may end';

/** The Qdrant that QDRANT_URL names; else one of the test's own on a free port, from a binary or an image. */
export async function openQdrantServer(): Promise<QdrantServer> {
  if (source === 'docker') return inDocker();
  if (source === 'binary') return ownServer();
  const others = { start: null, stop: null, kill: null, close: async () => undefined };
  return { url: given ?? '', apiKey: process.env['QDRANT_API_KEY'] || undefined, ...others };
}

async function ownServer(): Promise<QdrantServer> {
  const [port, grpcPort] = [await freePort(), await freePort()];
  const dir = mkdtempSync(join(tmpdir(), 'sightline-qdrant-'));
  const url = `http://127.0.0.1:${port}`;
  let child: ChildProcess | null = null;
  const start = async () => {
    const started = spawn(binary, ['--disable-telemetry'], {
      cwd: dir,
      stdio: 'ignore',
      env: {
        ...process.env,
        QDRANT__SERVICE__HOST: '127.0.0.1',
        QDRANT__SERVICE__HTTP_PORT: String(port),
        QDRANT__SERVICE__GRPC_PORT: String(grpcPort),
        QDRANT__STORAGE__STORAGE_PATH: join(dir, 'storage'),
        QDRANT__STORAGE__SNAPSHOTS_PATH: join(dir, 'snapshots'),
        QDRANT__TELEMETRY_DISABLED: 'true',
        QDRANT__LOG_LEVEL: 'WARN',
      },
    });
    child = started;
    await Promise.race([untilReady(url), once(started, 'exit').then(() => Promise.reject(new Error('qdrant ended at once')))]);
  };
  const end = async (signal: 'SIGTERM' | 'SIGKILL') => {
    const running = child;
    child = null;
    if (!running || running.exitCode !== null || running.signalCode !== null) return;
    const exited = once(running, 'exit');
    running.kill(signal);
    const late = setTimeout(() => running.kill('SIGKILL'), 15_000);
    await exited;
    clearTimeout(late);
  };
  await start();
  return {
    url,
    apiKey: undefined,
    start,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    close: async () => {
      await end('SIGKILL');
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function untilReady(url: string): Promise<void> {
  for (const startedAt = performance.now(); ; await sleep(50)) {
    try {
      if ((await fetch(`${url}/readyz`)).ok) return;
    } catch (error) {
      if (performance.now() - startedAt > UP_WITHIN_MS) throw error;
    }
  }
}

/** A restart of a container moves its port, so faults are for servers from a binary. */
async function inDocker(): Promise<QdrantServer> {
  const { GenericContainer, Wait } = await import('testcontainers');
  const container = await new GenericContainer(IMAGE)
    .withExposedPorts(6333)
    .withEnvironment({ QDRANT__TELEMETRY_DISABLED: 'true' })
    .withWaitStrategy(Wait.forHttp('/readyz', 6333))
    .start();
  const url = `http://${container.getHost()}:${container.getMappedPort(6333)}`;
  return {
    url,
    apiKey: undefined,
    start: null,
    stop: null,
    kill: null,
    close: async () => {
      await container.stop();
    },
  };
}
