import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { TINY_PACK } from '@sightline/generate-worker/testing/tiny-pack';
import { freePort } from '@sightline/shared/testing/free-port';

const main = fileURLToPath(new URL('../../services/embedded/src/main.ts', import.meta.url));

export interface Stack {
  url: string;
  pid: number;
  /** SIGTERM, then waits for the exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL to the stack's own process: what a power cut leaves of it. */
  kill(): Promise<void>;
}

/** The embedded stack as a process of its own, ready to search; throws with its last output when it does not come up. */
export async function startStack(options: { dataDir: string; env?: Record<string, string>; timeoutMs?: number }): Promise<Stack> {
  const port = await freePort();
  const child = spawn(process.execPath, [main], {
    env: {
      VLM_PACK: TINY_PACK,
      ...process.env,
      NODE_OPTIONS: '',
      DATA_DIR: options.dataDir,
      PORT: String(port),
      LOG_LEVEL: 'warn',
      ...options.env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (output = (output + chunk).slice(-8_000)));
  const exited = once(child, 'exit');
  const url = `http://127.0.0.1:${port}`;
  const endsAt = Date.now() + (options.timeoutMs ?? 90_000);
  while (!(await isReady(url))) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`the stack ended while starting:\n${output}`);
    if (Date.now() > endsAt) {
      await end(child, 'SIGKILL', exited);
      throw new Error(`the stack was not ready in time:\n${output}`);
    }
    await sleep(200);
  }
  return {
    url,
    pid: child.pid!,
    stop: async () => (await end(child, 'SIGTERM', exited), child.exitCode),
    kill: () => end(child, 'SIGKILL', exited),
  };
}

async function end(child: ChildProcess, signal: NodeJS.Signals, exited: Promise<unknown>): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) child.kill(signal);
  await exited;
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(10_000) })).ok;
  } catch {
    return false;
  }
}

const progress = z.looseObject({
  ingestion_id: z.string(),
  status: z.string(),
  counts: z.object({ listed: z.number(), indexed: z.number(), unchanged: z.number(), duplicate: z.number(), failed: z.number() }),
});
export type Progress = z.infer<typeof progress>;

/** Starts an ingestion and answers its id. */
export async function ingest(url: string, source: object): Promise<string> {
  const response = await fetch(`${url}/v1/ingestions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ source }),
  });
  if (response.status !== 202) throw new Error(`POST /v1/ingestions: ${response.status} ${await response.text()}`);
  return z.looseObject({ ingestion_id: z.string() }).parse(await response.json()).ingestion_id;
}

export async function progressOf(url: string, ingestionId: string): Promise<Progress> {
  return progress.parse(await (await fetch(`${url}/v1/ingestions/${ingestionId}`)).json());
}

/** Waits until the ingestion has ended, whatever its end. */
export async function waitForEnd(url: string, ingestionId: string, timeoutMs = 300_000): Promise<Progress> {
  const endsAt = Date.now() + timeoutMs;
  for (;;) {
    const state = await progressOf(url, ingestionId);
    if (['completed', 'failed', 'cancelled'].includes(state.status)) return state;
    if (Date.now() > endsAt) throw new Error(`the ingestion did not end in time: ${JSON.stringify(state)}`);
    await sleep(100);
  }
}
