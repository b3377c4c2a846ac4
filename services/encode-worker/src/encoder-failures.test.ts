import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleepFor } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { pino } from 'pino';
import sharp from 'sharp';
import { InProcessEventLog } from '@sightline/shared/adapters/in-process-event-log';
import { LocalObjectStore } from '@sightline/shared/adapters/local-object-store';
import { SqliteLedger } from '@sightline/shared/adapters/sqlite-ledger';
import { openSqliteVectorIndex } from '@sightline/shared/adapters/sqlite-vector-index';
import { DEFAULT_TENANT, newId, pictureAssetId, SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import { FailureStorms, STORM_DEFAULTS } from '@sightline/shared/ingestion/failure-storms';
import { toSightlineError } from '@sightline/shared/runtime/errors';
import { openOnnxEncoder, type OnnxEncoder, type OnnxEncoderOptions } from './adapters/onnx-encoder.ts';
import { encodeChunk } from './core/encode-chunk.ts';
import { encodeQuery } from './core/encode-query.ts';
import { PictureBatcher } from './core/picture-batcher.ts';
import { PictureFeed } from './core/picture-feed.ts';
import { mark, MARKS, NO_FAILURES, type FailureScript, type Mark } from './testing/failure-script.ts';

const PACK = path.resolve(import.meta.dirname, '../../../test/fixtures/packs/tiny-clip');
const PROCESS = fileURLToPath(new URL('./testing/failing-encoder-process.ts', import.meta.url));
const EDGE_PX = 32;
const MiB = 1024 * 1024;
const ATTEMPTS = 8;

const logger = pino({ level: 'silent' });
const closers: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** Every seed is another picture, of the network's own size, so that its pixels reach the encoder as they are. */
function pixelsOf(seed: number, as: Mark | null): Uint8Array {
  const pixels = new Uint8Array(EDGE_PX * EDGE_PX * 3);
  let state = seed + 1;
  for (let i = 0; i < pixels.length; i++) pixels[i] = (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) >> 20;
  if (as) mark(pixels, as);
  return pixels;
}

const pngOf = (pixels: Uint8Array) =>
  sharp(pixels, { raw: { width: EDGE_PX, height: EDGE_PX, channels: 3 } })
    .png()
    .toBuffer();

interface Scene {
  script: FailureScript;
  /** Of each picture, in the order of their keys. */
  marks: (Mark | null)[];
  encoder?: Partial<OnnxEncoderOptions>;
  maxBatch?: number;
  /** Searches go on until the encoder was called so often: what the script has in store has happened by then. */
  untilCalls?: number;
}

/**
 * Pictures in a folder, a ledger and an index in files, chunks worked three at a time and tried again as the queue does it, and a
 * search after another meanwhile; the encoder is the real one on a process that fails by its script.
 */
async function play({ script, marks, encoder: options = {}, maxBatch = 16, untilCalls = 0 }: Scene) {
  const folder = await mkdtemp(path.join(tmpdir(), 'sightline-failures-'));
  closers.push(() => rm(folder, { recursive: true }));
  const [source, dataDir, scriptFile] = ['source', 'data', 'script.json'].map((name) => path.join(folder, name)) as [
    string,
    string,
    string,
  ];
  await mkdir(source);
  await mkdir(dataDir);
  await writeFile(scriptFile, JSON.stringify(script));
  await writeFile(`${scriptFile}.calls`, '');
  const sizeOf = (what: string) => readFileSync(`${scriptFile}.${what}`).length;
  const pictures = await Promise.all(
    marks.map(async (as, n) => {
      const pixels = pixelsOf(n, as);
      const key = `${String(n).padStart(3, '0')}.png`;
      await writeFile(path.join(source, key), await pngOf(pixels));
      return { key, as, pixels, assetId: pictureAssetId(DEFAULT_TENANT, source, key) };
    }),
  );
  const encoder = await openOnnxEncoder({
    packDir: PACK,
    threads: 1,
    logger,
    maxBatchMs: 5_000,
    batchTimeoutMs: 1_000,
    program: { file: PROCESS, args: [scriptFile] },
    sleep: (ms) => sleepFor(ms / 20),
    ...options,
  });
  closers.push(() => encoder.close());
  const ledger = await SqliteLedger.open({ file: path.join(dataDir, 'ledger.db') });
  closers.push(() => ledger.close());
  const index = await openSqliteVectorIndex({ file: path.join(dataDir, 'index.db'), spec: encoder.spec });
  closers.push(() => index.close());
  const store = new LocalObjectStore({ dataDir });
  await store.put({ bucket: SYSTEM_BUCKET, key: 'queries/q' }, await pngOf(pixelsOf(5_000, null)), { contentType: 'image/png' });

  const batcher = new PictureBatcher(encoder, { lane: 'bulk', maxBatch });
  const limits = { maxPictureBytes: MiB, bytesInFlight: 16 * MiB, decodeConcurrency: 3, decodedAhead: 48 };
  const feed = new PictureFeed({ store, index, encoder, batcher, observe: () => {} }, limits);
  const storms = new FailureStorms(STORM_DEFAULTS);
  const events = new InProcessEventLog();
  closers.push(() => events.close());
  const shared = {
    events,
    store,
    index,
    ledger,
    encoder,
    feed,
    storms,
    logger,
    now: Date.now,
    accepts: () => true,
    leaseTtlMs: 15_000,
    lane: 'bulk' as const,
  };
  const deps = { ...shared, sleep: (ms: number) => sleepFor(Math.min(ms, 5)), observe: () => {}, count: () => {} };

  const ingestionId = newId();
  const at = Date.now();
  const fingerprints = { image: encoder.spec.image.fingerprint, text: encoder.spec.text.fingerprint };
  await ledger.createIngestion({
    ingestionId,
    tenant: DEFAULT_TENANT,
    source: { type: 'directory', path: source },
    createdAt: at,
  });
  const objects = await Promise.all(pictures.map(async ({ key }) => (await store.head({ bucket: source, key }))!));
  const chunkNos: number[] = [];
  for (let from = 0; from < objects.length; from += 16) {
    const entries = objects
      .slice(from, from + 16)
      .map(({ bucket, key, eTag, sizeBytes }) => ({ object: { bucket, key, eTag, sizeBytes } }));
    const chunkNo = chunkNos.push(chunkNos.length) - 1;
    const after = chunkNo === 0 ? null : '';
    await ledger.addChunk(ingestionId, { chunkNo, entries, listed: entries.length, failures: [], after, cursor: '', at });
  }
  await ledger.finishPlanning(ingestionId);

  let isWorking = true;
  const searches = { answers: [] as { words: number[]; picture: number[] }[], errors: [] as string[], longestMs: 0 };
  const searching = (async () => {
    while (isWorking || sizeOf('calls') < untilCalls) {
      const startedAt = performance.now();
      const job = {
        tenant: DEFAULT_TENANT,
        fingerprints,
        query: 'a red shoe',
        pictureKey: 'queries/q',
        traceId: 't',
        expiresAt: Infinity,
      };
      try {
        const { wordsInImageSpace: words, pictureInImageSpace: picture } = await encodeQuery(
          { store, encoder, now: Date.now, maxPictureBytes: MiB },
          job,
          new AbortController().signal,
        );
        searches.answers.push({ words: words ?? [], picture: picture ?? [] });
      } catch (error) {
        searches.errors.push(toSightlineError(error).code);
      }
      searches.longestMs = Math.max(searches.longestMs, performance.now() - startedAt);
      await sleepFor(5);
    }
  })();
  const work = async (chunkNo: number): Promise<void> => {
    for (let attempt = 1; ; attempt++) {
      const lastAttempt = attempt === ATTEMPTS;
      try {
        const job = { tenant: DEFAULT_TENANT, ingestionId, chunkNo, fingerprints, traceId: 't' };
        return await encodeChunk(deps, job, { lastAttempt, signal: new AbortController().signal });
      } catch (error) {
        if (lastAttempt || !toSightlineError(error).retryable) throw error;
        await sleepFor(20);
      }
    }
  };
  const queue = [...chunkNos];
  await Promise.all(
    [1, 2, 3].map(async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) await work(next);
    }),
  );
  isWorking = false;
  await searching;

  const points = await index.scan(DEFAULT_TENANT, { limit: 1_000, withVectors: true });
  const counts = (await ledger.getIngestion(DEFAULT_TENANT, ingestionId))!.counts;
  const { failures } = await ledger.failures(ingestionId, { limit: 1_000 });
  return { pictures, points, counts, failures, searches, calls: sizeOf('calls'), starts: sizeOf('starts'), encoder };
}

/** What a process that never fails gives, once for the whole file. */
let reference: Promise<OnnxEncoder> | undefined;
async function referenceVectors(pixels: Uint8Array[]): Promise<Float32Array[]> {
  reference ??= openOnnxEncoder({ packDir: PACK, threads: 1, logger });
  const encoder = await reference;
  const outcomes = await encoder.encodePictures(
    pixels.map((own) => ({ pixels: own, crops: 1, widthPx: EDGE_PX, heightPx: EDGE_PX, format: 'png' })),
    { lane: 'bulk' },
  );
  return outcomes.map((outcome) => {
    if (!outcome.ok) throw outcome.error;
    return outcome.value;
  });
}

const distance = (a: ArrayLike<number>, b: ArrayLike<number>) => Math.hypot(...Array.from(a, (value, i) => value - b[i]!));

/** Nothing lost, nothing twice, nothing of another picture's, only the marked failed; and every search had its answer. */
async function check({ pictures, points, counts, failures, searches }: Awaited<ReturnType<typeof play>>): Promise<void> {
  const good = pictures.filter(({ as }) => as === null);
  const bad = pictures.filter(({ as }) => as !== null);
  expect(failures.map(({ key, code }) => `${key} ${code}`).sort()).toEqual(bad.map(({ key }) => `${key} encoder_failed`));
  expect(counts).toMatchObject({ listed: pictures.length, indexed: good.length, failed: bad.length, duplicate: 0, unchanged: 0 });
  expect(points.map(({ assetId }) => assetId).sort()).toEqual(good.map(({ assetId }) => assetId).sort());
  const expected = await referenceVectors(good.map(({ pixels }) => pixels));
  for (const [n, { assetId, key }] of good.entries()) {
    const found = points.find((point) => point.assetId === assetId)?.vectors?.image;
    const distances = expected.map((vector) => distance(found!, vector));
    expect(`${key} ${distances.indexOf(Math.min(...distances))} ${distances[n]! < 1e-3}`).toBe(`${key} ${n} true`);
  }
  expect(searches.errors).toEqual([]);
  expect(searches.answers.length).toBeGreaterThan(0);
  const [picture] = await referenceVectors([pixelsOf(5_000, null)]);
  const [first] = searches.answers;
  for (const answer of searches.answers) {
    expect(distance(answer.picture, picture!)).toBeLessThan(1e-3);
    expect(distance(answer.words, first!.words)).toBeLessThan(1e-3);
  }
}

afterAll(async () => (await reference)?.close());

const unmarked = (count: number): null[] => Array.from({ length: count }, () => null);
const marked = (count: number, ...bad: [number, Mark][]) =>
  Array.from({ length: count }, (_, n) => bad.find(([place]) => place === n)?.[1] ?? null);

test('without failures everything is indexed by one process', async () => {
  const played = await play({ script: NO_FAILURES, marks: unmarked(64) });
  await check(played);
  expect(played.starts).toBe(1);
}, 60_000);

test('for want of memory batches are halved, and nothing fails', async () => {
  const script = { ...NO_FAILURES, outOfMemoryAbove: 2, outOfMemoryFrom: 1, outOfMemoryUntil: Infinity };
  const played = await play({ script: { ...script, outOfMemoryUntil: 1e9 }, marks: unmarked(64) });
  await check(played);
  expect(played.starts).toBe(1);
}, 60_000);

test.each(MARKS)(
  'a picture whose computing %s is the only one that fails',
  async (as) => {
    const played = await play({ script: NO_FAILURES, marks: marked(48, [21, as]) });
    await check(played);
    // Halving 16 takes five; the picture alone is tried twice.
    expect(played.starts).toBeLessThanOrEqual(as === 'kills' || as === 'hangs' ? 8 : 1);
  },
  120_000,
);

/** Each start computes the golden vectors; calls after which it fails are so far apart that it can come up between two. */
const PROOF_CALLS = 20;
const APART = 2 * PROOF_CALLS;

test('a process that dies, hangs and does not come up again by chance costs no picture', async () => {
  const [first, second, third, fourth] = [1, 2, 3, 4].map((n) => n * APART) as [number, number, number, number];
  const script = { ...NO_FAILURES, deathsAt: [first], diesAfter: [second, fourth], hangsAt: [third], failedStarts: [3] };
  // Small batches: pictures are still waiting when the failures come, however fast the machine.
  const played = await play({ script, marks: unmarked(96), maxBatch: 2, untilCalls: fourth + 1 });
  await check(played);
  // The first, one after each of the four failures, and one more for the start that failed.
  expect(played.starts).toBeGreaterThanOrEqual(6);
}, 120_000);

test('a process whose memory creeps is replaced, again and again, and nothing is lost', async () => {
  const played = await play({
    script: { ...NO_FAILURES, leaksBytesPerCall: 20 * MiB },
    marks: unmarked(96),
    encoder: { recycleGrowthBytes: 200 * MiB, maxBatchMs: 10 },
    untilCalls: 2 * APART,
  });
  await check(played);
  expect(played.starts).toBeGreaterThan(1);
}, 120_000);

test('whatever fails, in whatever order: no picture is lost, none is there twice, only the marked ones fail', async () => {
  const chance = fc.constantFrom('deathsAt', 'diesAfter', 'hangsAt', 'nothing');
  const scripts = fc
    .record({
      chances: fc.array(chance, { maxLength: 4 }),
      outOfMemoryAbove: fc.constantFrom(1, 2, 4, 8),
      outOfMemoryFrom: fc.integer({ min: 0, max: 60 }),
      outOfMemoryUntil: fc.integer({ min: 0, max: 120 }),
      failedStarts: fc.uniqueArray(fc.integer({ min: 2, max: 6 }), { maxLength: 1 }),
      leaksBytesPerCall: fc.constantFrom(0, 4 * MiB),
    })
    .map(({ chances, ...script }): FailureScript => {
      const at = (which: string) => chances.flatMap((one, n) => (one === which ? [(n + 1) * APART] : []));
      return { ...script, deathsAt: at('deathsAt'), diesAfter: at('diesAfter'), hangsAt: at('hangsAt') };
    });
  const picture = fc.oneof(
    { weight: 25, arbitrary: fc.constant(null) },
    { weight: 1, arbitrary: fc.constantFrom<Mark>('kills', 'hangs') },
    { weight: 2, arbitrary: fc.constantFrom<Mark>('fails', 'blanks') },
  );
  const marks = fc.array(picture, { minLength: 24, maxLength: 64, size: 'max' });
  await fc.assert(
    fc.asyncProperty(scripts, marks, async (script, drawn) => {
      await check(await play({ script, marks: drawn, encoder: { recycleGrowthBytes: 150 * MiB } }));
    }),
    { numRuns: 3, seed: 20_261_123, endOnFailure: true },
  );
}, 240_000);
