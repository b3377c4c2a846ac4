import { newId } from '@sightline/shared/contracts/ids';
import type { JobData } from '@sightline/shared/contracts/jobs';
import { driveChanges } from '@sightline/shared/ingestion/drive-changes';
import { fencedIndex } from '@sightline/shared/ingestion/tenant-fence';
import { FailureStorms, STORM_DEFAULTS, type StormLimits } from '@sightline/shared/ingestion/failure-storms';
import type { EventLog } from '@sightline/shared/ports/event-log';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import type { RunningService } from '@sightline/shared/runtime/lifecycle';
import type { QueueEngine } from '@sightline/shared/ports/queue-engine';
import { sleep } from '@sightline/shared/runtime/sleep';
import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import { openSqliteDoubts } from './adapters/sqlite-doubts.ts';
import { openSqliteExpectedSet } from './adapters/sqlite-expected-set.ts';
import { openSqliteItemLines } from './adapters/sqlite-item-lines.ts';
import { openAuditMetrics } from './audit-metrics.ts';
import { Backlog } from './core/backlog.ts';
import type { ChangeFeed } from './core/change-feed.ts';
import { KeptLines } from './core/kept-lines.ts';
import type { ChunkRef, Handing, PlanDeps } from './core/plan-deps.ts';
import { noticeChanges } from './core/notice-changes.ts';
import { startSweeper } from './sweeper.ts';
import { ingestHandlers } from './worker.ts';

export interface IngestWorkerConfig {
  /** Ingestions that are planned at once. */
  concurrency: number;
  /** Chunks of a tenant, and of all together, that may be owed before planning pauses. */
  highWaterChunks: number;
  highWaterChunksTotal: number;
  /** Objects of a chunk. */
  chunkObjects: number;
  /** When failures that planning finds are more than single objects' own. */
  storm: StormLimits;
  /** How long a planner that died keeps others from its ingestion. */
  leaseTtlMs: number;
  sweepEveryMs: number;
  sweepChunksEveryMs: number;
  sweepChunksOlderThanMs: number;
  /** Between two looks at the changes that are owed. */
  sweepChangesEveryMs: number;
  /** Changes that may be owed before nothing more is taken from the feeds. */
  highWaterChanges: number;
  /** How long finished ingestions and their failures are kept. */
  keepIngestionsMs: number;
  /** How long the index keeps tombstones of what no user removed. */
  keepTombstonesMs: number;
  /** Audits that are carried out at once: each reads a tenant's sources and its index to their ends. */
  auditConcurrency: number;
  /** How often each tenant with sources is audited, and whether what differs is repaired then; null: only by request. */
  auditSchedule: { everyMs: number; repair: boolean } | null;
  /** How much later such an audit looks again at what differs. */
  auditGraceMs: number;
  /** Between two looks at the audits that are not over. */
  sweepAuditsEveryMs: number;
  drainMs: number;
}

const AUDIT_SCHEDULE = 'audits';

const DEFAULTS: IngestWorkerConfig = {
  concurrency: 4,
  highWaterChunks: 256,
  highWaterChunksTotal: 1_024,
  chunkObjects: 64,
  storm: STORM_DEFAULTS,
  leaseTtlMs: 15_000,
  // What an ingestion waits for at its end; a look is one small query of the ledger.
  sweepEveryMs: 250,
  sweepChunksEveryMs: 30_000,
  sweepChunksOlderThanMs: 60_000,
  sweepChangesEveryMs: 1_000,
  highWaterChanges: 100_000,
  keepIngestionsMs: 30 * 24 * 3_600_000,
  keepTombstonesMs: 30 * 24 * 3_600_000,
  auditConcurrency: 2,
  auditSchedule: null,
  auditGraceMs: 60_000,
  sweepAuditsEveryMs: 2_000,
  // A listing goes on from its cursor at the next start: to wait for its end would only use the deadline up.
  drainMs: 2_000,
};

export interface IngestWorkerDeps {
  store: ObjectStore;
  index: VectorIndex;
  ledger: Ledger;
  events: EventLog;
  queue: QueueEngine;
  /** Where changes of the sources are heard of; closed with the service. */
  feeds: ChangeFeed[];
  logger: Logger;
  registry: Registry;
  /** What is left out has its default. */
  config: Partial<IngestWorkerConfig>;
}

/** Starts planning and finishing ingestions, and the sweep that makes the ledger's word good. */
export async function startIngestWorker(deps: IngestWorkerDeps): Promise<RunningService> {
  const { store, ledger, events, queue, logger } = deps;
  const index = fencedIndex(deps.index, ledger);
  const config: IngestWorkerConfig = { ...DEFAULTS, ...deps.config };
  const enqueueChunk = async ({ tenant, ingestionId, chunkNo }: ChunkRef, { traceId, place, again }: Handing): Promise<void> => {
    const fingerprints = { image: index.spec.image.fingerprint, text: index.spec.text.fingerprint };
    const data = { tenant, ingestionId, chunkNo, fingerprints, traceId };
    await queue.add('encode', data, { lane: 'bulk', jobId: `${ingestionId}-${chunkNo}`, place, ...(again && { again }) });
  };
  const backlog = new Backlog(ledger, { perTenantChunks: config.highWaterChunks, totalChunks: config.highWaterChunksTotal });
  const keptLines = new KeptLines();
  const planDeps: PlanDeps = {
    store,
    index,
    ledger,
    events,
    logger,
    enqueueChunk,
    openItemLines: openSqliteItemLines,
    openExpectedSet: openSqliteExpectedSet,
    keptLines,
    backlog,
    storms: new FailureStorms(config.storm),
    now: Date.now,
    sleep,
    chunkEntries: config.chunkObjects,
    leaseTtlMs: config.leaseTtlMs,
  };
  gaugeLedger(deps.registry, ledger);
  gaugeChanges(deps.registry, ledger);
  const drive = (tenant: string, count: number): Promise<void> =>
    driveChanges({ queue, spec: index.spec }, { tenant, count, traceId: newId() });
  const notice = { ledger, drive, logger, now: Date.now, sleep, highWaterChanges: config.highWaterChanges };
  const enqueueAudit = (audit: JobData<'audit'>): Promise<void> =>
    queue.add('audit', audit, { lane: 'bulk', jobId: `audit-${audit.auditId}` });
  const handlers = ingestHandlers(planDeps, {
    ...planDeps,
    openDoubts: openSqliteDoubts,
    graceMs: config.auditGraceMs,
    enqueueAudit,
    ...openAuditMetrics(deps.registry, ledger),
  });
  const workers = [
    await queue.work('plan', handlers.plan, { concurrency: config.concurrency }),
    await queue.work('audit', handlers.audit, { concurrency: config.auditConcurrency }),
    await queue.work('audit-due', handlers['audit-due'], { concurrency: 1 }),
  ];
  await scheduleAudits(queue, config.auditSchedule);
  const sweeper = startSweeper(
    {
      ledger,
      index,
      store,
      backlog,
      enqueuePlan: ({ tenant, ingestionId }) =>
        queue.add('plan', { tenant, ingestionId, traceId: newId() }, { lane: 'event', jobId: `plan-${ingestionId}` }),
      enqueueChunk: (chunk, handing) => enqueueChunk(chunk, { ...handing, traceId: newId() }),
      driveChanges: drive,
      enqueueAudit,
      now: Date.now,
    },
    {
      everyMs: config.sweepEveryMs,
      chunksEveryMs: config.sweepChunksEveryMs,
      chunksOlderThanMs: config.sweepChunksOlderThanMs,
      changesEveryMs: config.sweepChangesEveryMs,
      auditsEveryMs: config.sweepAuditsEveryMs,
      keepIngestionsMs: config.keepIngestionsMs,
      keepTombstonesMs: config.keepTombstonesMs,
    },
    logger,
  );
  try {
    for (const feed of deps.feeds) await feed.start((noticed, signal) => noticeChanges(notice, noticed, signal));
  } catch (error) {
    await sweeper.stop();
    await Promise.all(workers.map((worker) => worker.close(0)));
    throw error;
  }
  return {
    name: 'ingest-worker',
    ready: async () => {
      await queue.ping();
      await ledger.countOutstandingChunks();
      for (const feed of deps.feeds) await feed.ping();
    },
    close: async () => {
      await Promise.all(deps.feeds.map((feed) => feed.close()));
      await sweeper.stop();
      await Promise.all(workers.map((worker) => worker.close(config.drainMs)));
      keptLines.close();
    },
  };
}

function gaugeChanges(registry: Registry, ledger: Ledger): void {
  const owed = new Gauge({
    name: 'sightline_changes_owed',
    help: 'Changes that were told of and that the index does not show yet.',
    registers: [registry],
    collect: async () => {
      owed.reset();
      oldest.reset();
      const all = await ledger.owedChanges(Date.now()).catch(() => null);
      if (!all) return;
      owed.set(all.reduce((sum, one) => sum + one.owed, 0));
      oldest.set(all.length === 0 ? 0 : Math.max(0, Date.now() - Math.min(...all.map((one) => one.oldestNoticedAt))) / 1000);
    },
  });
  const oldest = new Gauge({
    name: 'sightline_changes_oldest_seconds',
    help: 'How long the oldest owed change has been known of.',
    registers: [registry],
  });
}

/** One schedule of the stack, whichever worker sets it up; turned off it is ended by the next that starts. */
async function scheduleAudits(queue: QueueEngine, schedule: IngestWorkerConfig['auditSchedule']): Promise<void> {
  if (schedule) await queue.schedule('audit-due', AUDIT_SCHEDULE, schedule, { lane: 'bulk', everyMs: schedule.everyMs });
  else await queue.unschedule('audit-due', AUDIT_SCHEDULE);
}

function gaugeLedger(registry: Registry, ledger: Ledger): void {
  const owed = new Gauge({
    name: 'sightline_ledger_outstanding_chunks',
    help: 'Chunks that are owed, in the queue or not.',
    registers: [registry],
    collect: async () => {
      // A ledger that does not answer leaves the value out.
      owed.reset();
      const count = await ledger.countOutstandingChunks().catch(() => null);
      if (count !== null) owed.set(count);
    },
  });
}
