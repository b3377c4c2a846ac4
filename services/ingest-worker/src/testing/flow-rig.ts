import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleepFor } from 'node:timers/promises';
import { encodeChanges } from '@sightline/encode-worker/core/encode-changes';
import { encodeChunk } from '@sightline/encode-worker/core/encode-chunk';
import { PictureBatcher } from '@sightline/encode-worker/core/picture-batcher';
import { PictureFeed } from '@sightline/encode-worker/core/picture-feed';
import { HashEncoder } from '@sightline/encode-worker/testing/hash-encoder';
import { removeItem } from '@sightline/query-api/core/remove';
import { InProcessEventLog } from '@sightline/shared/adapters/in-process-event-log';
import { LocalObjectStore } from '@sightline/shared/adapters/local-object-store';
import { SqliteLedger } from '@sightline/shared/adapters/sqlite-ledger';
import { openSqliteVectorIndex } from '@sightline/shared/adapters/sqlite-vector-index';
import type { Change } from '@sightline/shared/contracts/changes';
import { DEFAULT_TENANT, newId } from '@sightline/shared/contracts/ids';
import type { Source } from '@sightline/shared/contracts/records';
import { fencedIndex } from '@sightline/shared/ingestion/tenant-fence';
import { FailureStorms, STORM_DEFAULTS } from '@sightline/shared/ingestion/failure-storms';
import type { Audit } from '@sightline/shared/ports/audit-ledger';
import type { EventLog } from '@sightline/shared/ports/event-log';
import type { Ingestion, Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { toSightlineError } from '@sightline/shared/runtime/errors';
import { pino } from 'pino';
import { openSqliteDoubts } from '../adapters/sqlite-doubts.ts';
import { openSqliteExpectedSet } from '../adapters/sqlite-expected-set.ts';
import { openSqliteItemLines } from '../adapters/sqlite-item-lines.ts';
import { advanceIngestion } from '../core/advance-ingestion.ts';
import { auditIndex, type AuditDeps, type AuditOptions, type AuditReport } from '../core/audit.ts';
import { Backlog } from '../core/backlog.ts';
import type { Noticed } from '../core/change-feed.ts';
import type { Finding } from '../core/compare-point.ts';
import { noticeChanges } from '../core/notice-changes.ts';
import { KeptLines } from '../core/kept-lines.ts';
import type { ChunkRef, Handing, PlanDeps } from '../core/plan-deps.ts';
import { runAudit, type RunAuditDeps } from '../core/run-audit.ts';
import { sweepChunks, sweepIngestions } from '../core/sweep.ts';

/** Thrown where a test lets the process die. */
export class Crash extends Error {}

/** What a worker reads and writes. */
export type WorkerPorts = Pick<PlanDeps, 'store' | 'index' | 'ledger'>;

const LEASE_TTL_MS = 60_000;
const ATTEMPTS = 4;

/** Calls of the ports, in order; a test may throw in it to let the process die before or after the call's effect. */
export type OnCall = (call: string, when: 'before' | 'after') => void | Promise<void>;

/**
 * Both workers' real code over real stores (files, SQLite), driven job by job in place of the queue, so that a test can let
 * the "process" die at any call of a port and start it again.
 */
export class FlowRig {
  readonly folder: string;
  readonly encoder = new HashEncoder();
  readonly ledger: Ledger;
  readonly index: VectorIndex;
  readonly store: ObjectStore;
  /** In memory: it dies with the rig, not with the flow's process. */
  readonly events = new InProcessEventLog({ retryMs: 5 });
  onCall: OnCall = () => {};
  highWaterChunks = 1_000;
  highWaterChunksTotal = 4_000;
  highWaterChanges = 1_000_000;
  chunkEntries = 64;
  storm = STORM_DEFAULTS;
  /** Chunks that were encoded, attempts included. */
  chunkRuns = 0;
  /** Of changes that were worked, in seconds. */
  readonly freshness: number[] = [];
  /** Turns of the sweep that found work. */
  turns = 0;
  /** Of the chunks that were handed out. */
  readonly places: { tenant: string; place: number }[] = [];
  #offsetMs = 0;
  #feedOfAll: PictureFeed | null = null;

  private constructor(folder: string, ports: { ledger: Ledger; index: VectorIndex; store: ObjectStore }) {
    this.folder = folder;
    this.ledger = ports.ledger;
    this.index = ports.index;
    this.store = ports.store;
  }

  /** `folder`: of a rig that another process has or had. */
  static async open(folder?: string): Promise<FlowRig> {
    folder ??= await mkdtemp(join(tmpdir(), 'sightline-flow-'));
    const dataDir = join(folder, 'data');
    await mkdir(dataDir, { recursive: true });
    await mkdir(join(folder, 'source'), { recursive: true });
    const clock = { now: (): number => Date.now() };
    const ledger = await SqliteLedger.open({ file: join(dataDir, 'ledger.db'), now: () => clock.now() });
    const { spec } = new HashEncoder();
    const index = await openSqliteVectorIndex({ file: join(dataDir, 'index.db'), spec });
    const rig = new FlowRig(folder, { ledger, index, store: new LocalObjectStore({ dataDir }) });
    clock.now = () => rig.now();
    return rig;
  }

  /** The source's folder. */
  get source(): string {
    return join(this.folder, 'source');
  }

  now(): number {
    return Date.now() + this.#offsetMs;
  }

  /** What was given back for later, and what a dead worker took, may be taken again; leases last. */
  passClaims(): void {
    this.#offsetMs += 31_000;
  }

  /** A dead worker's leases run out. */
  passLeases(): void {
    this.#offsetMs += LEASE_TTL_MS + 1;
  }

  async write(key: string, content: string): Promise<void> {
    const path = join(this.source, key);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }

  /** Into a bucket of the store's own, as S3 has them. */
  async put(bucket: string, key: string, content: string): Promise<void> {
    await this.store.put({ bucket, key }, Buffer.from(content), { contentType: 'application/octet-stream' });
  }

  async remove(key: string): Promise<void> {
    await rm(join(this.source, key), { force: true });
  }

  async ingest(
    source: Source = { type: 'directory', path: this.source },
    dryRun = false,
    tenant = DEFAULT_TENANT,
  ): Promise<string> {
    const { ingestionId } = await this.ledger.createIngestion({
      ingestionId: newId(),
      tenant,
      source,
      dryRun,
      createdAt: this.now(),
    });
    return ingestionId;
  }

  /** As query-api does it. */
  removeItem(itemId: string): ReturnType<typeof removeItem> {
    const { index, store, ledger, events, encoder } = this;
    const encodePassage = async ({ text }: { text: string }): Promise<Float32Array> => {
      const [encoded] = await encoder.encodeTexts([text]);
      return encoded?.vector ?? new Float32Array();
    };
    const deps = { index, store, ledger, events, now: () => this.now(), sleep, encodePassage };
    return removeItem(deps, { tenant: DEFAULT_TENANT, traceId: 'test' }, itemId);
  }

  /** Writes the changes down as owed, and works what is owed until nothing is. */
  async change(...changes: Change[]): Promise<void> {
    await this.ledger.noteChanges(DEFAULT_TENANT, changes.map((change) => ({ change, changedAt: null })), this.now()); // prettier-ignore
    await this.driveChanges();
  }

  /** Works until nothing is owed. Rejects with Crash when the process died: everything it did at that moment stands still. */
  async drive(turns = 200): Promise<void> {
    const life = new AbortController();
    const deps = this.#deps(life);
    try {
      for (let turn = 0; turn < turns; turn++) {
        const plans: { tenant: string; ingestionId: string }[] = [];
        const chunks = new Map<string, ChunkRef>();
        const enqueueChunk = async (chunk: ChunkRef, { place }: Omit<Handing, 'traceId'>): Promise<void> => {
          this.places.push({ tenant: chunk.tenant, place });
          chunks.set(`${chunk.ingestionId}-${chunk.chunkNo}`, chunk);
        };
        const sweep = {
          ledger: deps.ledger,
          backlog: deps.backlog,
          enqueuePlan: async (plan: { tenant: string; ingestionId: string }) => void plans.push(plan),
          enqueueChunk,
          now: () => this.now(),
        };
        await sweepIngestions(sweep);
        await sweepChunks(sweep, { olderThanMs: 0 });
        if (plans.length + chunks.size === 0) return;
        const planDeps = { ...deps, enqueueChunk };
        this.turns += 1;
        await this.#together(plans, life, (plan, options) => advanceIngestion(planDeps, { ...plan, traceId: 'test' }, options));
        await this.#together([...chunks.values()], life, (chunk, options) => {
          this.chunkRuns += 1;
          const fingerprints = { image: 'hash-image', text: 'hash-text' };
          return encodeChunk(deps.encode, { ...chunk, fingerprints, traceId: 'test' }, options);
        });
      }
      if (turns < 200) return;
      throw new Error('The flow does not come to rest: ' + JSON.stringify(await this.ledger.listIngestions(null, { limit: 5 })));
    } finally {
      deps.keptLines.close();
    }
  }

  /** What a feed tells of is written down as owed. */
  async notice(noticed: Noticed[]): Promise<void> {
    const life = new AbortController();
    const { ledger, logger, now } = this.#deps(life);
    const drive = async (): Promise<void> => {};
    const { highWaterChanges } = this;
    await noticeChanges({ ledger, drive, logger, now, sleep, highWaterChanges }, noticed, life.signal);
  }

  /** From now on those who work changes have one feed, as those of one process do: what is decoded alone is alone among all of them. */
  shareFeed(): void {
    this.#feedOfAll = this.#deps(new AbortController()).encode.feed;
  }

  /**
   * One job's work on what is owed. Rejects with Crash when its process died. Answers how many changes it took. `through` stands
   * between the worker and its ports.
   */
  async workChanges(tenant = DEFAULT_TENANT, through: (ports: WorkerPorts) => WorkerPorts = (ports) => ports): Promise<number> {
    const life = new AbortController();
    const { encode } = this.#deps(life);
    const { store, index, ledger } = encode;
    const deps = {
      ...encode,
      ...through({ store, index, ledger }),
      feed: this.#feedOfAll ?? encode.feed,
      observeFreshness: (seconds: number) => void this.freshness.push(seconds),
      workerId: newId(),
    };
    const job = { tenant, fingerprints: { image: 'hash-image', text: 'hash-text' }, traceId: 'test' };
    try {
      return await encodeChanges(deps, job, { signal: life.signal });
    } catch (error) {
      if (life.signal.aborted) throw new Crash();
      throw error;
    }
  }

  /** Works what is owed until nothing is, whatever waits. */
  async driveChanges(): Promise<void> {
    for (let round = 0; round < 200; round++) {
      const owed = await this.ledger.owedChanges(this.now());
      if (owed.length === 0) return;
      if (owed.every(({ free }) => free === 0)) this.passClaims();
      for (const { tenant } of owed) await this.workChanges(tenant);
    }
    throw new Error('Changes do not come to rest.');
  }

  /** One turn of the sweep, and the work that it finds. */
  async turn(): Promise<void> {
    await this.drive(1);
  }

  /** One step of an ingestion, as a job of its own has it taken. */
  async advance(ingestionId: string, tenant = DEFAULT_TENANT): Promise<void> {
    const life = new AbortController();
    const deps = { ...this.#deps(life), enqueueChunk: async () => {} };
    await advanceIngestion(deps, { tenant, ingestionId, traceId: 'test' }, { lastAttempt: true, signal: life.signal });
    deps.keptLines.close();
  }

  async ingestion(ingestionId: string, tenant = DEFAULT_TENANT): Promise<Ingestion> {
    const ingestion = await this.ledger.getIngestion(tenant, ingestionId);
    if (!ingestion) throw new Error('no such ingestion');
    return ingestion;
  }

  /** Ingests and drives to the end. */
  async run(source?: Source, dryRun?: boolean): Promise<Ingestion> {
    const ingestionId = await this.ingest(source, dryRun);
    await this.drive();
    return this.ingestion(ingestionId);
  }

  /** Without a grace, unless `options` say otherwise. */
  async audit(
    options: Partial<AuditOptions> = {},
    more: Partial<AuditDeps> = {},
  ): Promise<{ report: AuditReport; findings: Finding[] }> {
    const findings: Finding[] = [];
    const looks = auditIndex({ ...this.#auditDeps(), ...more }, DEFAULT_TENANT, { place: null, graceMs: 0, ...options });
    for (;;) {
      const next = await looks.next();
      if (next.done) return { report: next.value, findings };
      findings.push(next.value);
    }
  }

  #auditDeps(): AuditDeps {
    const { store, ledger, index } = this;
    const sets = { openItemLines: openSqliteItemLines, openExpectedSet: openSqliteExpectedSet, openDoubts: openSqliteDoubts };
    return { store, ledger, index, ...sets, sleep };
  }

  async askAudit(more: Partial<Parameters<Ledger['createAudit']>[0]> = {}): Promise<Audit> {
    const asked = {
      auditId: newId(),
      tenant: DEFAULT_TENANT,
      place: null,
      repair: false,
      graceMs: 0,
      askedBy: 'request',
    } as const;
    return this.ledger.createAudit({ ...asked, createdAt: this.now(), ...more });
  }

  /** As a job of its own has it carried out. Rejects with Crash when the process died. Answers the audit as it is then. */
  async runAudit(
    { auditId, tenant }: { auditId: string; tenant: string },
    more: Partial<RunAuditDeps> = {},
    lastAttempt = true,
  ): Promise<Audit | null> {
    const life = new AbortController();
    const deps = this.#deps(life);
    const sets = { openItemLines: openSqliteItemLines, openExpectedSet: openSqliteExpectedSet, openDoubts: openSqliteDoubts };
    try {
      const job = { tenant, auditId, traceId: 'test' };
      await runAudit({ ...deps, ...sets, onEnd: () => {}, ...more }, job, { lastAttempt, signal: life.signal });
    } catch (error) {
      throw life.signal.aborted ? new Crash() : error;
    } finally {
      deps.keptLines.close();
    }
    return this.ledger.getAudit(tenant, auditId);
  }

  async close(): Promise<void> {
    await this.leave();
    await rm(this.folder, { recursive: true });
  }

  /** Leaves everything where it is, for another process. */
  async leave(): Promise<void> {
    await this.events.close();
    await this.index.close();
    await this.ledger.close();
  }

  #deps(life: AbortController) {
    const { storm } = this;
    const store = watched('store', this.store, this, life);
    const index = fencedIndex(watched('index', this.index, this, life), this.ledger);
    const ledger = watched('ledger', this.ledger, this, life);
    const { encoder } = this;
    const logger = pino({ level: 'silent' });
    const batcher = new PictureBatcher(encoder, { lane: 'bulk', maxBatch: 8 });
    const limits = { maxPictureBytes: 1_000, bytesInFlight: 2_000, decodeConcurrency: 2, decodedAhead: 8 };
    const feed = new PictureFeed({ store, index, encoder, batcher, observe }, limits);
    const now = (): number => this.now();
    const events = watched<EventLog>('events', this.events, this, life);
    const common = { store, index, ledger, events, logger, now, sleep };
    const encode = {
      ...common,
      encoder,
      feed,
      storms: new FailureStorms(storm),
      leaseTtlMs: LEASE_TTL_MS,
      accepts: ({ image, text }: { image: string; text: string }) =>
        image === encoder.spec.image.fingerprint && text === encoder.spec.text.fingerprint,
      lane: 'bulk' as const,
      observe,
      count: () => {},
    };
    const plan: Omit<PlanDeps, 'enqueueChunk'> = {
      ...common,
      openItemLines: openSqliteItemLines,
      openExpectedSet: openSqliteExpectedSet,
      keptLines: new KeptLines(),
      backlog: new Backlog(ledger, { perTenantChunks: this.highWaterChunks, totalChunks: this.highWaterChunksTotal }),
      storms: new FailureStorms(storm),
      chunkEntries: this.chunkEntries,
      leaseTtlMs: LEASE_TTL_MS,
    };
    return { ...plan, encode };
  }

  /** Like the queue's workers: together, each tried again on retryable errors. */
  async #together<T>(
    jobs: T[],
    life: AbortController,
    work: (job: T, options: { lastAttempt: boolean; signal: AbortSignal }) => Promise<void>,
  ): Promise<void> {
    const results = await Promise.allSettled(
      jobs.map(async (job) => {
        for (let attempt = 1; ; attempt++) {
          try {
            return await work(job, { lastAttempt: attempt === ATTEMPTS, signal: life.signal });
          } catch (error) {
            if (life.signal.aborted || !toSightlineError(error).retryable) throw error;
            // The job is over; what it was for is owed still.
            if (attempt === ATTEMPTS) return;
          }
        }
      }),
    );
    for (const result of results) if (result.status === 'rejected') throw life.signal.aborted ? new Crash() : result.reason;
  }
}

function observe(): void {}

/** Short, whatever is asked for. */
async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  await sleepFor(Math.min(ms, 5), undefined, { signal });
}

/** A port whose calls a test can let die; after a death no call has an effect. */
function watched<P extends object>(name: string, port: P, rig: FlowRig, life: AbortController): P {
  const die = (error: unknown): never => {
    life.abort(error);
    throw error;
  };
  return new Proxy(port, {
    get(target, property) {
      const method: unknown = Reflect.get(target, property, target);
      if (typeof method !== 'function' || typeof property !== 'string') return method;
      // Streams and listings die between their items through the calls made for each item.
      if (property === 'list' || property === 'failedObjects') return method.bind(target);
      return async (...args: unknown[]) => {
        life.signal.throwIfAborted();
        try {
          await rig.onCall(`${name}.${property}`, 'before');
        } catch (error) {
          die(error);
        }
        const result: unknown = await method.apply(target, args);
        try {
          await rig.onCall(`${name}.${property}`, 'after');
        } catch (error) {
          die(error);
        }
        life.signal.throwIfAborted();
        return result;
      };
    },
  });
}
