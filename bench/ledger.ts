/**
 * `npm run bench:ledger [-- --chunks 2000 --failures 100000 --steps 3000]`: what the ledger costs a Redis of its own:
 * bytes of memory for an outstanding chunk of 64 references and for a failure, and chunks a second through add, take and
 * complete, with `appendfsync always` and `everysec`.
 */
import { createHash } from 'node:crypto';
import { parseArgs } from 'node:util';
import { Redis } from 'ioredis';
import { RedisLedger } from '@sightline/shared/adapters/redis-ledger';
import type { ChunkEntry } from '@sightline/shared/ports/ledger';
import { openRedisServer, ownRedisMissing } from '@sightline/shared/testing/redis-server';

const { values } = parseArgs({
  options: {
    chunks: { type: 'string', default: '2000' },
    failures: { type: 'string', default: '100000' },
    steps: { type: 'string', default: '3000' },
  },
});
const [chunks, failures, steps] = [Number(values.chunks), Number(values.failures), Number(values.steps)];
if (ownRedisMissing) throw new Error(ownRedisMissing);

const ENTRIES_A_CHUNK = 64;
const source = { type: 'prefix', bucket: 'catalogue-pictures', prefix: 'products/' } as const;
const hash = (text: string): string => createHash('md5').update(text).digest('hex');
/** As S3 lists them: keys that differ, eTags that do not compress. */
const keyOf = (n: number): string => `products/${hash(`${n}`).slice(0, 4)}/sku-${1_000_000 + n}/front-view.jpg`;
const references = (chunkNo: number): ChunkEntry[] =>
  Array.from({ length: ENTRIES_A_CHUNK }, (_, i) => {
    const n = chunkNo * ENTRIES_A_CHUNK + i;
    return { object: { bucket: source.bucket, key: keyOf(n), eTag: hash(`e${n}`), sizeBytes: 100_000 + (n % 50_000) } };
  });
const records = (chunkNo: number): ChunkEntry[] =>
  references(chunkNo).map((entry, i) => ({
    ...entry,
    record: {
      itemId: `sku-${chunkNo}-${i}`,
      title: `Product ${hash(`t${chunkNo}-${i}`).slice(0, 8)} in walnut`,
      text: Array.from({ length: 40 }, (_, w) => hash(`${chunkNo}-${i}-${w}`).slice(0, 6)).join(' '),
      attributes: { colour: 'walnut', price: 100 + i },
      pictures: [{ bucket: source.bucket, key: entry.object?.key ?? '' }],
    },
  }));
const NOTHING = { unchanged: 0, duplicate: 0, failures: [] };

async function open(appendFsync: 'always' | 'everysec') {
  const server = await openRedisServer({ appendFsync });
  const admin = new Redis(server.url);
  const ledger = await RedisLedger.open({ url: server.url, prefix: 'bench' });
  return {
    ledger,
    usedBytes: async () => Number(/used_memory:(\d+)/.exec(await admin.info('memory'))?.[1]),
    close: async () => {
      await ledger.close();
      admin.disconnect();
      await server.close();
    },
  };
}

async function memory(label: string, entriesOf: (chunkNo: number) => ChunkEntry[]): Promise<void> {
  const { ledger, usedBytes, close } = await open('everysec');
  await ledger.createIngestion({ ingestionId: 'one', tenant: 'bench', source, createdAt: 1 });
  const before = await usedBytes();
  for (let chunkNo = 0; chunkNo < chunks; chunkNo++) {
    const at = Date.now();
    await ledger.addChunk('one', {
      chunkNo,
      entries: entriesOf(chunkNo),
      listed: ENTRIES_A_CHUNK,
      failures: [],
      after: chunkNo === 0 ? null : keyOf(chunkNo - 1),
      cursor: keyOf(chunkNo),
      at,
    });
  }
  const bytes = (await usedBytes()) - before;
  const jsonBytes = Buffer.byteLength(JSON.stringify(entriesOf(1)));
  console.log(`${label}: ${Math.round(bytes / chunks)} bytes of Redis a chunk of ${ENTRIES_A_CHUNK} (its JSON: ${jsonBytes})`);
  for (let chunkNo = 0; chunkNo < chunks; chunkNo++) {
    await ledger.completeChunk('one', chunkNo, { ...NOTHING, indexed: ENTRIES_A_CHUNK }, Date.now());
  }
  console.log(`${label}: ${(await usedBytes()) - before} bytes left when all ${chunks} are complete`);
  await close();
}

async function failureMemory(): Promise<void> {
  const { ledger, usedBytes, close } = await open('everysec');
  await ledger.createIngestion({ ingestionId: 'one', tenant: 'bench', source, createdAt: 1 });
  const before = await usedBytes();
  for (let chunkNo = 0; chunkNo * ENTRIES_A_CHUNK < failures; chunkNo++) {
    const failed = references(chunkNo).map(({ object }) => ({
      key: object?.key ?? '',
      code: 'picture_truncated' as const,
      reason: 'The picture ends before its data does. VipsJpeg: premature end of JPEG image',
      eTag: object?.eTag,
    }));
    const after = chunkNo === 0 ? null : 'c';
    await ledger.addChunk('one', { chunkNo, entries: [], listed: 64, failures: failed, after, cursor: 'c', at: Date.now() });
  }
  const written = Math.ceil(failures / ENTRIES_A_CHUNK) * ENTRIES_A_CHUNK;
  console.log(`failures: ${Math.round(((await usedBytes()) - before) / written)} bytes of Redis each, of ${written}`);
  const startedAt = performance.now();
  let read = 0;
  for await (const _ of ledger.failedObjects('one')) read++;
  console.log(`failures: ${Math.round(read / ((performance.now() - startedAt) / 1_000))} a second read by failedObjects`);
  await close();
}

async function speed(appendFsync: 'always' | 'everysec', writers: number): Promise<void> {
  const { ledger, close } = await open(appendFsync);
  const each = Math.ceil(steps / writers);
  const startedAt = performance.now();
  // Chunks of one ingestion are added in turn, so that writers at the same time have one each.
  await Promise.all(
    Array.from({ length: writers }, async (_, writer) => {
      const id = `ingestion-${writer}`;
      await ledger.createIngestion({ ingestionId: id, tenant: 'bench', source, createdAt: writer });
      for (let chunkNo = 0; chunkNo < each; chunkNo++) {
        const [entries, after] = [references(chunkNo), chunkNo === 0 ? null : 'c'];
        await ledger.addChunk(id, { chunkNo, entries, listed: 64, failures: [], after, cursor: 'c', at: 1 });
        await ledger.takeChunk(id, chunkNo);
        await ledger.completeChunk(id, chunkNo, { ...NOTHING, indexed: 64 }, 2);
      }
    }),
  );
  const seconds = (performance.now() - startedAt) / 1_000;
  const rate = (each * writers) / seconds;
  console.log(
    `appendfsync ${appendFsync}, ${writers} at a time: ${Math.round(rate)} chunks/s added, taken and completed (${Math.round(rate * 3)} calls/s, ${Math.round(rate * 64)} objects/s)`,
  );
  await close();
}

async function leaseSpeed(appendFsync: 'always' | 'everysec', writers: number): Promise<void> {
  const { ledger, close } = await open(appendFsync);
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: writers }, async (_, writer) => {
      for (let n = 0; n < steps / writers; n++) {
        const keys = Array.from({ length: ENTRIES_A_CHUNK }, (_, i) => `asset-${writer}-${n}-${i}`);
        const { token } = await ledger.leaseKeys(keys, { ttlMs: 30_000 });
        await ledger.releaseKeys(token);
      }
    }),
  );
  const rate = steps / ((performance.now() - startedAt) / 1_000);
  console.log(`appendfsync ${appendFsync}, ${writers} at a time: ${Math.round(rate)} leases/s of 64 keys, taken and released`);
  await close();
}

await memory('references', references);
await memory('with records', records);
await failureMemory();
for (const appendFsync of ['always', 'everysec'] as const) {
  for (const writers of [1, 8, 32]) await speed(appendFsync, writers);
  await leaseSpeed(appendFsync, 8);
}
