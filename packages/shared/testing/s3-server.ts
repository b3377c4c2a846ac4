import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  ListObjectsV2Command,
  S3Client,
} from '@aws-sdk/client-s3';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { S3Place } from '../src/adapters/s3-object-store-client.ts';
import { freePort } from './free-port.ts';
import { findVersitygw } from './s3-server-install.ts';

const KEY = { accessKeyId: 'sightline-tests', secretAccessKey: 'sightline-tests-secret' };
const REGION = 'us-east-1';
const IMAGE = 'versity/versitygw:v1.8.0';
const START_TIMEOUT_MS = 20_000;

export interface S3Server {
  endpoint: string;
  /** What a process needs to find this server: S3_ENDPOINT and AWS_*. */
  env: Record<string, string>;
  /** A place with a system bucket of its own, which opening the store makes. */
  newPlace(): S3Place;
  /** An empty bucket. */
  newBucket(): Promise<string>;
  /** Null for a server whose process is not ours. */
  stop: (() => Promise<void>) | null;
  kill: (() => Promise<void>) | null;
  start: (() => Promise<void>) | null;
  close(): Promise<void>;
}

export interface S3ServerOptions {
  /** Sends the buckets' events to this topic, which must exist. Only for a gateway of the test's own. */
  events?: { kafkaUrl: string; topic: string };
}

const binary = process.env['S3_ENDPOINT'] ? null : findVersitygw();

/** Whether a test can have a real S3 here; else the reason why not, for the name of the skipped test. */
export const s3Missing: string | null =
  process.env['S3_ENDPOINT'] || binary || spawnSync('docker', ['info'], { stdio: 'ignore', timeout: 10_000 }).status === 0
    ? null
    : 'no S3_ENDPOINT, no versitygw and no Docker';

/** Whether a test can have one that it starts, stops and kills itself. */
export const ownS3Missing: string | null = binary ? null : 'no versitygw that the test may end';

/** The S3 that S3_ENDPOINT names; else a gateway of the test's own over a temporary folder, as a process or in a container. */
export async function openS3Server(options: S3ServerOptions = {}): Promise<S3Server> {
  const named = process.env['S3_ENDPOINT'];
  if (named) {
    const credentials = {
      accessKeyId: process.env['AWS_ACCESS_KEY_ID'] ?? '',
      secretAccessKey: process.env['AWS_SECRET_ACCESS_KEY'] ?? '',
    };
    return serverAt(named, credentials, { close: async () => undefined, isOurs: false });
  }
  return binary ? openProcess(binary, options) : openContainer();
}

async function openProcess(path: string, { events }: S3ServerOptions): Promise<S3Server> {
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const dir = mkdtempSync(join(tmpdir(), 'sightline-s3-'));
  mkdirSync(join(dir, 'buckets'));
  let child: ChildProcess | null = null;
  const start = async () => {
    const gateway = ['--port', `127.0.0.1:${port}`, '--access', KEY.accessKeyId, '--secret', KEY.secretAccessKey];
    gateway.push('--region', REGION, '--keep-alive', '--quiet', '--health', '/health');
    if (events) gateway.push('--event-kafka-url', events.kafkaUrl, '--event-kafka-topic', events.topic);
    child = spawn(path, [...gateway, 'posix', join(dir, 'buckets')], { stdio: 'ignore' });
    await untilHealthy(endpoint, child);
  };
  const end = async (signal: NodeJS.Signals) => {
    const running = child;
    child = null;
    if (!running || running.exitCode !== null || running.signalCode !== null) return;
    const exited = new Promise((resolve) => running.once('exit', resolve));
    running.kill(signal);
    const giveUp = new AbortController();
    const late = sleep(5_000, undefined, { signal: giveUp.signal }).then(
      () => running.kill('SIGKILL'),
      () => undefined,
    );
    await exited;
    giveUp.abort();
    await late;
  };
  await start();
  const server = serverAt(endpoint, KEY, {
    isOurs: true,
    close: async () => {
      await end('SIGTERM');
      rmSync(dir, { recursive: true, force: true });
    },
  });
  return { ...server, start, stop: () => end('SIGTERM'), kill: () => end('SIGKILL') };
}

async function openContainer(): Promise<S3Server> {
  const { GenericContainer, Wait } = await import('testcontainers');
  const container = await new GenericContainer(IMAGE)
    .withExposedPorts(7070)
    .withEnvironment({ ROOT_ACCESS_KEY: KEY.accessKeyId, ROOT_SECRET_KEY: KEY.secretAccessKey })
    .withTmpFs({ '/buckets': 'rw' })
    .withCommand(['--port', ':7070', '--keep-alive', '--health', '/health', 'posix', '/buckets'])
    .withWaitStrategy(Wait.forHttp('/health', 7070))
    .start();
  const endpoint = `http://${container.getHost()}:${container.getMappedPort(7070)}`;
  return serverAt(endpoint, KEY, { isOurs: true, close: async () => void (await container.stop()) });
}

async function untilHealthy(endpoint: string, child: ChildProcess): Promise<void> {
  for (const startedAt = performance.now(); ; await sleep(25)) {
    const answer = await fetch(`${endpoint}/health`).catch(() => null);
    await answer?.body?.cancel();
    if (answer?.ok) return;
    if (child.exitCode !== null) throw new Error(`versitygw ended with ${child.exitCode}`);
    if (performance.now() - startedAt > START_TIMEOUT_MS) throw new Error('versitygw does not answer');
  }
}

function serverAt(
  endpoint: string,
  credentials: { accessKeyId: string; secretAccessKey: string },
  { isOurs, close }: { isOurs: boolean; close: () => Promise<void> },
): S3Server {
  const region = process.env['AWS_REGION'] ?? REGION;
  const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
  const made = new Set<string>();
  const nameOf = (kind: string): string => {
    const name = `sightline-${kind}-${randomUUID()}`;
    made.add(name);
    return name;
  };
  return {
    endpoint,
    env: {
      S3_ENDPOINT: endpoint,
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    },
    newPlace: () => ({ endpoint, region, forcePathStyle: true, credentials, systemBucket: nameOf('system'), maxAttempts: 5 }),
    newBucket: async () => {
      const name = nameOf('test');
      await client.send(new CreateBucketCommand({ Bucket: name }));
      return name;
    },
    stop: null,
    kill: null,
    start: null,
    close: async () => {
      // A server of the test's own takes its buckets with it.
      if (!isOurs) for (const bucket of made) await removeBucket(client, bucket);
      client.destroy();
      await close();
    },
  };
}

async function removeBucket(client: S3Client, bucket: string): Promise<void> {
  try {
    for (;;) {
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }));
      if (Contents.length === 0) break;
      for (const { Key } of Contents) await client.send(new DeleteObjectCommand({ Bucket: bucket, Key }));
    }
    await client.send(new DeleteBucketCommand({ Bucket: bucket }));
  } catch (error) {
    if (!(error instanceof Error && error.name === 'NoSuchBucket')) throw error;
  }
}
