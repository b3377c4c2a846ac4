import { expect, test } from '@jest/globals';
import type { AuditResult } from '../src/contracts/audits.ts';
import type { Audit } from '../src/ports/audit-ledger.ts';
import type { Ledger } from '../src/ports/ledger.ts';

/** What every Ledger does with audits: a part of ledgerContract. */
export function ledgerAuditContract(ledgerOf: () => Ledger): void {
  const create = (auditId: string, more: Partial<Parameters<Ledger['createAudit']>[0]> = {}) =>
    ledgerOf().createAudit({
      auditId,
      tenant: 't',
      place: null,
      repair: false,
      graceMs: 60_000,
      askedBy: 'request',
      createdAt: 5,
      ...more,
    });
  const result = (clean: boolean): AuditResult => ({
    clean,
    points: 3,
    agreed: { indexed: 2, failed: 1, removed: 0 },
    findings: { missing: clean ? 0 : 1, extra: 0, stale: 0, duplicate: 0, malformed: 0 },
    healed: 4,
    listed: clean ? 0 : 1,
    first: clean ? [] : [{ kind: 'missing', asset_id: 'a', bucket: '/pictures', key: 'ä.png', detail: 'no point' }],
    unreadable: [{ source: 's', code: 'source_not_found' }],
    running: ['i1'],
    repair: clean ? null : { deleted: 1, changes: 2, ingestions: ['i2'] },
  });
  const complete = (auditId: string, clean: boolean, at: number) =>
    ledgerOf().endAudit(auditId, { status: 'completed', result: result(clean), at });
  const ids = (audits: Audit[]) => audits.map(({ auditId }) => auditId);

  test('an audit begins queued with all that was asked for, and creating it twice is creating it once', async () => {
    const ledger = ledgerOf();
    const plain: Audit = {
      auditId: 'a1',
      tenant: 't',
      place: null,
      repair: false,
      graceMs: 60_000,
      askedBy: 'request',
      status: 'queued',
      reason: null,
      attempts: 0,
      result: null,
      createdAt: 5,
      finishedAt: null,
    };
    expect(await create('a1')).toEqual(plain);
    expect(await create('a1', { createdAt: 9, repair: true })).toEqual(plain);
    const asked = { place: { bucket: 'b', prefix: '' }, repair: true, graceMs: 0, askedBy: 'schedule' } as const;
    expect(await create('a2', { ...asked, tenant: 'u' })).toEqual({ ...plain, ...asked, auditId: 'a2', tenant: 'u' });
    expect(await ledger.getAudit('t', 'a1')).toEqual(plain);
    expect(await ledger.getAudit('u', 'a1')).toBeNull();
    expect(await ledger.getAudit('t', 'none')).toBeNull();
  });

  test("a tenant's audits are listed newest first, those that are not over oldest first", async () => {
    const ledger = ledgerOf();
    await create('a1', { createdAt: 1 });
    await create('a2', { createdAt: 3 });
    await create('a3', { createdAt: 2, tenant: 'u' });
    expect(ids(await ledger.listAudits('t', { limit: 9 }))).toEqual(['a2', 'a1']);
    expect(ids(await ledger.listAudits('t', { limit: 1 }))).toEqual(['a2']);
    expect(ids(await ledger.activeAudits(null, { limit: 9 }))).toEqual(['a1', 'a3', 'a2']);
    expect(ids(await ledger.activeAudits('t', { limit: 9 }))).toEqual(['a1', 'a2']);
    expect(ids(await ledger.activeAudits(null, { limit: 2 }))).toEqual(['a1', 'a3']);
    await complete('a1', true, 10);
    expect(ids(await ledger.activeAudits(null, { limit: 9 }))).toEqual(['a3', 'a2']);
    expect(ids(await ledger.listAudits('t', { limit: 9 }))).toEqual(['a2', 'a1']);
  });

  test('an audit that is taken counts how often, but for a time that is given back', async () => {
    const ledger = ledgerOf();
    await create('a1');
    expect(await ledger.takeAudit('a1')).toMatchObject({ status: 'running', attempts: 1 });
    expect(await ledger.takeAudit('a1')).toMatchObject({ status: 'running', attempts: 2 });
    await ledger.giveBackAudit('a1');
    expect(await ledger.getAudit('t', 'a1')).toMatchObject({ status: 'queued', attempts: 1 });
    await ledger.giveBackAudit('a1');
    expect(await ledger.getAudit('t', 'a1')).toMatchObject({ status: 'queued', attempts: 1 });
    expect(await ledger.takeAudit('none')).toBeNull();
    await ledger.giveBackAudit('none');
    await complete('a1', true, 10);
    expect(await ledger.takeAudit('a1')).toBeNull();
    await ledger.giveBackAudit('a1');
    expect(await ledger.getAudit('t', 'a1')).toMatchObject({ status: 'completed' });
  });

  test('an audit ends once, with its result or the reason', async () => {
    const ledger = ledgerOf();
    await create('a1');
    await create('a2');
    expect(await complete('a1', false, 10)).toBe(true);
    expect(await ledger.getAudit('t', 'a1')).toMatchObject({ status: 'completed', result: result(false), finishedAt: 10 });
    expect(await ledger.endAudit('a1', { status: 'failed', reason: 'late', at: 11 })).toBe(false);
    expect(await ledger.endAudit('a2', { status: 'failed', reason: 'why', at: 12 })).toBe(true);
    expect(await ledger.getAudit('t', 'a2')).toMatchObject({ status: 'failed', reason: 'why', result: null, finishedAt: 12 });
    expect(await ledger.endAudit('none', { status: 'failed', reason: 'why', at: 12 })).toBe(false);
  });

  test('a tenant stands where its newest audit of everything left it', async () => {
    const ledger = ledgerOf();
    for (const auditId of ['a1', 'a2', 'a3', 'a4']) await create(auditId);
    await create('part', { place: { bucket: 'b', prefix: 'p' } });
    await create('b1', { tenant: 'u' });
    await create('c1', { tenant: 'v/w' });
    expect(await ledger.auditStandings()).toEqual([]);
    await complete('a1', true, 10);
    await complete('a2', false, 20);
    await complete('part', true, 30);
    await ledger.endAudit('a3', { status: 'failed', reason: 'why', at: 40 });
    await ledger.endAudit('b1', { status: 'failed', reason: 'why', at: 40 });
    await complete('c1', true, 50);
    expect(await ledger.auditStandings()).toMatchObject([
      { tenant: 't', latest: { auditId: 'a2' }, lastCleanAt: 10 },
      { tenant: 'u', latest: null, lastCleanAt: null },
      { tenant: 'v/w', latest: { auditId: 'c1' }, lastCleanAt: 50 },
    ]);
  });

  test('old audits are pruned, but for the newest that was completed', async () => {
    const ledger = ledgerOf();
    for (const auditId of ['a1', 'a2', 'a3']) await create(auditId);
    await complete('a1', false, 10);
    await complete('a2', false, 20);
    expect(await ledger.prune(15)).toBe(1);
    expect(await ledger.prune(100)).toBe(0);
    expect(ids(await ledger.listAudits('t', { limit: 9 })).toSorted()).toEqual(['a2', 'a3']);
    expect(ids(await ledger.activeAudits(null, { limit: 9 }))).toEqual(['a3']);
    expect(await ledger.auditStandings()).toMatchObject([{ latest: { auditId: 'a2' } }]);
  });

  test("a tenant's audits go with it, or those from before a time, and nobody else's", async () => {
    const ledger = ledgerOf();
    await create('a1', { createdAt: 5 });
    await create('a2', { createdAt: 6 });
    await create('b1', { tenant: 'u' });
    await complete('b1', true, 10);
    await complete('a1', true, 10);
    await ledger.deleteTenant('t', { createdUpTo: 5 });
    expect(ids(await ledger.listAudits('t', { limit: 9 }))).toEqual(['a2']);
    await ledger.deleteTenant('t');
    expect(await ledger.listAudits('t', { limit: 9 })).toEqual([]);
    expect(await ledger.activeAudits(null, { limit: 9 })).toEqual([]);
    expect(await ledger.getAudit('t', 'a2')).toBeNull();
    expect(await complete('a2', true, 20)).toBe(false);
    expect(await ledger.auditStandings()).toMatchObject([{ tenant: 'u', lastCleanAt: 10 }]);
  });
}
