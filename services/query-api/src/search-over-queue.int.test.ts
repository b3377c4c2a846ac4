import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { openQueueEngine } from '@sightline/shared/adapters/bullmq-queue-engine';
import { openEmbeddedPostgres } from '@sightline/shared/adapters/embedded-postgres';
import { InProcessEventLog } from '@sightline/shared/adapters/in-process-event-log';
import { LocalObjectStore } from '@sightline/shared/adapters/local-object-store';
import { SqliteLedger } from '@sightline/shared/adapters/sqlite-ledger';
import { openSqliteVectorIndex } from '@sightline/shared/adapters/sqlite-vector-index';
import { problem, searchResponse } from '@sightline/shared/contracts/http';
import { DEFAULT_TENANT, pictureAssetId } from '@sightline/shared/contracts/ids';
import { analyse } from '@sightline/shared/retrieval/analyser';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { Closer } from '@sightline/shared/runtime/lifecycle';
import type { JobWorker } from '@sightline/shared/ports/queue-engine';
import { startQueryApi } from './service.ts';
import { pictureDataUrl } from './testing/query-api-rig.ts';
import { answerEncodeQuery, encodeColour, encodeText, toySpec } from '@sightline/shared/testing/toy-encoder';

const logger = pino({ level: 'silent' });
const closer = new Closer(logger);
const encodeTimeoutMs = 2_000;
let service: Awaited<ReturnType<typeof startQueryApi>>;
let worker: JobWorker;

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-query-api-'));
  closer.push('folder', () => rm(folder, { recursive: true, force: true }));
  const postgres = await openEmbeddedPostgres({ dataDir: folder }, { logger });
  closer.push('postgres', () => postgres.close());
  const queue = await openQueueEngine({ postgresUrl: postgres.url }, { logger });
  closer.push('queue', () => queue.close());
  const store = new LocalObjectStore({ dataDir: folder });
  const index = await openSqliteVectorIndex({ file: join(folder, 'index.db'), spec: toySpec });
  closer.push('index', () => index.close());
  const ledger = await SqliteLedger.open({ file: join(folder, 'ledger.db') });
  closer.push('ledger', () => ledger.close());
  const assetId = pictureAssetId(DEFAULT_TENANT, 'catalogue', 'lamp.png');
  const common = { assetId, tenant: DEFAULT_TENANT, indexedAt: Date.now() };
  const object = { bucket: 'catalogue', key: 'lamp.png', eTag: 'e' };
  await index.writePictures([
    {
      ...common,
      object,
      sha256: 'ab'.repeat(32),
      sizeBytes: 1,
      widthPx: 1,
      heightPx: 1,
      vector: encodeColour([0, 1, 0]),
      imageVersion: 1,
    },
  ]);
  const records = [{ itemId: 'lamp', title: 'Lamp', text: 'A reading lamp.', attributes: {}, pictures: [], pushed: false }];
  await index.writeRecords([
    {
      ...common,
      kind: 'picture',
      object,
      passageNo: 0,
      records,
      keywords: analyse('Lamp A reading lamp.'),
      vector: encodeText('A reading lamp.'),
      recordVersion: 2,
    },
  ]);
  worker = await queue.work(
    'encode-query',
    async (data) => {
      if (data.query === 'a truncated picture') throw new SightlineError('picture_truncated', 'It ends early.');
      return answerEncodeQuery(data, store);
    },
    { concurrency: 2 },
  );
  service = await startQueryApi({
    store,
    index,
    ledger,
    events: new InProcessEventLog(),
    queue,
    logger,
    registry: new Registry(),
    config: { port: 0, encodeTimeoutMs },
  });
  closer.push('service', () => service.close());
}, 60_000);
afterAll(() => closer.closeAll(20_000), 30_000);

async function search(body: object) {
  const response = await fetch(`${service.url}/v1/search`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return response.json();
}

test('words and a picture are encoded by a worker behind the queue', async () => {
  expect((await fetch(`${service.url}/readyz`)).status).toBe(200);
  const answer = searchResponse.parse(
    await search({ query: 'lamp', image: { data: await pictureDataUrl([0, 1, 0]) }, explain: true }),
  );
  expect(answer).toMatchObject({
    degraded: false,
    results: [{ item_id: 'lamp', explain: { image: { rank: 1 }, words: { rank: 1 }, text: { rank: 1 } } }],
  });
});

test("a worker's refusal of a picture comes through with its code", async () => {
  const answer = problem.parse(await search({ query: 'a truncated picture', image: { data: await pictureDataUrl([1, 1, 0]) } }));
  expect(answer).toMatchObject({ code: 'picture_truncated', status: 422, detail: 'It ends early.' });
});

test('when no worker is left, the keywords answer within the time limit', async () => {
  await worker.close(5_000);
  const startedAt = performance.now();
  const answer = searchResponse.parse(await search({ query: 'reading lamp' }));
  expect(answer).toMatchObject({ degraded: true, results: [{ item_id: 'lamp' }] });
  expect(performance.now() - startedAt).toBeLessThan(encodeTimeoutMs + 2_000);
  expect(problem.parse(await (await fetch(`${service.url}/readyz`)).json())).toMatchObject({ code: 'encoder_unavailable' });
});
