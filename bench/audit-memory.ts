/**
 * `npm run bench:audit [-- --objects 300000] [--differ 100]`: audits a bucket of so many objects against an index of as many points,
 * of which one in `differ` is missing and one in `differ` is stale, and prints what it found, its rate, and the most memory that the
 * auditing process took, at a tenth of the objects and at all of them. The index is the SQLite one, with vectors of 16 dimensions; the
 * bucket is a stub's generated listing, served and filled from a process of its own, over the real S3 client.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { HashEncoder } from '@sightline/encode-worker/testing/hash-encoder';
import { openSqliteDoubts } from '@sightline/ingest-worker/adapters/sqlite-doubts';
import { openSqliteExpectedSet } from '@sightline/ingest-worker/adapters/sqlite-expected-set';
import { openSqliteItemLines } from '@sightline/ingest-worker/adapters/sqlite-item-lines';
import { auditIndex } from '@sightline/ingest-worker/core/audit';
import { openS3ObjectStore } from '@sightline/shared/adapters/s3-object-store';
import { SqliteLedger } from '@sightline/shared/adapters/sqlite-ledger';
import { openSqliteVectorIndex } from '@sightline/shared/adapters/sqlite-vector-index';
import { pictureAssetId } from '@sightline/shared/contracts/ids';
import { flatKeys } from '@sightline/shared/testing/stub-s3-keys';
import { openStubS3, type StubS3 } from '@sightline/shared/testing/stub-s3-listing';

const { values: options } = parseArgs({
  options: {
    objects: { type: 'string', default: '300000' },
    differ: { type: 'string', default: '100' },
    /** Internal: where the auditing process finds everything. */
    audit: { type: 'string' },
  },
});
const TENANT = 'bench';
const MB = 1e6;
const BATCH = 1_000;
const { spec } = new HashEncoder();
const place = z.object({ folder: z.string(), endpoint: z.string() });
const outcome = z.object({
  seconds: z.number(),
  peakBytes: z.number(),
  startBytes: z.number(),
  points: z.number(),
  findings: z.record(z.string(), z.number()),
});

const filesIn = (folder: string) => ({ ledger: join(folder, 'ledger.db'), index: join(folder, 'index.db') });
const storeAt = (stub: StubS3['place']) =>
  openS3ObjectStore(stub, {
    sleep: (ms, signal) => sleep(ms, undefined, { ...(signal && { signal }) }),
    random: Math.random,
    now: Date.now,
    onSkip: () => {},
  });

/** The auditing process. */
async function audit(given: string): Promise<void> {
  const { folder, endpoint } = place.parse(JSON.parse(given));
  const files = filesIn(folder);
  const credentials = { accessKeyId: 'stub', secretAccessKey: 'stub' };
  const at = { endpoint, region: 'us-east-1', forcePathStyle: true, systemBucket: 'stub-system', credentials, maxAttempts: 5 };
  const store = await storeAt(at);
  const ledger = await SqliteLedger.open({ file: files.ledger });
  const index = await openSqliteVectorIndex({ file: files.index, spec });
  const startBytes = process.memoryUsage.rss();
  const startedAt = performance.now();
  const sets = { openItemLines: openSqliteItemLines, openExpectedSet: openSqliteExpectedSet, openDoubts: openSqliteDoubts };
  const wait = (ms: number): Promise<void> => sleep(ms);
  const looks = auditIndex({ store, ledger, index, ...sets, sleep: wait }, TENANT, { place: null, graceMs: 0 });
  let next = await looks.next();
  while (!next.done) next = await looks.next();
  const { points, findings } = next.value;
  const seconds = (performance.now() - startedAt) / 1_000;
  // Kilobytes, as the system counts them.
  const peakBytes = process.resourceUsage().maxRSS * 1_024;
  console.log(JSON.stringify({ seconds, startBytes, peakBytes, points, findings }));
  await index.close();
  await ledger.close();
  await store.close();
}

/** Points for the stub's objects, but for those that are missing. */
async function fill(files: ReturnType<typeof filesIn>, bucket: string, objects: number, differ: number): Promise<void> {
  const ledger = await SqliteLedger.open({ file: files.ledger });
  await ledger.createIngestion({
    ingestionId: 'i',
    tenant: TENANT,
    source: { type: 'prefix', bucket, prefix: '' },
    createdAt: 1,
  });
  await ledger.setStatus('i', ['planning'], 'completed', { at: 2 });
  await ledger.close();
  const index = await openSqliteVectorIndex({ file: files.index, spec });
  const keys = flatKeys(objects);
  const vector = Float32Array.from({ length: spec.image.dimensions }, () => 1 / Math.sqrt(spec.image.dimensions));
  for (let from = 0; from < objects; from += BATCH) {
    const numbers = Array.from({ length: Math.min(BATCH, objects - from) }, (_, n) => from + n);
    await index.writePictures(
      numbers
        .filter((no) => no % differ !== 0)
        .map((no) => {
          const key = keys.keyAt(no);
          const eTag = no % differ === 1 ? 'old' : `listed-${no}`;
          return {
            assetId: pictureAssetId(TENANT, bucket, key),
            tenant: TENANT,
            object: { bucket, key, eTag },
            sha256: no.toString(16).padStart(64, '0'),
            sizeBytes: 100,
            widthPx: 64,
            heightPx: 64,
            vector,
            imageVersion: no + 1,
            indexedAt: 1,
          };
        }),
    );
  }
  await index.close();
}

async function measure(objects: number, differ: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sightline-audit-bench-'));
  const stub = await openStubS3({ keys: flatKeys(objects) });
  try {
    await fill(filesIn(folder), stub.bucket, objects, differ);
    const script = fileURLToPath(import.meta.url);
    const given = JSON.stringify({ folder, endpoint: stub.endpoint });
    const child = spawn(process.execPath, [script, '--audit', given], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (bytes: Buffer) => (text += bytes.toString()));
    const [code] = (await once(child, 'exit')) as [number | null];
    if (code !== 0) throw new Error('the auditing process failed');
    const { seconds, startBytes, peakBytes, points, findings } = outcome.parse(JSON.parse(text));
    const expected = { missing: Math.ceil(objects / differ), stale: Math.ceil((objects - 1) / differ) };
    if (findings['missing'] !== expected.missing || findings['stale'] !== expected.stale)
      throw new Error(`expected ${JSON.stringify(expected)}, found ${JSON.stringify(findings)}`);
    const requests = `${stub.counts.list} LISTs, ${stub.counts.head} HEADs`;
    console.log(
      [
        String(objects).padStart(9),
        String(points).padStart(9),
        String(expected.missing + expected.stale).padStart(9),
        Math.round(objects / seconds)
          .toString()
          .padStart(10),
        (startBytes / MB).toFixed(0).padStart(9),
        (peakBytes / MB).toFixed(0).padStart(8),
        (statSync(filesIn(folder).index).size / MB).toFixed(0).padStart(9),
        `  ${requests}`,
      ].join(' '),
    );
  } finally {
    await stub.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

if (options.audit !== undefined) await audit(options.audit);
else {
  const [objects, differ] = [Number(options.objects), Number(options.differ)];
  console.log('  objects    points  findings  objects/s  start MB  peak MB  index MB  requests');
  for (const count of [Math.ceil(objects / 10), objects]) await measure(count, differ);
}
