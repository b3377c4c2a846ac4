import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import sharp from 'sharp';
import type { z } from 'zod';
import { InProcessEventLog } from '@sightline/shared/adapters/in-process-event-log';
import { LocalObjectStore } from '@sightline/shared/adapters/local-object-store';
import { SqliteLedger } from '@sightline/shared/adapters/sqlite-ledger';
import { openSqliteVectorIndex } from '@sightline/shared/adapters/sqlite-vector-index';
import { DEFAULT_TENANT, passageAssetId, pictureAssetId } from '@sightline/shared/contracts/ids';
import { JOBS, type JobData, type JobName } from '@sightline/shared/contracts/jobs';
import { pointRecord } from '@sightline/shared/contracts/records';
import type { EventLog } from '@sightline/shared/ports/event-log';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { analyse } from '@sightline/shared/retrieval/analyser';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { Closer } from '@sightline/shared/runtime/lifecycle';
import type { AddOptions, QueueEngine } from '@sightline/shared/ports/queue-engine';
import type { queryApiConfig } from '../config.ts';
import type { RateLimitStore } from '../rate-limits.ts';
import { createQueryApi } from '../service.ts';
import { answerEncodeQuery, encodeColour, encodeText, toySpec } from '@sightline/shared/testing/toy-encoder';

/** The queue port answered in this process: requests go to the toy encoder, added jobs are kept to be looked at. */
export class InProcessQueue implements QueueEngine {
  readonly added: { name: JobName; data: unknown; options: AddOptions }[] = [];
  /** Set to make the queue or the encoder fail as it would. */
  failure: SightlineError | null = null;
  requests = 0;
  readonly #answer: (data: JobData<'encode-query'>) => Promise<unknown>;

  constructor(answer: (data: JobData<'encode-query'>) => Promise<unknown>) {
    this.#answer = answer;
  }

  add: QueueEngine['add'] = async (name, data, options) => {
    if (this.failure) throw this.failure;
    this.added.push({ name, data: JOBS[name].schema.parse(data), options });
  };

  request: QueueEngine['request'] = async (_, data) => {
    this.requests++;
    if (this.failure) throw this.failure;
    return this.#answer(JOBS['encode-query'].schema.parse(data));
  };

  schedule: QueueEngine['schedule'] = () => Promise.reject(new SightlineError('queue_unavailable'));
  unschedule: QueueEngine['unschedule'] = () => Promise.reject(new SightlineError('queue_unavailable'));
  work: QueueEngine['work'] = () => Promise.reject(new SightlineError('queue_unavailable'));
  stats: QueueEngine['stats'] = async () => {
    const none = { waiting: 0, oldestWaitingSeconds: 0 };
    return { ...none, active: 0, delayed: 0, failed: 0, lanes: { interactive: none, event: none, bulk: none } };
  };
  ping = async (): Promise<void> => {
    if (this.failure) throw this.failure;
  };
  close = async (): Promise<void> => {};
}

/** A record; it names no pictures and was not pushed, unless that is said. */
type RigRecord = z.input<typeof pointRecord>;

export interface Rig {
  app: FastifyInstance;
  folder: string;
  /** The source that `addPicture` writes into. */
  bucket: string;
  index: VectorIndex;
  ledger: Ledger;
  store: ObjectStore;
  events: EventLog;
  queue: InProcessQueue;
  /** Of the default tenant, unless another is named. */
  addPicture(key: string, colour: [number, number, number], records: RigRecord[], tenant?: string): Promise<string>;
  addPassage(record: RigRecord, passageNo: number, tenant?: string): Promise<string>;
  close(): Promise<void>;
}

/**
 * query-api over the real SQLite index and ledger and a real folder, without a listening socket; the encoder is a toy. `bucket`: of
 * another rig, for points of the same ids.
 */
export async function openRig(
  config: z.input<typeof queryApiConfig> = {},
  more: { bucket?: string; rateLimitStore?: RateLimitStore } = {},
): Promise<Rig> {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-query-api-'));
  const logger = pino({ level: 'silent' });
  const closer = new Closer(logger);
  closer.push('folder', () => rm(folder, { recursive: true, force: true }));
  const bucket = more.bucket ?? join(folder, 'source');
  const store: ObjectStore = new LocalObjectStore({ dataDir: join(folder, 'data') });
  const index = await openSqliteVectorIndex({ file: join(folder, 'index.db'), spec: toySpec });
  closer.push('index', () => index.close());
  const ledger = await SqliteLedger.open({ file: join(folder, 'ledger.db') });
  closer.push('ledger', () => ledger.close());
  const queue = new InProcessQueue((data) => answerEncodeQuery(data, store));
  const events = new InProcessEventLog({ logger });
  closer.push('event log', () => events.close());
  const ports = { store, index, ledger, events, queue, logger, registry: new Registry() };
  const limits = more.rateLimitStore ? { rateLimitStore: more.rateLimitStore } : {};
  const { app } = await createQueryApi({ ...ports, ...limits, config: { allowDirectorySources: true, ...config } }, closer).catch(
    async (error: unknown) => {
      await closer.closeAll(5_000);
      throw error;
    },
  );
  await app.ready();
  let version = 1;

  return {
    app,
    folder,
    bucket,
    index,
    ledger,
    store,
    events,
    queue,
    async addPicture(key, colour, records, tenant = DEFAULT_TENANT) {
      const [r, g, b] = colour.map((value) => Math.round(value * 255));
      const bytes = await sharp({
        create: { width: 64, height: 48, channels: 3, background: { r: r ?? 0, g: g ?? 0, b: b ?? 0 } },
      })
        .png()
        .toBuffer();
      await store.put({ bucket, key }, bytes, { contentType: 'image/png' });
      const eTag = (await store.head({ bucket, key }))?.eTag ?? '';
      const assetId = pictureAssetId(tenant, bucket, key);
      const common = { assetId, tenant, indexedAt: Date.now() };
      await index.writePictures([
        {
          ...common,
          object: { bucket, key, eTag },
          sha256: 'ab'.repeat(32),
          sizeBytes: bytes.length,
          widthPx: 64,
          heightPx: 48,
          vector: encodeColour(colour),
          imageVersion: version++,
        },
      ]);
      if (records.length > 0) {
        const text = records.map((record) => `${record.title}\n${record.text}`).join('\n');
        await index.writeRecords([
          {
            ...common,
            kind: 'picture',
            object: { bucket, key },
            passageNo: 0,
            records: records.map((record) => pointRecord.parse(record)),
            keywords: analyse(text),
            vector: encodeText(text),
            recordVersion: version++,
          },
        ]);
      }
      return assetId;
    },
    async addPassage(record, passageNo, tenant = DEFAULT_TENANT) {
      const assetId = passageAssetId(tenant, record.itemId, passageNo);
      await index.writeRecords([
        {
          assetId,
          tenant,
          kind: 'passage',
          object: null,
          passageNo,
          records: [pointRecord.parse(record)],
          keywords: analyse(`${record.title}\n${record.text}`),
          vector: encodeText(record.text),
          recordVersion: version++,
          indexedAt: Date.now(),
        },
      ]);
      return assetId;
    },
    close: () => closer.closeAll(5_000),
  };
}

/** A PNG of one colour, as a data URL. */
export async function pictureDataUrl(colour: [number, number, number]): Promise<string> {
  const [r, g, b] = colour.map((value) => Math.round(value * 255));
  const bytes = await sharp({ create: { width: 8, height: 8, channels: 3, background: { r: r ?? 0, g: g ?? 0, b: b ?? 0 } } })
    .png()
    .toBuffer();
  return `data:image/png;base64,${bytes.toString('base64')}`;
}
