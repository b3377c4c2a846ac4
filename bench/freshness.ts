/**
 * `npm run bench:freshness [-- --changes 150] [--bulk 4000] [--production]`: how long it takes from the writing of a picture, by the
 * writer's clock, until the index shows it: p50 and p99 of pictures that are new, overwritten and deleted, one at a time, first with
 * nothing else running, then while a bulk ingestion encodes `--bulk` pictures. By default the embedded stack on a watched folder; with
 * `--production` the four services on Redis, Kafka and an S3 gateway that sends its notifications to that Kafka, with Qdrant where there
 * is one (QDRANT_URL, QDRANT_BINARY), else SQLite.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { DEFAULT_TENANT, pictureAssetId } from '@sightline/shared/contracts/ids';
import type { Source } from '@sightline/shared/contracts/records';
import { ProductionStack } from '../test/harness/production-stack.ts';
import { seeded } from '@sightline/shared/testing/seeded';
import { ingest, progressOf, startStack, waitForEnd } from '../test/harness/stack.ts';
import { tinyJpeg } from '../test/harness/tiny-pictures.ts';
import { makePictures } from './make-pictures.ts';

const { values: options } = parseArgs({
  options: {
    changes: { type: 'string', default: '150' },
    bulk: { type: 'string', default: '4000' },
    production: { type: 'boolean', default: false },
  },
});
const changes = Number(options.changes);
const bulk = Number(options.bulk);
const POLL_MS = 10;
const GIVEN_UP_AFTER_MS = 120_000;
const UPLOADS_AT_ONCE = 32;
const MANY = '1000000';
/** So that the stack is not measured at refusing the one who measures. */
const env = { RATE_LIMIT_READ: MANY, RATE_LIMIT_PUBLIC: MANY };
const FINAL = ['completed', 'failed', 'cancelled'];

/** Where pictures are written that the stack watches, and where the bulk lies. */
interface Place {
  url: string;
  bucket: string;
  prefix: string;
  write(name: string, bytes: Buffer): Promise<void>;
  remove(name: string): Promise<void>;
  watched: Source;
  bulk: Source;
  close(): Promise<void>;
}

const asset = z.looseObject({ sha256: z.string().nullable() });
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

async function shownSha256(url: string, assetId: string): Promise<string | null> {
  const response = await fetch(`${url}/v1/assets/${assetId}`);
  if (response.status === 404) return (await response.body?.cancel(), null);
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return asset.parse(await response.json()).sha256;
}

/** Milliseconds from before the write began until the index shows what was written, null for what was deleted. */
async function measureOne(place: Place, name: string, bytes: Buffer | null): Promise<number> {
  const assetId = pictureAssetId(DEFAULT_TENANT, place.bucket, `${place.prefix}${name}`);
  const expected = bytes && sha256(bytes);
  const startedAt = performance.now();
  await (bytes ? place.write(name, bytes) : place.remove(name));
  while ((await shownSha256(place.url, assetId)) !== expected) {
    if (performance.now() - startedAt > GIVEN_UP_AFTER_MS) throw new Error(`${name} is not shown`);
    await sleep(POLL_MS);
  }
  return performance.now() - startedAt;
}

const random = seeded(1);
let pictures = 0;

async function measure(place: Place, label: string, isGoing: () => Promise<boolean>): Promise<void> {
  const took: Record<'new' | 'overwritten' | 'deleted', number[]> = { new: [], overwritten: [], deleted: [] };
  for (let n = 0; n < changes / 3 && (await isGoing()); n++) {
    const name = `change-${label}-${n}.jpg`;
    took.new.push(await measureOne(place, name, await tinyJpeg(pictures++)));
    await sleep(random.whole(0, 200));
    took.overwritten.push(await measureOne(place, name, await tinyJpeg(pictures++)));
    await sleep(random.whole(0, 200));
    took.deleted.push(await measureOne(place, name, null));
    await sleep(random.whole(0, 200));
  }
  for (const [kind, values] of Object.entries({ all: Object.values(took).flat(), ...took }))
    console.log(
      `${label.padEnd(10)} ${kind.padEnd(11)} ${values.length} changes, p50 ${at(values, 0.5)} ms, p99 ${at(values, 0.99)} ms`,
    );
}

function at(values: number[], share: number): string {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))]?.toFixed(0) ?? '-';
}

async function openEmbedded(paths: string[]): Promise<Place> {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-bench-'));
  const folder = join(dir, 'watched');
  mkdirSync(folder);
  await writeFile(join(folder, 'first.jpg'), await tinyJpeg(1_000_000));
  const stack = await startStack({ dataDir: join(dir, 'data'), env });
  return {
    url: stack.url,
    bucket: folder,
    prefix: '',
    write: (name, bytes) => writeFile(join(folder, name), bytes),
    remove: (name) => rm(join(folder, name)),
    watched: { type: 'directory', path: folder },
    bulk: { type: 'directory', path: join(paths[0] ?? '', '..') },
    close: async () => {
      await stack.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function openProduction(paths: string[]): Promise<Place> {
  const stack = await ProductionStack.open({ kafka: true, bucketEvents: true, env });
  console.log(`index: ${stack.qdrant ? 'Qdrant' : 'SQLite'}`);
  const [bucket, others] = [stack.newBucket(), stack.newBucket()];
  await bucket.putPictures(1);
  for (let from = 0; from < paths.length; from += UPLOADS_AT_ONCE) {
    const some = paths.slice(from, from + UPLOADS_AT_ONCE);
    await Promise.all(some.map(async (path) => others.put(`pictures/${basename(path)}`, await readFile(path))));
  }
  return {
    url: stack.url,
    bucket: bucket.name,
    prefix: 'pictures/',
    write: async (name, bytes) => void (await bucket.put(`pictures/${name}`, bytes)),
    remove: (name) => bucket.delete(`pictures/${name}`),
    watched: bucket.source,
    bulk: others.source,
    close: async () => {
      await stack.stopAll();
      await stack.close();
    },
  };
}

const paths = await makePictures(join(tmpdir(), `sightline-bench-320x240-${bulk}`), bulk, 320, 240);
console.log(`${options.production ? 'production' : 'embedded'} stack, ${availableParallelism()} cores`);
const place = await (options.production ? openProduction(paths) : openEmbedded(paths));
try {
  await waitForEnd(place.url, await ingest(place.url, place.watched));
  await measure(place, 'idle', async () => true);
  const ingestionId = await ingest(place.url, place.bulk);
  while ((await progressOf(place.url, ingestionId)).counts.indexed === 0) await sleep(50);
  const startedAt = performance.now();
  await measure(place, 'under-bulk', async () => !FINAL.includes((await progressOf(place.url, ingestionId)).status));
  const { status, counts } = await progressOf(place.url, ingestionId);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
  console.log(`of the bulk ${counts.indexed} of ${bulk} were indexed in these ${seconds} s; it is ${status}`);
} finally {
  await place.close();
}
