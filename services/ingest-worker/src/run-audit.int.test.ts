import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { auditFinding, type AuditFinding } from '@sightline/shared/contracts/audits';
import type { SightlineEvent } from '@sightline/shared/contracts/events';
import { auditFindingsKey, DEFAULT_TENANT, SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { Crash, FlowRig } from './testing/flow-rig.ts';

const PROCESS = new URL('./testing/audit-process.ts', import.meta.url).pathname;
let rig: FlowRig;
let told: SightlineEvent[];

beforeEach(async () => {
  rig = await FlowRig.open();
  told = [];
  for (const key of ['a.png', 'b.png', 'c.png']) await rig.write(key, key);
  await rig.run();
  await rig.events.subscribe('test', async (events) => void told.push(...events));
});

afterEach(async () => {
  await rig.close();
});

async function breakIt(): Promise<void> {
  await rig.write('new.png', 'new');
  await rig.remove('a.png');
  await rig.write('b.png', 'changed');
}
const BROKEN = ['extra a.png', 'missing new.png', 'stale b.png'];

/** What is stored of an audit's findings; null where there is nothing. */
async function stored(auditId: string, tenant = DEFAULT_TENANT): Promise<string[] | null> {
  const ref = { bucket: SYSTEM_BUCKET, key: auditFindingsKey(tenant, auditId) };
  if (!(await rig.store.head(ref))) return null;
  const { bytes } = await rig.store.get(ref, { maxBytes: 1e6 });
  const lines = bytes.toString().trim().split('\n');
  return lines.map((line) => named(auditFinding.parse(JSON.parse(line)))).toSorted();
}
const named = ({ kind, key }: AuditFinding): string => `${kind} ${key}`;

test('an audit that finds nothing is clean, and says so in the ledger and as an event', async () => {
  const audit = await rig.askAudit();
  const ends: string[] = [];
  const done = await rig.runAudit(audit, { onEnd: (outcome) => void ends.push(outcome) });
  expect(done).toMatchObject({ status: 'completed', attempts: 1, finishedAt: expect.any(Number) });
  expect(done?.result).toMatchObject({ clean: true, points: 3, agreed: { indexed: 3 }, listed: 0, first: [], repair: null });
  expect(ends).toEqual(['clean']);
  expect(await stored(audit.auditId)).toBeNull();
  expect(told).toMatchObject([
    { type: 'audit.completed', subject: audit.auditId, tenant: DEFAULT_TENANT, data: { status: 'completed', clean: true } },
  ]);
  expect(await rig.ledger.auditStandings()).toMatchObject([{ tenant: DEFAULT_TENANT, lastCleanAt: done?.finishedAt }]);
});

test('what differs is counted, listed and told; a repair mends it', async () => {
  await breakIt();
  const seen = await rig.runAudit(await rig.askAudit());
  expect(seen?.result).toMatchObject({ clean: false, findings: { missing: 1, extra: 1, stale: 1 }, listed: 3, repair: null });
  expect(seen?.result?.first.map(named).toSorted()).toEqual(BROKEN);
  expect(await stored(seen?.auditId ?? '')).toEqual(BROKEN);
  expect(told.at(-1)).toMatchObject({ data: { clean: false, findings: { missing: 1, extra: 1, stale: 1 }, repaired: false } });
  await rig.drive();
  expect((await rig.audit()).findings).toHaveLength(3);

  const repaired = await rig.runAudit(await rig.askAudit({ repair: true }));
  // Each is an object of a listed place: nothing has to be ingested anew.
  expect(repaired?.result).toMatchObject({ clean: false, listed: 3, repair: { deleted: 0, changes: 3, ingestions: [] } });
  expect(await rig.ledger.owedChanges(rig.now())).toMatchObject([{ tenant: DEFAULT_TENANT, owed: 3 }]);
  await rig.driveChanges();
  expect((await rig.runAudit(await rig.askAudit({ repair: true })))?.result).toMatchObject({ clean: true, repair: null });
});

test('an audit that dies at any of its steps is begun anew by another worker, and ends once', async () => {
  await breakIt();
  const calls: string[] = [];
  rig.onCall = (call) => void calls.push(call);
  await rig.runAudit(await rig.askAudit({ repair: true, graceMs: 1 }));
  rig.onCall = () => {};
  await rig.driveChanges();
  const steps = [...new Set(calls)].filter((call) => !/releaseKeys|renewKeys/.test(call));
  expect(steps).toEqual(expect.arrayContaining(['index.scan', 'store.putStream', 'events.publish', 'ledger.endAudit']));
  for (const step of steps) {
    for (const when of ['before', 'after'] as const) {
      await breakIt();
      await rig.write('new.png', `${step} ${when}`);
      const audit = await rig.askAudit({ repair: true, graceMs: 1 });
      told.length = 0;
      rig.onCall = (call, seen) => {
        if (call === step && seen === when) throw new Crash();
      };
      const died = await rig.runAudit(audit).catch((error: unknown) => error);
      rig.onCall = () => {};
      rig.passLeases();
      expect({ step, when, died: died instanceof Crash }).toEqual({ step, when, died: true });
      const then = await rig.ledger.getAudit(audit.tenant, audit.auditId);
      const done = then?.finishedAt === null ? await rig.runAudit(audit) : then;
      expect({ step, when, status: done?.status }).toEqual({ step, when, status: 'completed' });
      expect(new Set(told.filter(({ type }) => type === 'audit.completed').map(({ id }) => id)).size).toBe(1);
      await rig.driveChanges();
      expect((await rig.audit()).findings).toEqual([]);
      await rig.write('a.png', 'a.png');
      await rig.write('b.png', 'b.png');
      await rig.run();
    }
  }
}, 120_000);

test('an audit whose worker is killed with SIGKILL is taken up by another', async () => {
  await breakIt();
  const audit = await rig.askAudit({ graceMs: 60_000 });
  const child = spawn(process.execPath, [PROCESS, rig.folder, audit.tenant, audit.auditId], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  expect(await rig.ledger.getAudit(audit.tenant, audit.auditId)).toMatchObject({ status: 'running', attempts: 1 });
  // Another that comes meanwhile leaves it to who has it.
  expect(await rig.runAudit(audit)).toMatchObject({ status: 'running', attempts: 1 });
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(await rig.runAudit(audit)).toMatchObject({ status: 'running', attempts: 1 });
  rig.passLeases();
  expect(await rig.runAudit(audit)).toMatchObject({ status: 'completed', attempts: 2, result: { listed: 3 } });
  expect(await stored(audit.auditId)).toEqual(BROKEN);
});

test('an audit that kills its workers, again and again, fails', async () => {
  const audit = await rig.askAudit();
  for (let deaths = 0; deaths < 3; deaths++) {
    rig.onCall = (call) => {
      if (call === 'index.scan') throw new Crash();
    };
    await expect(rig.runAudit(audit)).rejects.toBeInstanceOf(Crash);
    rig.onCall = () => {};
    rig.passLeases();
  }
  expect(await rig.runAudit(audit)).toMatchObject({ status: 'failed', reason: expect.stringContaining('audit_kills_worker') });
  expect(told).toMatchObject([{ type: 'audit.completed', data: { status: 'failed', clean: null, findings: null } }]);
});

test('what may pass is tried again, and fails the audit at the last attempt alone', async () => {
  const audit = await rig.askAudit();
  const away = async (): Promise<never> => {
    throw new SightlineError('index_unavailable', 'at 10.0.0.7');
  };
  const index = { ...rig.index, spec: rig.index.spec, scan: away, get: away };
  await expect(rig.runAudit(audit, { index }, false)).rejects.toMatchObject({ code: 'index_unavailable' });
  expect(await rig.ledger.getAudit(audit.tenant, audit.auditId)).toMatchObject({ status: 'queued', attempts: 0 });
  const failed = await rig.runAudit(audit, { index });
  expect(failed).toMatchObject({ status: 'failed', reason: expect.stringContaining('index_unavailable') });
  expect(failed?.reason).not.toContain('10.0.0.7');
});

test('an audit goes with its tenant: it stops, and leaves nothing behind', async () => {
  await breakIt();
  const audit = await rig.askAudit({ repair: true, graceMs: 60_000 });
  const sleep = async (ms: number, signal?: AbortSignal): Promise<void> => {
    if (ms === 60_000) {
      await rig.ledger.deleteTenant(DEFAULT_TENANT);
      // Until the watch has noticed.
      await new Promise<void>((resolve) => signal?.addEventListener('abort', () => resolve()));
      signal?.throwIfAborted();
    }
    await new Promise((resolve) => setTimeout(resolve, Math.min(ms, 5)));
  };
  expect(await rig.runAudit(audit, { sleep })).toBeNull();
  expect(await stored(audit.auditId)).toBeNull();
  expect(told.filter(({ type }) => type === 'audit.completed')).toEqual([]);
  expect(await rig.ledger.listIngestions(null, { limit: 9 })).toEqual([]);
  // Deleted at the last moment: what was written down goes too.
  await rig.run();
  await rig.write('late.png', 'late');
  const late = await rig.askAudit();
  rig.onCall = async (call, when) => {
    if (call === 'events.publish' && when === 'after') await rig.ledger.deleteTenant(DEFAULT_TENANT);
  };
  expect(await rig.runAudit(late)).toBeNull();
  expect(await stored(late.auditId)).toBeNull();
});

test("a tenant's audit sees its own sources and points alone", async () => {
  await rig.write('x.png', 'of another');
  await rig.ingest({ type: 'directory', path: rig.source }, false, 'other');
  await rig.drive();
  await rig.write('y.png', 'new');
  const audit = await rig.askAudit({ tenant: 'other' });
  const done = await rig.runAudit(audit);
  expect(done?.result).toMatchObject({ points: 4, findings: { missing: 1 }, listed: 1 });
  expect(await stored(audit.auditId, 'other')).toEqual(['missing y.png']);
  // Asked for under another's name it is none.
  const stranger = await rig.askAudit({ tenant: 'other' });
  expect(await rig.runAudit({ ...stranger, tenant: DEFAULT_TENANT })).toBeNull();
  expect(await rig.ledger.getAudit('other', stranger.auditId)).toMatchObject({ status: 'queued' });
});
