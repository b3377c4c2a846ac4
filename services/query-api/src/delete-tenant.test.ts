import { afterEach, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FlowRig } from '@sightline/ingest-worker/testing/flow-rig';
import { DEFAULT_TENANT, SYSTEM_BUCKET, tenantPrefixes } from '@sightline/shared/contracts/ids';
import { acceptsFailuresSetting } from '@sightline/shared/ingestion/failure-storms';
import { fencedIndex, tenantFence } from '@sightline/shared/ingestion/tenant-fence';
import type { PictureWrite } from '@sightline/shared/ports/vector-index';
import { calibrationSetting } from '@sightline/shared/retrieval/relevance';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { newAsked } from '@sightline/shared/testing/question-builder';
import { sleep } from '@sightline/shared/runtime/sleep';
import { deleteTenant } from './core/delete-tenant.ts';
import { sweepDeletedTenants } from './core/deleted-tenants.ts';
import { QuestionWorker } from './testing/question-worker.ts';

const SEED = 20_261_123;
const RUNS = 8;
const PICTURES = 80;
const OTHER = 'other';

let rig: FlowRig;
afterEach(() => rig.close());

const deletion = (drainMs = 0) => {
  const { index, ledger, store } = rig;
  return deleteTenant({ index, ledger, store, now: () => rig.now(), sleep, drainMs }, DEFAULT_TENANT);
};

/** Drives what is left of jobs whose ingestion went away under them, as the queue would. */
async function driveOn(): Promise<void> {
  for (let i = 0; i < 20; i++) {
    try {
      return await rig.drive();
    } catch (error) {
      if (!(error instanceof SightlineError)) throw error;
      expect(['ingestion_not_found', 'lease_lost']).toContain(error.code);
    }
  }
  throw new Error('It does not come to rest.');
}

function picture(tenant: string, n: number, imageVersion: number): PictureWrite {
  return {
    assetId: `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`,
    tenant,
    object: { bucket: 'b', key: `${n}.png`, eTag: 'e' },
    sha256: 'ab'.repeat(32),
    sizeBytes: 1,
    widthPx: 1,
    heightPx: 1,
    vector: Float32Array.from({ length: rig.index.spec.image.dimensions }, (_, i) => (i === 0 ? 1 : 0)),
    imageVersion,
    indexedAt: 1,
  };
}

/** One that waits, one that is being answered, one that is answered. */
async function askQuestions(tenant: string): Promise<void> {
  const worker = new QuestionWorker(rig.ledger, 'w');
  for (const state of ['queued', 'running', 'answered']) {
    const questionId = `${tenant}-${state}`;
    await rig.ledger.createQuestion({ questionId, tenant, traceId: 't', asked: newAsked(), createdAt: 1 }, { maxBacklog: 10 });
    if (state !== 'queued') await worker.take(questionId);
    if (state === 'answered') await worker.answer(tenant, questionId);
  }
}

async function version(): Promise<number> {
  const { token, version: next } = await rig.ledger.leaseKeys(['any'], { ttlMs: 1_000 });
  await rig.ledger.releaseKeys(token);
  return next;
}

test('a deletion takes everything of the tenant, says how many of each, and leaves the others alone', async () => {
  rig = await FlowRig.open();
  for (let i = 0; i < 5; i++) await rig.write(`${i}.png`, `picture ${i}`);
  await rig.write('bad.png', '');
  await rig.run();
  await rig.index.writePictures([picture(OTHER, 1, await version())]);
  await rig.ledger.createIngestion({
    ingestionId: 'o',
    tenant: OTHER,
    source: { type: 'prefix', bucket: 'b', prefix: '' },
    createdAt: 1,
  });
  for (const tenant of [DEFAULT_TENANT, OTHER]) {
    const common = {
      tenant,
      name: 'n',
      scopes: ['read' as const],
      createdAt: 1,
      expiresAt: null,
      revokedAt: null,
      lastUsedAt: null,
    };
    await rig.ledger.addApiKey({ ...common, keyId: `key-${tenant}`, secretHash: tenant });
    await askQuestions(tenant);
    for (const prefix of tenantPrefixes(tenant))
      await rig.store.put({ bucket: SYSTEM_BUCKET, key: `${prefix}a/b` }, Buffer.from('x'), { contentType: 'text/plain' });
  }
  expect(await deletion()).toEqual({
    tenant: DEFAULT_TENANT,
    cancelled_ingestions: 0,
    cancelled_questions: 2,
    points: 5,
    ingestions: 1,
    failures: 1,
    api_keys: 1,
    // The ingestion left a report of its own.
    stored_objects: { queries: 1, questions: 1, thumbnails: 1, reports: 2 },
  });
  expect(await rig.index.count(DEFAULT_TENANT)).toEqual({ live: 0, deleted: 0 });
  expect(await rig.index.count(OTHER)).toEqual({ live: 1, deleted: 0 });
  expect((await rig.ledger.listApiKeys(null)).map(({ tenant }) => tenant)).toEqual([OTHER]);
  expect((await rig.ledger.listIngestions(null, { limit: 10 })).map(({ tenant }) => tenant)).toEqual([OTHER]);
  const left: string[] = [];
  for await (const { key } of rig.store.list({ bucket: SYSTEM_BUCKET, prefix: '' })) left.push(key.split('/')[1] ?? '');
  expect(new Set(left)).toEqual(new Set([OTHER]));
  expect((await rig.ledger.listQuestions(DEFAULT_TENANT, { limit: 10 })).questions).toEqual([]);
  // Who was answering one brings nothing back.
  expect(await new QuestionWorker(rig.ledger, 'w').renew(`${DEFAULT_TENANT}-running`)).toBe('lost');
  expect((await rig.ledger.listQuestions(OTHER, { limit: 10 })).questions.map(({ status }) => status).sort()).toEqual([
    'answered',
    'queued',
    'running',
  ]);
  expect(await deletion()).toMatchObject({ points: 0, ingestions: 0, failures: 0, api_keys: 0, cancelled_questions: 0 });
});

test('a tenant that is deleted in the middle of an ingestion stays deleted, and can begin anew', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 400 }), async (at) => {
      rig = await FlowRig.open();
      for (let i = 0; i < PICTURES; i++) await rig.write(`${i % 7}/${i}.png`, `picture ${i}`);
      await rig.ingest();
      let calls = 0;
      let deleting: ReturnType<typeof deletion> | undefined;
      rig.onCall = () => {
        if (++calls === at) deleting = deletion(5);
      };
      await driveOn();
      rig.onCall = () => {};
      const done = await (deleting ?? deletion());
      expect(done.ingestions).toBe(1);
      await driveOn();
      expect(await rig.index.count(DEFAULT_TENANT)).toEqual({ live: 0, deleted: 0 });
      expect(await rig.ledger.countOutstandingChunks()).toBe(0);
      expect(await rig.ledger.listIngestions(null, { limit: 10 })).toEqual([]);
      expect(await sweepDeletedTenants({ index: rig.index, ledger: rig.ledger, now: () => rig.now(), sleep })).toBe(0);

      expect(await rig.run()).toMatchObject({ status: 'completed', counts: { listed: PICTURES, failed: 0 } });
      expect((await rig.index.count(DEFAULT_TENANT)).live).toBe(PICTURES);
      await rig.close();
    }),
    { seed: SEED, numRuns: RUNS, endOnFailure: true, examples: [[389]] },
  );
  rig = await FlowRig.open();
}, 120_000);

test('what a worker held from before the deletion is refused when it writes late; what is leased after it is not', async () => {
  rig = await FlowRig.open();
  const index = fencedIndex(rig.index, rig.ledger);
  const before = await version();
  await deletion();
  const late = { code: 'lease_lost' };
  await expect(index.writePictures([picture(OTHER, 1, before), picture(DEFAULT_TENANT, 2, before)])).rejects.toMatchObject(late);
  const gone = {
    assetId: picture('', 3, 0).assetId,
    tenant: DEFAULT_TENANT,
    version: before,
    reason: 'gone',
    object: null,
    at: 1,
  } as const;
  await expect(index.delete([gone])).rejects.toMatchObject(late);
  const { tenant, assetId, indexedAt } = picture(DEFAULT_TENANT, 4, 0);
  const record = {
    tenant,
    assetId,
    indexedAt,
    kind: 'passage',
    object: null,
    passageNo: 0,
    records: [],
    keywords: [],
    vector: null,
  } as const;
  await expect(index.writeRecords([{ ...record, records: [], keywords: [], recordVersion: before }])).rejects.toMatchObject(late);
  expect(await rig.index.count(DEFAULT_TENANT)).toEqual({ live: 0, deleted: 0 });
  await index.writePictures([picture(DEFAULT_TENANT, 5, await version())]);
  expect(await rig.index.count(DEFAULT_TENANT)).toEqual({ live: 1, deleted: 0 });
});

test('a write that was past the fence when it was raised, and came after the deletion, is swept; the new life stays', async () => {
  rig = await FlowRig.open();
  const { index, ledger } = rig;
  const sweep = () => sweepDeletedTenants({ index, ledger, now: () => rig.now(), sleep });
  const before = await version();
  await deletion();
  await index.writePictures([picture(DEFAULT_TENANT, 1, before)]);
  expect(await sweep()).toBe(1);
  expect(await index.count(DEFAULT_TENANT)).toEqual({ live: 0, deleted: 0 });

  await index.writePictures([picture(DEFAULT_TENANT, 2, before), picture(DEFAULT_TENANT, 3, await version())]);
  expect(await sweep()).toBe(1);
  expect(await index.count(DEFAULT_TENANT)).toEqual({ live: 1, deleted: 1 });
  expect(await sweep()).toBe(0);
});

test('what a remembered key began after the first pass is dropped by the sweep when the deletion died before its last', async () => {
  rig = await FlowRig.open();
  const { index, ledger, store } = rig;
  for (let i = 0; i < 5; i++) await rig.write(`${i}.png`, `picture ${i}`);
  let ms = rig.now();
  const sweep = () => sweepDeletedTenants({ index, ledger, now: () => ms, sleep });
  const dies = async () => {
    throw new Error('killed');
  };
  const deps = { index, ledger, store, now: () => ms, sleep: dies, drainMs: 3_000 };
  await expect(deleteTenant(deps, DEFAULT_TENANT)).rejects.toThrow('killed');
  await ledger.createIngestion({
    ingestionId: 'late',
    tenant: DEFAULT_TENANT,
    source: { type: 'directory', path: rig.source },
    createdAt: ms + 2_000,
  });
  await rig.drive();
  expect((await index.count(DEFAULT_TENANT)).live).toBe(5);
  // The deletion's own last pass has its time.
  ms += 3_000;
  expect(await sweep()).toBe(0);
  ms += 60_000;
  expect(await sweep()).toBe(5);
  expect(await index.count(DEFAULT_TENANT)).toEqual({ live: 0, deleted: 0 });
  expect(await ledger.listIngestions(DEFAULT_TENANT, { limit: 9 })).toEqual([]);
  // The new life's is not touched.
  expect(await rig.run()).toMatchObject({ status: 'completed', counts: { indexed: 5 } });
  ms += 120_000;
  expect(await sweep()).toBe(0);
  expect((await index.count(DEFAULT_TENANT)).live).toBe(5);
});

test('a deletion leaves no settings: the calibration and the keys go with it, the fence after a day', async () => {
  rig = await FlowRig.open();
  const { index, ledger } = rig;
  const { image, text } = index.spec;
  const calibration = calibrationSetting({ image: image.fingerprint, text: text.fingerprint }, DEFAULT_TENANT);
  await ledger.putSetting(calibration, '{}');
  const id = await rig.ingest();
  await ledger.putSetting(acceptsFailuresSetting(id), 'yes');
  await deletion();
  for (const name of [calibration, acceptsFailuresSetting(id)]) expect(await ledger.getSetting(name)).toBeNull();
  const day = 24 * 3_600_000;
  const sweepAt = (ms: number) => sweepDeletedTenants({ index, ledger, now: () => rig.now() + ms, sleep });
  await sweepAt(day - 60_000);
  expect(await tenantFence(ledger, DEFAULT_TENANT)).toBeGreaterThan(0);
  await sweepAt(day);
  expect(await tenantFence(ledger, DEFAULT_TENANT)).toBe(0);
  expect(await ledger.getSetting('deleted-tenants')).toBe('{}');
});
