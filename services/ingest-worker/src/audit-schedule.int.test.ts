import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openQueueEngine } from '@sightline/shared/adapters/bullmq-queue-engine';
import { openEmbeddedPostgres, type EmbeddedPostgres } from '@sightline/shared/adapters/embedded-postgres';
import { DEFAULT_TENANT } from '@sightline/shared/contracts/ids';
import { Closer } from '@sightline/shared/runtime/lifecycle';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { startIngestWorker, type IngestWorkerConfig } from './service.ts';
import { beginDueAudits } from './core/due-audits.ts';
import { FlowRig } from './testing/flow-rig.ts';

/** The service on BullMQ over PostgreSQL, with real stores. */
const dataDir = mkdtempSync(join(tmpdir(), 'sightline-audits-'));
const logger = pino({ level: 'silent' });
const EVERY_MS = 600;
let postgres: EmbeddedPostgres;
let postgresUrl: string;
let rig: FlowRig;
let closer: Closer;

beforeAll(async () => {
  postgres = await openEmbeddedPostgres({ dataDir }, { logger });
});

afterAll(async () => {
  await postgres.close();
  rmSync(dataDir, { recursive: true, force: true });
});

beforeEach(async () => {
  rig = await FlowRig.open();
  closer = new Closer(logger);
  postgresUrl = await postgres.createDatabase(`test_${randomUUID()}`);
});

afterEach(async () => {
  await closer.closeAll(10_000);
  await rig.close();
});

async function start(config: Partial<IngestWorkerConfig>): Promise<{ registry: Registry; close: () => Promise<void> }> {
  const queue = await openQueueEngine({ postgresUrl }, { logger, lockMs: 2_000 });
  closer.push('queue', () => queue.close());
  const { store, index, ledger, events } = rig;
  const registry = new Registry();
  const times = { sweepEveryMs: 100, sweepAuditsEveryMs: 200, drainMs: 1_000, auditGraceMs: 0 };
  const service = await startIngestWorker({
    store,
    index,
    ledger,
    events,
    queue,
    feeds: [],
    logger,
    registry,
    config: { ...times, ...config },
  });
  closer.push('ingest', () => service.close());
  return { registry, close: () => service.close() };
}

async function until<T>(look: () => Promise<T | null | false | undefined>): Promise<T> {
  for (let i = 0; i < 300; i++) {
    const seen = await look();
    if (seen) return seen;
    await sleep(100);
  }
  throw new Error('what was waited for did not happen');
}

async function metric(registry: Registry, start: string): Promise<number> {
  const line = (await registry.metrics()).split('\n').find((one) => one.startsWith(start));
  return line === undefined ? Number.NaN : Number(line.split(' ').at(-1));
}

test('audits come by themselves, once a turn for each tenant with sources, however many workers ask for them', async () => {
  await rig.write('a.png', 'one');
  await rig.ingest();
  await rig.ingest(undefined, false, 'other');
  await rig.drive();
  await rig.write('new.png', 'new');
  const startedAt = Date.now();
  const auditSchedule = { everyMs: EVERY_MS, repair: false };
  const first = await start({ auditSchedule });
  await start({ auditSchedule });
  await sleep(6 * EVERY_MS);
  const turns = Math.ceil((Date.now() - startedAt) / EVERY_MS) + 1;
  for (const tenant of [DEFAULT_TENANT, 'other']) {
    const audits = await rig.ledger.listAudits(tenant, { limit: 100 });
    expect(audits.length).toBeGreaterThanOrEqual(3);
    expect(audits.length).toBeLessThanOrEqual(turns);
    expect(new Set(audits.map(({ askedBy }) => askedBy))).toEqual(new Set(['schedule']));
    // Each was taken by one worker.
    expect(new Set(audits.filter(({ result }) => result).map(({ attempts }) => attempts))).toEqual(new Set([1]));
    const times = audits.map(({ createdAt }) => createdAt).toSorted((a, b) => a - b);
    const gaps = times.slice(1).map((at, n) => at - (times[n] ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThan(EVERY_MS / 2 - 50);
  }
  expect(await metric(first.registry, 'sightline_audit_findings{kind="missing"')).toBe(2);
  expect(await metric(first.registry, 'sightline_audit_findings{kind="stale"')).toBe(0);
  expect(await metric(first.registry, 'sightline_audit_last_clean_timestamp_seconds')).toBe(0);
  // A worker that starts without the setting ends it.
  await start({});
  await sleep(EVERY_MS);
  const ended = (await rig.ledger.listAudits('other', { limit: 100 })).length;
  await sleep(3 * EVERY_MS);
  expect(await rig.ledger.listAudits('other', { limit: 100 })).toHaveLength(ended);
});

test('an audit that was asked for is carried out, also when the queue knows nothing of it; the metrics say how it ended', async () => {
  await rig.write('a.png', 'one');
  await rig.run();
  const { auditId } = await rig.askAudit();
  const { registry } = await start({});
  const done = await until(async () => (await rig.ledger.getAudit(DEFAULT_TENANT, auditId))?.result);
  expect(done).toMatchObject({ clean: true, points: 1 });
  await until(async () => (await metric(registry, 'sightline_audits_total{outcome="clean"}')) === 1);
  expect(await metric(registry, 'sightline_audit_duration_seconds_count')).toBe(1);
  expect(await metric(registry, 'sightline_audit_last_clean_timestamp_seconds')).toBeGreaterThan(1_700_000_000);
  expect(await metric(registry, 'sightline_audit_findings{kind="missing"}')).toBe(0);
});

test('a worker that stops gives its audit back, and another ends it', async () => {
  await rig.write('a.png', 'one');
  await rig.run();
  await rig.write('new.png', 'new');
  const { auditId } = await rig.askAudit({ graceMs: 2_000 });
  const first = await start({});
  await until(async () => (await rig.ledger.getAudit(DEFAULT_TENANT, auditId))?.status === 'running');
  await sleep(200);
  await first.close();
  expect(await rig.ledger.getAudit(DEFAULT_TENANT, auditId)).toMatchObject({ status: 'queued', attempts: 0 });
  await start({});
  const done = await until(async () => (await rig.ledger.getAudit(DEFAULT_TENANT, auditId))?.result);
  expect(done).toMatchObject({ findings: { missing: 1 } });
});

test('a turn begins no second audit while one is going, nor soon after the last, nor for a tenant without sources', async () => {
  await rig.write('a.png', 'one');
  await rig.run();
  const added: string[] = [];
  let now = rig.now();
  const deps = { ledger: rig.ledger, enqueueAudit: async () => void added.push('audit'), now: () => now, graceMs: 0 };
  const turn = { repair: true, everyMs: 60_000 };
  await beginDueAudits(deps, turn, 'turn-1');
  await beginDueAudits(deps, turn, 'turn-1');
  await beginDueAudits(deps, turn, 'turn-2');
  const [audit, ...more] = await rig.ledger.listAudits(DEFAULT_TENANT, { limit: 9 });
  expect(more).toEqual([]);
  expect(audit).toMatchObject({ repair: true, askedBy: 'schedule', place: null });
  await rig.ledger.endAudit(audit?.auditId ?? '', { status: 'failed', reason: 'r', at: now });
  await beginDueAudits(deps, turn, 'turn-3');
  expect(await rig.ledger.listAudits(DEFAULT_TENANT, { limit: 9 })).toHaveLength(1);
  now += 60_000;
  await beginDueAudits(deps, turn, 'turn-4');
  expect(await rig.ledger.listAudits(DEFAULT_TENANT, { limit: 9 })).toHaveLength(2);
  expect(added).toHaveLength(2);
});
