/**
 * `npm run bench:plan [-- --objects 1000000] [--from listing|manifest] [--high-water 256] [--chunk 64]`: plans so many objects from an
 * S3 listing or a manifest with the real ingest worker, queue and ledger on a Redis of its own, and prints Redis' memory against the
 * objects planned, the rate, and this process's memory. No picture is fetched or encoded: a drain stands in for the encode workers,
 * and the listing is served by a stub. It drains only what lies above three quarters of the mark, so that the backlog stays as high
 * as it gets behind slow workers.
 */
import { once } from 'node:events';
import { createWriteStream, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { HashEncoder } from '@sightline/encode-worker/testing/hash-encoder';
import { startIngestWorker } from '@sightline/ingest-worker/service';
import { openQueueEngine } from '@sightline/shared/adapters/bullmq-queue-engine';
import { InProcessEventLog } from '@sightline/shared/adapters/in-process-event-log';
import { LocalObjectStore } from '@sightline/shared/adapters/local-object-store';
import { RedisLedger } from '@sightline/shared/adapters/redis-ledger';
import { openS3ObjectStore } from '@sightline/shared/adapters/s3-object-store';
import { openSqliteVectorIndex } from '@sightline/shared/adapters/sqlite-vector-index';
import { newId } from '@sightline/shared/contracts/ids';
import type { Source } from '@sightline/shared/contracts/records';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import { Closer } from '@sightline/shared/runtime/lifecycle';
import { openRedisServer, redisMissing } from '@sightline/shared/testing/redis-server';
import { flatKeys } from '@sightline/shared/testing/stub-s3-keys';
import { openStubS3 } from '@sightline/shared/testing/stub-s3-listing';

const { values: options } = parseArgs({
  options: {
    objects: { type: 'string', default: '1000000' },
    from: { type: 'string', default: 'listing' },
    'high-water': { type: 'string', default: '256' },
    chunk: { type: 'string', default: '64' },
  },
});
const objects = Number(options.objects);
const highWaterChunks = Number(options['high-water']);
const chunkObjects = Number(options.chunk);
const TENANT = 'bench';
const LOOK_EVERY_MS = 100;
/** The drain leaves so much of the high-water mark in the queue. */
const KEPT_SHARE = 0.75;
const LINES = 20;
const MB = 1e6;

/** An S3 listing of that many objects, served by a stub. */
async function stubListing(closer: Closer): Promise<{ store: ObjectStore; source: Source }> {
  const stub = await openStubS3({ keys: flatKeys(objects) });
  closer.push('stub', () => stub.close());
  const store = await openS3ObjectStore(stub.place, {
    sleep: (ms, signal) => sleep(ms, undefined, { ...(signal && { signal }) }),
    random: Math.random,
    now: Date.now,
    onSkip: () => {},
  });
  closer.push('store', () => store.close());
  return { store, source: { type: 'prefix', bucket: stub.bucket, prefix: '' } };
}

/** A manifest on disk with a record and a picture a line; a stub answers for the pictures, which are not there. */
async function manifestWithStubPictures(folder: string): Promise<{ store: ObjectStore; source: Source }> {
  const source = join(folder, 'source');
  mkdirSync(source, { recursive: true });
  const file = createWriteStream(join(source, 'manifest.jsonl'));
  for (let i = 0; i < objects; i++) {
    const line = JSON.stringify({
      item_id: `item-${i}`,
      title: `Product number ${i}`,
      text: 'A product of some use, with a text of about a hundred characters that says what it is and is for.',
      attributes: { brand: `brand-${i % 100}`, price: i % 1_000 },
      images: [`pictures/${i}.jpg`],
    });
    if (!file.write(`${line}\n`)) await once(file, 'drain');
  }
  file.end();
  await finished(file);
  const local = new LocalObjectStore({ dataDir: join(folder, 'data') });
  const store: ObjectStore = {
    list: (place) => local.list(place),
    head: async (ref) =>
      ref.key.endsWith('.jpg') ? { ...ref, eTag: `stub-${ref.key}`, sizeBytes: 1_000, modifiedAt: new Date(0) } : local.head(ref),
    get: (ref, how) => local.get(ref, how),
    stream: (ref, how) => local.stream(ref, how),
    put: (ref, bytes, how) => local.put(ref, bytes, how),
    putStream: (ref, body, how) => local.putStream(ref, body, how),
    delete: (ref) => local.delete(ref),
    expire: (place) => local.expire(place),
    close: () => local.close(),
  };
  return { store, source: { type: 'manifest', uri: join(source, 'manifest.jsonl') } };
}

/** In place of encode workers: takes chunks and says that all is indexed; nothing is. */
async function drainInPlaceOfEncodeWorkers(
  ledger: Ledger,
  { ingestionId, chunkNo }: { ingestionId: string; chunkNo: number },
): Promise<void> {
  const chunk = await ledger.takeChunk(ingestionId, chunkNo);
  if (!chunk) return;
  const indexed = chunk.entries.filter(({ reconcile }) => !reconcile).length;
  await ledger.completeChunk(ingestionId, chunkNo, { indexed, unchanged: 0, duplicate: 0, failures: [] }, Date.now());
}

async function main(): Promise<void> {
  if (redisMissing) throw new Error(redisMissing);
  const logger = pino({ level: 'warn' });
  const closer = new Closer(logger);
  try {
    const folder = mkdtempSync(join(tmpdir(), 'sightline-plan-'));
    closer.push('folder', () => rmSync(folder, { recursive: true, force: true }));
    const server = await openRedisServer();
    closer.push('Redis', () => server.close());
    const redis = new Redis(server.url);
    closer.push('client', () => redis.disconnect());
    const { store, source } = await (options.from === 'manifest' ? manifestWithStubPictures(folder) : stubListing(closer));
    const ledger = await RedisLedger.open({ url: server.url, prefix: 'bench' });
    closer.push('ledger', () => ledger.close());
    const { spec } = new HashEncoder();
    const index = await openSqliteVectorIndex({ file: join(folder, 'index.db'), spec });
    closer.push('index', () => index.close());
    const queue = await openQueueEngine({ redisUrl: server.url, prefix: 'bench-queue' }, { logger });
    closer.push('queue', () => queue.close());
    const usedBytes = async (): Promise<number> => Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1]);

    const emptyBytes = await usedBytes();
    const ingestionId = newId();
    await ledger.createIngestion({ ingestionId, tenant: TENANT, source, createdAt: Date.now() });
    const startedAt = performance.now();
    const config = { highWaterChunks, chunkObjects };
    const events = new InProcessEventLog();
    const worker = await startIngestWorker({
      store,
      index,
      ledger,
      events,
      queue,
      feeds: [],
      logger,
      registry: new Registry(),
      config,
    });
    closer.push('ingest worker', () => worker.close());

    console.log(`${objects} objects from a ${options.from}, chunks of ${chunkObjects}, high water ${highWaterChunks} chunks`);
    console.log(`Redis is ${(emptyBytes / MB).toFixed(1)} MB when empty`);
    console.log('   planned  owed chunks  Redis MB  objects/s  process MB');
    let [peakBytes, peakRss, shown, mayDrain] = [0, 0, 0, false];
    const drain = async (job: { ingestionId: string; chunkNo: number }): Promise<void> => {
      while (!mayDrain) await sleep(20);
      await drainInPlaceOfEncodeWorkers(ledger, job);
    };
    await queue.work('encode', drain, { concurrency: 8 });
    for (;;) {
      await sleep(LOOK_EVERY_MS);
      const [ingestion, owed, bytes] = await Promise.all([
        ledger.getIngestion(TENANT, ingestionId),
        ledger.countOutstandingChunks(),
        usedBytes(),
      ]);
      const { rss } = process.memoryUsage();
      if (!ingestion) throw new Error('the ingestion is gone');
      if (ingestion.status === 'failed' || ingestion.hold) throw new Error(`it stopped: ${ingestion.reason}`);
      const { listed } = ingestion.counts;
      peakBytes = Math.max(peakBytes, bytes);
      peakRss = Math.max(peakRss, rss);
      const seconds = (performance.now() - startedAt) / 1000;
      const isOver = ingestion.planned && owed === 0;
      if (isOver || listed >= shown) {
        const cells = [listed, owed, (bytes / MB).toFixed(1), Math.round(listed / seconds), Math.round(rss / MB)].map(String);
        console.log(cells.map((cell, i) => cell.padStart([10, 11, 8, 9, 10][i] ?? 10)).join('  '));
        shown = listed + objects / LINES;
      }
      if (isOver) {
        console.log(`planned and drained in ${seconds.toFixed(1)} s; peaks: Redis ${(peakBytes / MB).toFixed(1)} MB, process ${Math.round(peakRss / MB)} MB`); // prettier-ignore
        break;
      }
      mayDrain = ingestion.planned || owed > highWaterChunks * KEPT_SHARE;
    }
  } finally {
    await closer.closeAll(20_000);
  }
}

await main();
