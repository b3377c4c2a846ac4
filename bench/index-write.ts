/**
 * `npm run bench:index -- [--points 20000] [--searches 300] [--pid <of the server>] [--dir <its storage>] [--quantisation none]
 * [--keep <alias>] [--nowait]`: writes made points into the Qdrant that QDRANT_URL names, 64 and 256 a request, and searches them. With the
 * server's process and folder it also says what a point takes in memory and on disk; `--points 0` only searches what
 * `--keep` kept, `--nowait` does so while the graph is still being built.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { QdrantConnection } from '@sightline/shared/adapters/qdrant-connection';
import { openQdrantVectorIndex } from '@sightline/shared/adapters/qdrant-vector-index';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { LOAD_SPEC, LOAD_TENANT, loadRecord, loadVector, pictureOf, quantile, recordOf } from './index-load.ts';

const { values: options } = parseArgs({
  options: {
    points: { type: 'string', default: '20000' },
    searches: { type: 'string', default: '300' },
    pid: { type: 'string' },
    dir: { type: 'string' },
    quantisation: { type: 'string', default: 'none' },
    keep: { type: 'string' },
    nowait: { type: 'boolean', default: false },
  },
});
const url = process.env['QDRANT_URL'];
if (!url) throw new Error('QDRANT_URL names no Qdrant.');
const place = { url, ...(process.env['QDRANT_API_KEY'] && { apiKey: process.env['QDRANT_API_KEY'] }) };
const quantisation = options.quantisation === 'scalar' || options.quantisation === 'binary' ? options.quantisation : 'none';
const admin = new QdrantConnection(place);

const diskBytes = () => (options.dir ? Number(execFileSync('du', ['-sk', options.dir]).toString().split('\t')[0]) * 1024 : null);
const memoryBytes = (field: 'RssAnon' | 'VmRSS') => {
  if (!options.pid) return null;
  const found = new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${options.pid}/status`, 'utf8'));
  return Number(found?.[1]) * 1024;
};
const perSecond = (count: number, ms: number) => ((count / ms) * 1_000).toFixed(0);

async function write(index: VectorIndex, from: number, until: number, batch: number): Promise<void> {
  if (until === from) return;
  const spent = { pictures: 0, records: 0 };
  for (let no = from; no < until; no += batch) {
    const numbers = Array.from({ length: Math.min(batch, until - no) }, (_, i) => no + i);
    const [pictures, records] = [numbers.map(pictureOf), numbers.map(recordOf)];
    let startedAt = performance.now();
    await index.writePictures(pictures);
    spent.pictures += performance.now() - startedAt;
    startedAt = performance.now();
    await index.writeRecords(records);
    spent.records += performance.now() - startedAt;
  }
  const count = until - from;
  console.log(
    `${batch} a request, ${count} points: ${perSecond(count, spent.pictures)} pictures/s (new points), ` +
      `${perSecond(count, spent.records)} records/s (onto them), ${perSecond(count, spent.pictures + spent.records)} points/s in all`,
  );
}

async function untilGreen(alias: string): Promise<void> {
  for (let greens = 0; greens < 3; await sleep(1_000)) {
    const { status } = await admin.call((client) => client.getCollection(alias));
    greens = status === 'green' ? greens + 1 : 0;
  }
}

async function search(index: VectorIndex, label: string, filter: Record<string, string | boolean> | undefined): Promise<void> {
  const ms: number[] = [];
  for (let n = 0; n < Number(options.searches); n++) {
    const { keywords } = loadRecord(n * 7);
    const legs = [
      { space: 'image' as const, vector: loadVector(n + 5_000_000, 0), limit: 50 },
      { space: 'text' as const, vector: loadVector(n + 5_000_000, 1), limit: 50 },
      { space: 'keywords' as const, keywords: keywords.slice(3, 8), limit: 50 },
    ];
    const startedAt = performance.now();
    await index.search(LOAD_TENANT, filter, legs);
    ms.push(performance.now() - startedAt);
  }
  console.log(
    `${label}: p50 ${quantile(ms, 0.5).toFixed(1)} ms, p99 ${quantile(ms, 0.99).toFixed(1)} ms (${ms.length} searches)`,
  );
}

const points = Number(options.points);
const alias = options.keep ?? `bench-${process.pid}`;
const before = { disk: diskBytes(), anonymous: memoryBytes('RssAnon'), resident: memoryBytes('VmRSS') };
const open = (batchPoints: number) =>
  openQdrantVectorIndex({ ...place, alias, spec: LOAD_SPEC, batchPoints, collection: { quantisation } });
const small = await open(64);
await write(small, 0, Math.floor(points / 4), 64);
await small.close();
const index = await open(256);
await write(index, Math.floor(points / 4), points, 256);
if (!options.nowait) await untilGreen(alias);
const bytesEach = (now: number | null, then: number | null) =>
  now !== null && then !== null && points > 0 ? Math.round((now - then) / points) : null;
console.log('bytes a point:', {
  disk: bytesEach(diskBytes(), before.disk),
  anonymous: bytesEach(memoryBytes('RssAnon'), before.anonymous),
  resident: bytesEach(memoryBytes('VmRSS'), before.resident),
});
await search(index, 'three legs, the tenant alone', undefined);
await search(index, 'three legs, in_stock (most)', { in_stock: true });
await search(index, 'three legs, colour and product_type (few)', { colour: 'red', product_type: 'sticker' });
console.log(await index.count(LOAD_TENANT));
await index.close();
if (!options.keep) await admin.call((client) => client.deleteCollection(`${alias}-1`));
await admin.close();
