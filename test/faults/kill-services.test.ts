import { afterAll, afterEach, beforeAll, expect } from '@jest/globals';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { indexView } from '@sightline/shared/contracts/http';
import { makeBadPictures } from '../../scripts/make-bad-pictures.ts';
import { ProductionStack, stackMissing } from '../harness/production-stack.ts';
import { FAULT_TIMEOUT_MS, faultTest } from './fault-test.ts';
import { expectWhole } from './oracle.ts';

const OBJECTS = 3_000;
const RECORDS = 200;

let stack: ProductionStack;
beforeAll(async () => {
  if (stackMissing) return;
  stack = await ProductionStack.open({
    // Listing goes on while pictures are encoded.
    env: { HIGH_WATER_CHUNKS: '8' },
    moreProcesses: [{ name: 'encode-bulk-2', service: 'encode-worker', env: { LANES: 'event,bulk' } }],
  });
}, FAULT_TIMEOUT_MS);
afterEach(() => stack?.startAll());
afterAll(async () => {
  const ends = await stack?.stopAll();
  await stack?.close();
  expect(ends ?? []).toEqual([]);
}, FAULT_TIMEOUT_MS);

faultTest(
  'a kill -9 of each service through an ingestion of 3,000 objects loses nothing and repeats nothing',
  null,
  async (random) => {
    const bucket = stack.newBucket();
    await bucket.putPictures(OBJECTS);
    await bucket.putManifest(RECORDS);

    const ingestionId = await stack.ingest(bucket.source);
    const extra = [random.pick(stack.processNames), 'ingest-worker', 'encode-bulk'];
    const victims = random.shuffled([...stack.processNames, ...extra]);
    // From the first moments to the last, when it is reconciled.
    const moments = victims.map(() => Math.floor(random.next() * 1.05 * OBJECTS)).toSorted((a, b) => a - b);
    for (const [n, victim] of victims.entries()) {
      await stack.waitForDone(ingestionId, Math.min(moments[n] ?? 0, OBJECTS));
      await stack.kill(victim);
      await sleep(random.whole(0, 1_500));
      stack.launch(victim);
    }
    await stack.startAll();
    await expectWhole(stack, ingestionId, { listed: OBJECTS });

    const manifestId = await stack.ingest(bucket.manifest);
    await stack.waitForDone(manifestId, random.whole(0, RECORDS / 2));
    await Promise.all(['ingest-worker', 'encode-bulk', 'encode-bulk-2'].map((name) => stack.kill(name)));
    await stack.startAll();
    await expectWhole(stack, manifestId, { listed: RECORDS + 1 });
  },
);

faultTest(
  'SIGTERM in mid-batch ends every service with 0 in time, and what it had begun is done by the next start',
  null,
  async () => {
    const bucket = stack.newBucket();
    await bucket.putPictures(600);
    const ingestionId = await stack.ingest(bucket.source);
    await stack.waitForDone(ingestionId, 64);
    const startedAt = performance.now();
    expect(await stack.stopAll()).toEqual([]);
    expect(performance.now() - startedAt).toBeLessThan(25_000);
    await stack.startAll();
    await expectWhole(stack, ingestionId, { listed: 600 });
  },
);

faultTest('a worker that stands still beyond its lock and its leases does not write when it goes on', null, async () => {
  const bucket = stack.newBucket();
  const keys = await bucket.putPictures(640);
  const { assets } = await stack.client.get('/v1/index', indexView);
  const ingestionId = await stack.ingest(bucket.source);
  while ((await stack.client.get('/v1/index', indexView)).assets === assets) await sleep(20);
  const stalled = stack.process('encode-bulk');
  stalled.signal('SIGSTOP');
  await sleep(3_000);
  // Chunks of it are under way, and nobody else may have them yet.
  expect((await stack.progress(ingestionId)).status).not.toBe('completed');
  await stack.waitForEnd(ingestionId);

  // Its pictures are others now, and another worker has written them.
  for (const [n, key] of keys.entries()) await bucket.put(key, await bucket.picture(n + 100_000));
  const again = await stack.ingest(bucket.source);
  const { counts } = await stack.waitForEnd(again);
  expect(counts).toMatchObject({ listed: 640, unchanged: 0, failed: 0 });
  stalled.signal('SIGCONT');
  await sleep(5_000);
  // It noticed, instead of having been lucky.
  expect(stalled.output).toMatch(/lease_lost|lock lost/);
  await expectWhole(stack, again, { listed: 640 });
});

faultTest(
  'bad pictures fail alone, each with its code, and a retry after they were mended ends without failures',
  null,
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sightline-bad-'));
    try {
      const bucket = stack.newBucket();
      await bucket.putPictures(100);
      const expected = await makeBadPictures(folder);
      for (const name of Object.keys(expected)) await bucket.put(`pictures/${name}`, readFileSync(join(folder, name)));
      const failures = Object.fromEntries(
        Object.entries(expected).flatMap(([name, code]) => (code === null ? [] : [[`pictures/${name}`, code]])),
      );
      const listed = 100 + Object.keys(expected).length;
      const ingestionId = await stack.ingest(bucket.source);
      await expectWhole(stack, ingestionId, { listed, failures });

      let mended = 200_000;
      for (const key of Object.keys(failures)) await bucket.put(key, await bucket.picture(mended++));
      await expectWhole(stack, await stack.ingest(bucket.source), { listed });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);

faultTest(
  'objects that are deleted while they are ingested leave no point behind, and the audit sees what differs',
  null,
  async (random) => {
    const bucket = stack.newBucket();
    const keys = await bucket.putPictures(400);
    const ingestionId = await stack.ingest(bucket.source);
    const doomed = random.shuffled(keys).slice(0, 80);
    for (const key of doomed) await bucket.delete(key);
    await stack.waitForEnd(ingestionId);
    const again = await stack.ingest(bucket.source);
    await expectWhole(stack, again, { listed: 320 });

    // The oracle itself sees what is not so.
    const [changed = '', removed = ''] = keys.filter((key) => !doomed.includes(key));
    await bucket.put('pictures/new.jpg', await bucket.picture(400_000));
    await bucket.put(changed, await bucket.picture(400_001));
    await bucket.delete(removed);
    const [audit] = (await stack.audit()).tenants;
    expect(audit?.findings).toEqual({ missing: 1, extra: 1, stale: 1, duplicate: 0, malformed: 0 });
    await expectWhole(stack, await stack.ingest(bucket.source), { listed: 320 });
  },
);
