import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { TINY_PACK } from '@sightline/generate-worker/testing/tiny-pack';
import { DEFAULT_TENANT, newId } from '@sightline/shared/contracts/ids';
import { indexView, searchResponse } from '@sightline/shared/contracts/http';
import { readConfig } from '@sightline/shared/runtime/config';
import { ENGINE_SETTINGS, enginePlaces } from '@sightline/shared/runtime/engine-settings';
import { Closer } from '@sightline/shared/runtime/lifecycle';
import { openEngines } from '@sightline/shared/runtime/open-engines';
import { freePort } from '@sightline/shared/testing/free-port';
import { openRedisServer, redisMissing } from '@sightline/shared/testing/redis-server';
import { ApiClient } from '../../scripts/api-client.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SERVICES = ['query-api', 'ingest-worker', 'generate-worker', 'encode-worker'] as const;
const logger = pino({ level: 'silent' });

const cleanups: (() => unknown)[] = [];
const ended: string[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  expect(ended.splice(0)).toEqual([]);
});

const name = 'the four services work together as processes of their own on Redis, started in any order';
const withRedis = redisMissing ? test.skip : test;
withRedis(
  redisMissing ? `${name} (${redisMissing})` : name,
  async () => {
    const redis = await openRedisServer();
    cleanups.push(() => redis.close());
    const dataDir = mkdtempSync(join(tmpdir(), 'sightline-services-'));
    cleanups.push(() => rmSync(dataDir, { recursive: true, force: true }));
    const queuePrefix = newId();
    const ports = new Map<string, number>();
    for (const service of SERVICES) {
      ports.set(service, await freePort());
      start(service, {
        REDIS_URL: redis.url,
        QUEUE_PREFIX: queuePrefix,
        DATA_DIR: dataDir,
        PORT: String(ports.get(service)),
        HEALTH_PORT: String(ports.get(service)),
      });
    }
    for (const service of SERVICES) {
      await until(() =>
        fetch(`http://127.0.0.1:${ports.get(service)}/readyz`).then(
          ({ ok }) => ok,
          () => false,
        ),
      );
      expect((await fetch(`http://127.0.0.1:${ports.get(service)}/metrics`)).status).toBe(200);
    }

    // Directories are a source of the embedded stack alone; here the job is added as query-api adds it.
    const env = { DATA_DIR: dataDir, QUEUE_PREFIX: queuePrefix };
    const places = enginePlaces(readConfig(ENGINE_SETTINGS, env), redis.url);
    const closer = new Closer(logger);
    cleanups.push(() => closer.closeAll(5_000));
    const { ledger, queue } = await openEngines(
      { ...places, queue: { redisUrl: redis.url, prefix: queuePrefix } },
      { logger, registry: new Registry(), closer },
    );
    const ingestionId = newId();
    await ledger.createIngestion({
      ingestionId,
      tenant: DEFAULT_TENANT,
      source: { type: 'directory', path: pictures(60) },
      createdAt: Date.now(),
    });
    await queue.add('plan', { tenant: DEFAULT_TENANT, ingestionId, traceId: newId() }, { lane: 'event' });
    await until(async () => (await ledger.getIngestion(DEFAULT_TENANT, ingestionId))?.status === 'completed');

    const client = new ApiClient(`http://127.0.0.1:${ports.get('query-api')}`);
    expect(await client.get('/v1/index', indexView)).toMatchObject({ assets: 60 });
    const answer = await client.post('/v1/search', { query: 'a red apple' }, searchResponse);
    expect(answer.degraded).toBe(false);
    expect(answer.results).toHaveLength(5);
  },
  120_000,
);

function start(service: string, env: Record<string, string>): void {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', `services/${service}/src/main.ts`], {
    cwd: ROOT,
    env: { VLM_PACK: TINY_PACK, ...process.env, LOG_LEVEL: 'warn', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (output = (output + chunk).slice(-4_000)));
  const exited = once(child, 'exit');
  cleanups.push(async () => {
    child.kill('SIGTERM');
    await exited;
    if (child.exitCode !== 0) ended.push(`${service} ended with ${child.exitCode}: ${output}`);
  });
}

function pictures(count: number): string {
  const from = join(ROOT, 'sample', 'images', 'products');
  const dir = join(mkdtempSync(join(tmpdir(), 'sightline-pictures-')), 'pictures');
  cleanups.push(() => rmSync(join(dir, '..'), { recursive: true, force: true }));
  mkdirSync(dir);
  for (const name of readdirSync(from).toSorted().slice(0, count)) cpSync(join(from, name), join(dir, name));
  return dir;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const endsAt = performance.now() + 60_000; !(await condition()); await sleep(100))
    if (performance.now() > endsAt) throw new Error('it did not happen');
}
