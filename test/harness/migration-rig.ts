import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleepFor } from 'node:timers/promises';
import { randomUUID } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import type { z } from 'zod';
import { MIGRATION_SETTINGS, type MigrationSettings } from '@sightline/encode-worker/core/migration/migration-deps';
import { startEncodeWorker } from '@sightline/encode-worker/service';
import type { HashEncoder } from '@sightline/encode-worker/testing/hash-encoder';
import { openSqliteDoubts } from '@sightline/ingest-worker/adapters/sqlite-doubts';
import { openSqliteExpectedSet } from '@sightline/ingest-worker/adapters/sqlite-expected-set';
import { openSqliteItemLines } from '@sightline/ingest-worker/adapters/sqlite-item-lines';
import { auditIndex, type AuditReport } from '@sightline/ingest-worker/core/audit';
import { startIngestWorker } from '@sightline/ingest-worker/service';
import { createQueryApi } from '@sightline/query-api/service';
import { openQueueEngine } from '@sightline/shared/adapters/bullmq-queue-engine';
import { InProcessEventLog } from '@sightline/shared/adapters/in-process-event-log';
import { LocalObjectStore } from '@sightline/shared/adapters/local-object-store';
import { SqliteLedger } from '@sightline/shared/adapters/sqlite-ledger';
import { sqliteIndexVersions } from '@sightline/shared/adapters/sqlite-index-versions';
import { ingestionAccepted, ingestionView, type IngestionView } from '@sightline/shared/contracts/http';
import { DEFAULT_TENANT } from '@sightline/shared/contracts/ids';
import { migrationView, type MigrationView } from '@sightline/shared/contracts/migration-http';
import { ServingIndex } from '@sightline/shared/migration/serving-index';
import type { IndexVersions } from '@sightline/shared/ports/index-versions';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { PointCopy } from '@sightline/shared/ports/vector-index';
import { Closer } from '@sightline/shared/runtime/lifecycle';
import { sleep } from '@sightline/shared/runtime/sleep';

const FAST: MigrationSettings = {
  ...MIGRATION_SETTINGS,
  leaveMs: 500,
  retryMs: 200,
  leaseTtlMs: 2_000,
  sampleQueries: 12,
  queryTimeoutMs: 30_000,
};

/**
 * All services but the encoder's real pack: BullMQ, the ledger, the object store in files, and versions of the index, with a follower
 * of its own in each service, as in processes of their own.
 */
export class MigrationRig {
  readonly folder: string;
  readonly ledger: Ledger;
  readonly versions: IndexVersions;
  readonly store: LocalObjectStore;
  app!: FastifyInstance;
  readonly #closer: Closer;
  readonly #events: InProcessEventLog;
  readonly #postgresUrl: string;
  readonly #logger = pino({ level: process.env['RIG_LOG'] ?? 'silent' });

  private constructor(parts: { folder: string; ledger: Ledger; versions: IndexVersions; postgresUrl: string }) {
    this.folder = parts.folder;
    this.ledger = parts.ledger;
    this.versions = parts.versions;
    this.#postgresUrl = parts.postgresUrl;
    this.store = new LocalObjectStore({ dataDir: join(parts.folder, 'data') });
    this.#closer = new Closer(this.#logger);
    this.#events = new InProcessEventLog({ retryMs: 5 });
  }

  static async open(postgresUrl: string, versions?: IndexVersions): Promise<MigrationRig> {
    const folder = await mkdtemp(join(tmpdir(), 'sightline-migration-'));
    await mkdir(join(folder, 'data'), { recursive: true });
    await mkdir(join(folder, 'source'), { recursive: true });
    const ledger = await SqliteLedger.open({ file: join(folder, 'data', 'ledger.db') });
    return new MigrationRig({
      folder,
      ledger,
      versions: versions ?? sqliteIndexVersions({ file: join(folder, 'data', 'index.db') }),
      postgresUrl,
    });
  }

  get source(): string {
    return join(this.folder, 'source');
  }

  async write(key: string, content: string): Promise<void> {
    const path = join(this.source, key);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }

  async remove(key: string): Promise<void> {
    await rm(join(this.source, key), { force: true });
  }

  /** The encode worker of a pack, as a process of its own has it. The answer ends it. */
  async startPack(
    encoder: HashEncoder,
    change: { ledger?: Ledger; versions?: IndexVersions; settings?: Partial<MigrationSettings> } = {},
  ): Promise<() => Promise<void>> {
    await this.versions.found(encoder.spec);
    const closer = new Closer(this.#logger);
    try {
      await this.#openPack(encoder, change, closer);
    } catch (error) {
      await closer.closeAll(20_000);
      throw error;
    }
    const close = (): Promise<void> => closer.closeAll(20_000);
    this.#closer.push(`pack ${encoder.packName}`, close);
    return close;
  }

  async #openPack(
    encoder: HashEncoder,
    change: { ledger?: Ledger; versions?: IndexVersions; settings?: Partial<MigrationSettings> },
    closer: Closer,
  ): Promise<void> {
    const queue = await openQueueEngine({ postgresUrl: this.#postgresUrl }, { logger: this.#logger });
    closer.push('queue', () => queue.close());
    const ledger = change.ledger ?? this.ledger;
    const versions = change.versions ?? this.versions;
    const index = await this.follower(closer, { ledger, versions });
    const worker = await startEncodeWorker({
      store: this.store,
      events: this.#events,
      queue,
      logger: this.#logger,
      registry: new Registry(),
      ledger,
      versions,
      index,
      encoder,
      config: { drainMs: 1_000, migration: { ...FAST, ...change.settings } },
    });
    closer.push('encode worker', () => worker.close());
  }

  /** The other services. */
  async startServices(): Promise<void> {
    const closer = this.#closer;
    const queue = await openQueueEngine({ postgresUrl: this.#postgresUrl }, { logger: this.#logger });
    closer.push('queue', () => queue.close());
    const common = { store: this.store, ledger: this.ledger, events: this.#events, queue, logger: this.#logger };
    const ingest = await startIngestWorker({
      ...common,
      index: await this.follower(closer),
      registry: new Registry(),
      feeds: [],
      config: { sweepEveryMs: 50, sweepChunksEveryMs: 500, sweepChunksOlderThanMs: 1_000, drainMs: 1_000, chunkObjects: 16 },
    });
    closer.push('ingest worker', () => ingest.close());
    const { app } = await createQueryApi(
      {
        ...common,
        index: await this.follower(closer),
        registry: new Registry(),
        config: { allowDirectorySources: true, encodeTimeoutMs: 30_000 },
      },
      closer,
    );
    await app.ready();
    this.app = app;
  }

  async follower(
    closer: Closer,
    { ledger, versions }: { ledger: Ledger; versions: IndexVersions } = this,
  ): Promise<ServingIndex> {
    const index = await ServingIndex.open({ versions, ledger, logger: this.#logger, now: Date.now, sleep, keepOpenMs: 2_000 });
    closer.push('index', () => index.close());
    return index;
  }

  /** A request as one over the loopback interface. */
  inject(method: 'GET' | 'POST' | 'DELETE', url: string, payload?: object) {
    return this.app.inject({ method, url, headers: { host: '127.0.0.1:8080' }, ...(payload && { payload }) });
  }

  async call<T>(method: 'GET' | 'POST' | 'DELETE', url: string, schema: z.ZodType<T>, payload?: object): Promise<T> {
    const response = await this.inject(method, url, payload);
    if (response.statusCode >= 300) throw new Error(`${method} ${url}: ${response.statusCode} ${response.body}`);
    return schema.parse(response.json());
  }

  async ingest(source: object = { type: 'directory', path: this.source }): Promise<IngestionView> {
    const accepted = await this.call('POST', '/v1/ingestions', ingestionAccepted, { source });
    for (const endsAt = Date.now() + 120_000; ; await sleepFor(30)) {
      const view = await this.call('GET', accepted.links.self, ingestionView);
      if (['completed', 'failed', 'cancelled'].includes(view.status)) return view;
      if (Date.now() > endsAt) throw new Error(`the ingestion does not end: ${JSON.stringify(view)}`);
    }
  }

  migration(id: string): Promise<MigrationView> {
    return this.call('GET', `/v1/migrations/${id}`, migrationView);
  }

  act(id: string, action: string, payload?: object): Promise<MigrationView> {
    return this.call('POST', `/v1/migrations/${id}/${action}`, migrationView, payload);
  }

  async until(id: string, is: (view: MigrationView) => boolean, timeoutMs = 120_000): Promise<MigrationView> {
    for (const endsAt = Date.now() + timeoutMs; ; await sleepFor(30)) {
      const view = await this.migration(id);
      if (is(view)) return view;
      if (Date.now() > endsAt) throw new Error(`the migration does not get there: ${JSON.stringify(view)}`);
    }
  }

  /** Until no version is owed anything. */
  async settled(...versions: number[]): Promise<void> {
    for (const endsAt = Date.now() + 30_000; ; await sleepFor(30)) {
      const counts = await Promise.all(versions.map((version) => this.ledger.countCopies(version)));
      if (counts.every(({ owed }) => owed === 0)) return;
      if (Date.now() > endsAt) throw new Error(`still owed: ${JSON.stringify(counts)}`);
    }
  }

  /** Every point of a version, by id. */
  async points(version: number): Promise<Map<string, PointCopy>> {
    const index = await this.versions.open(version);
    try {
      const points = new Map<string, PointCopy>();
      for (const tenant of await index.tenants())
        for (const copy of await index.copies(tenant, { limit: 100_000 })) points.set(copy.assetId, copy);
      return points;
    } finally {
      await index.close();
    }
  }

  async audit(): Promise<AuditReport & { list: unknown[] }> {
    const closer = new Closer(this.#logger);
    const list: unknown[] = [];
    const index = await this.follower(closer);
    const { store, ledger } = this;
    const sets = { openItemLines: openSqliteItemLines, openExpectedSet: openSqliteExpectedSet, openDoubts: openSqliteDoubts };
    const looks = auditIndex({ store, ledger, index, ...sets, sleep }, DEFAULT_TENANT, { place: null, graceMs: 0 });
    let next = await looks.next();
    for (; !next.done; next = await looks.next()) list.push(next.value);
    const report = next.value;
    await closer.closeAll(5_000);
    return { ...report, list };
  }

  async close(): Promise<void> {
    await this.#closer.closeAll(40_000);
    await this.#events.close();
    await this.ledger.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A name for whatever must not meet another test's. */
export function freshName(): string {
  return `test_${randomUUID()}`;
}
