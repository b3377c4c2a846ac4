import { afterEach, beforeEach, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import type { ChunkEntry, Ledger } from '../src/ports/ledger.ts';
import { ledgerChangeContract } from './ledger-change-contract.ts';
import { ledgerAuditContract } from './ledger-audit-contract.ts';
import { ledgerControlContract } from './ledger-control-contract.ts';
import { ledgerFeedbackContract } from './ledger-feedback-contract.ts';
import { ledgerMigrationContract } from './ledger-migration-contract.ts';
import { ledgerQuestionContract } from './ledger-question-contract.ts';
import { ledgerTenantContract } from './ledger-tenant-contract.ts';
import { ledgerWebhookContract } from './ledger-webhook-contract.ts';

/** A fresh ledger with a clock that the test sets. */
export interface OpenedLedger {
  ledger: Ledger;
  setNow(at: number): void;
  /** A second opening of the same ledger, as another process has it; closed by the caller. */
  openAgain(): Promise<Ledger>;
  close(): Promise<void>;
}

const SOURCE = { type: 'directory', path: '/pictures' } as const;
const OTHER = { type: 'manifest', uri: '/catalogue/manifest.jsonl' } as const;
const ENTRY: ChunkEntry = { object: { bucket: '/pictures', key: 'a.png', eTag: 'e1', sizeBytes: 3 } };

/** What every Ledger does; each adapter's test runs it and adds its own. */
export function ledgerContract(open: () => Promise<OpenedLedger>): void {
  let opened: OpenedLedger;
  let ledger: Ledger;

  beforeEach(async () => {
    opened = await open();
    ledger = opened.ledger;
    opened.setNow(1_000);
  });

  afterEach(async () => {
    await ledger.close();
    await opened.close();
  });

  const create = (ingestionId: string, createdAt = 1, tenant = 't', source: typeof SOURCE | typeof OTHER = SOURCE) =>
    ledger.createIngestion({ ingestionId, tenant, source, createdAt });
  const addChunk = (ingestionId: string, chunkNo: number, more: Partial<Parameters<Ledger['addChunk']>[1]> = {}) =>
    ledger.addChunk(ingestionId, {
      chunkNo,
      entries: [ENTRY],
      listed: 1,
      failures: [],
      after: chunkNo === 0 ? null : `c${chunkNo - 1}`,
      cursor: `c${chunkNo}`,
      at: 10,
      ...more,
    });
  const NOTHING = { indexed: 0, unchanged: 0, duplicate: 0, failures: [] };

  ledgerChangeContract(() => ledger);
  ledgerControlContract(() => ledger);
  ledgerMigrationContract(() => ledger);
  ledgerTenantContract(() => ledger);
  ledgerAuditContract(() => ledger);
  ledgerFeedbackContract(() => ledger);
  ledgerQuestionContract(
    () => ledger,
    () => opened.openAgain(),
  );
  ledgerWebhookContract(
    () => ledger,
    () => opened.openAgain(),
  );

  test('an ingestion begins in planning, and creating it twice is creating it once', async () => {
    const made = await create('i1', 5);
    expect(made).toEqual({
      ingestionId: 'i1',
      tenant: 't',
      source: SOURCE,
      dryRun: false,
      status: 'planning',
      reason: null,
      hold: null,
      counts: { listed: 0, indexed: 0, unchanged: 0, duplicate: 0, failed: 0 },
      planned: false,
      cursor: null,
      nextChunkNo: 0,
      createdAt: 5,
      finishedAt: null,
    });
    await addChunk('i1', 0);
    expect((await create('i1', 9)).createdAt).toBe(5);
    expect(await ledger.getIngestion('t', 'i1')).toMatchObject({ nextChunkNo: 1 });
  });

  test('a tenant sees its own ingestions alone', async () => {
    await create('i1');
    expect(await ledger.getIngestion('other', 'i1')).toBeNull();
    expect(await ledger.listIngestions('other', { limit: 9 })).toEqual([]);
    expect(await ledger.listIngestions(null, { limit: 9 })).toHaveLength(1);
  });

  test('ingestions are listed newest or oldest first, by status', async () => {
    await create('i1', 1);
    await create('i2', 2);
    await create('i3', 3);
    await ledger.setStatus('i2', ['planning'], 'running', { at: 4 });
    const ids = async (options: Parameters<Ledger['listIngestions']>[1]) =>
      (await ledger.listIngestions('t', options)).map(({ ingestionId }) => ingestionId);
    expect(await ids({ limit: 2 })).toEqual(['i3', 'i2']);
    expect(await ids({ limit: 9, statuses: ['planning'] })).toEqual(['i3', 'i1']);
    expect(await ids({ limit: 2, oldestFirst: true })).toEqual(['i1', 'i2']);
    expect(await ids({ limit: 9, statuses: ['planning', 'running'], oldestFirst: true })).toEqual(['i1', 'i2', 'i3']);
    const ofAll = await ledger.listIngestions(null, { limit: 1, statuses: ['planning'], oldestFirst: true });
    expect(ofAll.map(({ ingestionId }) => ingestionId)).toEqual(['i1']);
    expect(await ids({ limit: 9, statuses: [] })).toEqual([]);
  });

  test('the latest ingestion of each source is found, oldest first, each tenant apart', async () => {
    await create('i1', 1);
    await create('i2', 2, 't', OTHER);
    await create('i3', 3);
    await create('i4', 3, 'u');
    expect((await ledger.latestIngestions('t')).map(({ ingestionId }) => ingestionId)).toEqual(['i2', 'i3']);
    expect((await ledger.latestIngestions(null)).map(({ ingestionId }) => ingestionId)).toEqual(['i2', 'i3', 'i4']);
  });

  test('one source in two spellings is one source', async () => {
    await create('i1', 1);
    await ledger.createIngestion({
      ingestionId: 'i2',
      tenant: 't',
      source: { type: 'directory', path: '/x/../pictures/' },
      createdAt: 2,
    });
    expect((await ledger.latestIngestions('t')).map(({ ingestionId }) => ingestionId)).toEqual(['i2']);
  });

  test('a status moves only from where it is said to be, and ends with a time', async () => {
    await create('i1');
    expect(await ledger.setStatus('i1', ['running'], 'completed', { at: 7 })).toBe(false);
    expect(await ledger.setStatus('i1', ['planning', 'running'], 'paused', { reason: 'why', at: 7 })).toBe(true);
    expect(await ledger.getIngestion('t', 'i1')).toMatchObject({ status: 'paused', reason: 'why', finishedAt: null });
    expect(await ledger.setStatus('i1', ['paused'], 'completed', { at: 8 })).toBe(true);
    expect(await ledger.getIngestion('t', 'i1')).toMatchObject({ status: 'completed', reason: null, finishedAt: 8 });
    await expect(ledger.setStatus('none', ['planning'], 'failed', { at: 1 })).rejects.toMatchObject({
      code: 'ingestion_not_found',
    });
  });

  test('a chunk, its counts, its failures and the cursor are one step, and the same chunk again changes nothing', async () => {
    await create('i1');
    const chunk = { listed: 2, failures: [{ key: 'm:1', code: 'manifest_line_invalid' as const, reason: 'why' }] };
    await addChunk('i1', 0, chunk);
    await addChunk('i1', 0, { ...chunk, entries: [] });
    expect(await ledger.getIngestion('t', 'i1')).toMatchObject({
      cursor: 'c0',
      nextChunkNo: 1,
      counts: { listed: 2, failed: 1 },
    });
    expect(await ledger.takeChunk('i1', 0)).toEqual({ entries: [ENTRY], addedAt: 10, attempts: 1 });
    expect(await ledger.outstandingChunks({ limit: 9 })).toEqual([{ tenant: 't', ingestionId: 'i1', chunkNo: 0, addedAt: 10 }]);
    await expect(addChunk('i1', 2)).rejects.toMatchObject({ code: 'internal' });
    await expect(addChunk('none', 0)).rejects.toMatchObject({ code: 'ingestion_not_found' });
  });

  test('of two planners that went on from one cursor only the first is heard, and the other is told', async () => {
    const lost = { code: 'lease_lost' };
    await create('i1');
    await expect(addChunk('i1', 0, { after: 'before' })).rejects.toMatchObject(lost);
    await addChunk('i1', 0, { cursor: 'mine' });
    // The number is taken, and by other bounds: now, and when the first has gone on.
    await expect(addChunk('i1', 0, { cursor: 'other' })).rejects.toMatchObject(lost);
    await expect(addChunk('i1', 1, { after: 'other' })).rejects.toMatchObject(lost);
    await expect(addChunk('i1', 1, { after: null })).rejects.toMatchObject(lost);
    await addChunk('i1', 1, { after: 'mine', cursor: 'further' });
    await expect(addChunk('i1', 0, { cursor: 'mine' })).rejects.toMatchObject(lost);
    expect(await ledger.getIngestion('t', 'i1')).toMatchObject({ cursor: 'further', nextChunkNo: 2, counts: { listed: 2 } });
    expect(await ledger.countOutstandingChunks()).toBe(2);
  });

  test('a chunk of failures alone is not owed', async () => {
    await create('i1');
    await addChunk('i1', 0, { entries: [], failures: [{ key: 'k', code: 'object_not_found', reason: 'r' }] });
    expect(await ledger.countOutstandingChunks()).toBe(0);
    expect(await ledger.takeChunk('i1', 0)).toBeNull();
  });

  test('a chunk is completed once, whoever does it again', async () => {
    await create('i1');
    await addChunk('i1', 0);
    const outcome = {
      indexed: 1,
      unchanged: 2,
      duplicate: 3,
      failures: [{ key: 'k', code: 'picture_corrupt' as const, reason: 'r', eTag: 'e' }],
    };
    expect(await ledger.completeChunk('i1', 0, outcome, 20)).toBe(true);
    expect(await ledger.completeChunk('i1', 0, outcome, 21)).toBe(false);
    expect(await ledger.takeChunk('i1', 0)).toBeNull();
    expect((await ledger.getIngestion('t', 'i1'))?.counts).toEqual({
      listed: 1,
      indexed: 1,
      unchanged: 2,
      duplicate: 3,
      failed: 1,
    });
    expect(await ledger.countOutstandingChunks({ ingestionId: 'i1' })).toBe(0);
  });

  test('takings of a chunk are counted for as long as nobody gives it back, by whichever process', async () => {
    await create('i1');
    await addChunk('i1', 0);
    await addChunk('i1', 1);
    const other = await opened.openAgain();
    try {
      expect((await ledger.takeChunk('i1', 0))?.attempts).toBe(1);
      expect((await other.takeChunk('i1', 0))?.attempts).toBe(2);
      await ledger.giveBackChunk('i1', 0);
      expect((await other.takeChunk('i1', 0))?.attempts).toBe(2);
      expect((await other.takeChunk('i1', 1))?.attempts).toBe(1);
    } finally {
      await other.close();
    }
    await ledger.completeChunk('i1', 0, NOTHING, 20);
    await ledger.giveBackChunk('i1', 0);
    expect(await ledger.takeChunk('i1', 0)).toBeNull();
  });

  test('a suspect that nobody cleared is known to whoever comes next, in its chunk alone, until the chunk is complete', async () => {
    await create('i1');
    await addChunk('i1', 0);
    await addChunk('i1', 1);
    expect(await ledger.addSuspect('i1', 0, 'a')).toBe(true);
    expect(await ledger.addSuspect('i1', 0, 'b')).toBe(true);
    await ledger.clearSuspect('i1', 0, 'b');
    // Who asks again, because an answer was lost, lives.
    expect(await ledger.addSuspect('i1', 0, 'a')).toBe(true);
    const other = await opened.openAgain();
    try {
      expect(await other.addSuspect('i1', 0, 'a')).toBe(false);
      expect(await other.addSuspect('i1', 0, 'b')).toBe(true);
      expect(await other.addSuspect('i1', 1, 'a')).toBe(true);
    } finally {
      await other.close();
    }
    expect(await ledger.completeChunk('i1', 0, NOTHING, 20)).toBe(true);
    // A chunk that another has completed meanwhile accuses nobody.
    expect(await ledger.addSuspect('i1', 0, 'a')).toBe(true);
    await ledger.clearSuspect('i1', 0, 'a');
  });

  test('a dry run is kept as one, and is never the latest ingestion of its source', async () => {
    await create('i1', 1);
    const dry = await ledger.createIngestion({ ingestionId: 'i2', tenant: 't', source: SOURCE, dryRun: true, createdAt: 2 });
    expect(dry.dryRun).toBe(true);
    expect(await ledger.getIngestion('t', 'i2')).toMatchObject({ dryRun: true });
    expect((await ledger.latestIngestions('t')).map(({ ingestionId }) => ingestionId)).toEqual(['i1']);
    await ledger.setStatus('i1', ['planning'], 'completed', { at: 3 });
    await ledger.setStatus('i2', ['planning'], 'completed', { at: 3 });
    // The real one stays, as the newest that is no dry run.
    expect(await ledger.prune(10)).toBe(1);
    expect((await ledger.listIngestions('t', { limit: 9 })).map(({ ingestionId }) => ingestionId)).toEqual(['i1']);
  });

  test('outstanding chunks come oldest first, of one ingestion or of all', async () => {
    await create('i1');
    await create('i2');
    await addChunk('i1', 0, { at: 30 });
    await addChunk('i2', 0, { at: 20 });
    await addChunk('i1', 1, { at: 40 });
    const of = async (options: Parameters<Ledger['outstandingChunks']>[0]) =>
      (await ledger.outstandingChunks(options)).map(({ ingestionId, chunkNo }) => `${ingestionId}-${chunkNo}`);
    expect(await of({ limit: 9 })).toEqual(['i2-0', 'i1-0', 'i1-1']);
    expect(await of({ limit: 1 })).toEqual(['i2-0']);
    expect(await of({ ingestionId: 'i1', limit: 9 })).toEqual(['i1-0', 'i1-1']);
    await create('i3', 1, 'u');
    await addChunk('i3', 0, { at: 50 });
    expect([await ledger.countOutstandingChunks(), await ledger.countOutstandingChunks({ ingestionId: 'i1' })]).toEqual([4, 2]);
    expect(await ledger.countOutstandingChunks({ ingestionId: 'none' })).toBe(0);
    const ofTenants = await Promise.all(['t', 'u', 'v'].map((tenant) => ledger.countOutstandingChunks({ tenant })));
    expect(ofTenants).toEqual([3, 1, 0]);
    await ledger.completeChunk('i1', 0, NOTHING, 60);
    expect(await ledger.countOutstandingChunks({ tenant: 't' })).toBe(2);
  });

  test('planning ends once', async () => {
    await create('i1');
    await ledger.finishPlanning('i1');
    await ledger.finishPlanning('i1');
    expect(await ledger.getIngestion('t', 'i1')).toMatchObject({ planned: true, status: 'planning' });
    await expect(ledger.finishPlanning('none')).rejects.toMatchObject({ code: 'ingestion_not_found' });
  });

  test('failures are paged in the order they came; the same key again is another attempt', async () => {
    await create('i1');
    const failures = ['a', 'b', 'c'].map((key) => ({ key, code: 'picture_corrupt' as const, reason: 'r', eTag: `e-${key}` }));
    await addChunk('i1', 0, { failures });
    await addChunk('i1', 1, { failures: [{ key: 'b', code: 'picture_empty', reason: 'now' }], at: 30 });
    const first = await ledger.failures('i1', { limit: 2 });
    expect(first.failures).toEqual([
      { key: 'a', code: 'picture_corrupt', reason: 'r', attempts: 1, lastAttemptAt: 10 },
      { key: 'b', code: 'picture_empty', reason: 'now', attempts: 2, lastAttemptAt: 30 },
    ]);
    const rest = await ledger.failures('i1', { limit: 2, cursor: first.nextCursor ?? '' });
    expect(rest).toEqual({ failures: [expect.objectContaining({ key: 'c' })], nextCursor: null });
    for (const cursor of ['nonsense', '', '-1', '1e1', ' 1', '1.0', '9'.repeat(16)])
      await expect(ledger.failures('i1', { limit: 2, cursor })).rejects.toMatchObject({ code: 'request_invalid' });
    await expect(ledger.failures('none', { limit: 2 })).rejects.toMatchObject({ code: 'ingestion_not_found' });
    const all = [];
    for await (const failed of ledger.failedObjects('i1')) all.push(failed);
    expect(all).toEqual([
      { key: 'a', eTag: 'e-a', code: 'picture_corrupt' },
      { key: 'b', eTag: null, code: 'picture_empty' },
      { key: 'c', eTag: 'e-c', code: 'picture_corrupt' },
    ]);
  });

  test('more failures than a page of a store holds come all, once and in order', async () => {
    await create('i1');
    const keys = Array.from({ length: 1_201 }, (_, n) => `picture-${n}`);
    await addChunk('i1', 0, { failures: keys.map((key) => ({ key, code: 'picture_corrupt', reason: 'r' })) });
    const all: string[] = [];
    for await (const { key } of ledger.failedObjects('i1')) all.push(key);
    expect(all).toEqual(keys);
    expect((await ledger.failures('i1', { limit: 2_000 })).failures.map(({ key }) => key)).toEqual(keys);
    const paged: string[] = [];
    for (let cursor: string | undefined; ;) {
      const page = await ledger.failures('i1', { limit: 700, cursor });
      paged.push(...page.failures.map(({ key }) => key));
      if (page.nextCursor === null) break;
      cursor = page.nextCursor;
    }
    expect(paged).toEqual(keys);
  });

  test('a key is leased to one holder at a time, until released or expired', async () => {
    const first = await ledger.leaseKeys(['a', 'b', 'a'], { ttlMs: 100 });
    expect([first.granted.toSorted(), first.busy]).toEqual([['a', 'b'], []]);
    const second = await ledger.leaseKeys(['b', 'c'], { ttlMs: 100 });
    expect([second.granted, second.busy]).toEqual([['c'], ['b']]);
    await ledger.releaseKeys(first.token);
    expect((await ledger.leaseKeys(['b'], { ttlMs: 100 })).granted).toEqual(['b']);
    opened.setNow(1_101);
    expect((await ledger.leaseKeys(['a', 'b', 'c'], { ttlMs: 100 })).granted.toSorted()).toEqual(['a', 'b', 'c']);
    await ledger.releaseKeys('unknown');
  });

  test('a lease is renewed while it is held and lost once it ran out', async () => {
    const lease = await ledger.leaseKeys(['a'], { ttlMs: 100 });
    opened.setNow(1_090);
    expect(await ledger.renewKeys(lease.token, { ttlMs: 100 })).toBe(true);
    opened.setNow(1_150);
    expect((await ledger.leaseKeys(['a'], { ttlMs: 100 })).busy).toEqual(['a']);
    opened.setNow(1_300);
    expect(await ledger.renewKeys(lease.token, { ttlMs: 100 })).toBe(false);
    expect((await ledger.leaseKeys(['a'], { ttlMs: 100 })).granted).toEqual(['a']);
    expect(await ledger.renewKeys(lease.token, { ttlMs: 100 })).toBe(false);
    expect(await ledger.renewKeys('unknown', { ttlMs: 100 })).toBe(false);
  });

  test('versions only grow, over all keys, also when nothing is granted or the clock goes back', async () => {
    const versions: number[] = [];
    for (const at of [1_000, 1_000, 5_000, 2_000, 1]) {
      opened.setNow(at);
      versions.push((await ledger.leaseKeys(at === 1 ? [] : ['k'], { ttlMs: 1_000_000 })).version);
    }
    expect(versions).toEqual([...new Set(versions)].toSorted((a, b) => a - b));
    expect(versions.every(Number.isSafeInteger)).toBe(true);
    // An index that goes over to another kind of ledger must not take its versions for old ones.
    expect(versions.map((version) => Math.floor(version / 1_000_000))).toEqual([1, 1, 5, 5, 5]);
  });

  test('of writers at the same time each key has one holder', async () => {
    const other = await opened.openAgain();
    try {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd'), { minLength: 1 }), { maxLength: 8 }),
          async (wishes) => {
            const leases = await Promise.all(
              wishes.map((keys, i) => (i % 2 ? ledger : other).leaseKeys(keys, { ttlMs: 10_000 })),
            );
            const granted = leases.flatMap((lease) => lease.granted);
            expect(new Set(granted).size).toBe(granted.length);
            expect(new Set(leases.map(({ version }) => version)).size).toBe(leases.length);
            for (const { token } of leases) await ledger.releaseKeys(token);
          },
        ),
        { numRuns: 15, seed: 3 },
      );
    } finally {
      await other.close();
    }
  });

  test('what was answered is there for another process', async () => {
    await create('i1');
    await addChunk('i1', 0);
    await ledger.putSetting('pack', 'starter');
    const other = await opened.openAgain();
    try {
      expect(await other.getSetting('pack')).toBe('starter');
      expect(await other.completeChunk('i1', 0, NOTHING, 5)).toBe(true);
      expect(await ledger.completeChunk('i1', 0, NOTHING, 5)).toBe(false);
    } finally {
      await other.close();
    }
  });

  test('settings are read, replaced, or null', async () => {
    expect(await ledger.getSetting('a')).toBeNull();
    await ledger.putSetting('a', '1');
    await ledger.putSetting('a', '2');
    expect(await ledger.getSetting('a')).toBe('2');
    for (let again = 0; again < 2; again++) await ledger.putSetting('a', null);
    expect(await ledger.getSetting('a')).toBeNull();
  });

  test('pruning drops what is over and overtaken, never the newest of a source or what still runs', async () => {
    for (const [id, at] of [['i1', 1], ['i2', 2], ['i3', 3]] as const) await create(id, at); // prettier-ignore
    await create('i4', 1, 't', OTHER);
    for (const id of ['i1', 'i3', 'i4']) await ledger.setStatus(id, ['planning'], 'completed', { at: 10 });
    await addChunk('i1', 0, { failures: [{ key: 'k', code: 'picture_corrupt', reason: 'r' }] });
    expect(await ledger.prune(10)).toBe(0);
    expect(await ledger.prune(11)).toBe(1);
    expect((await ledger.listIngestions('t', { limit: 9 })).map(({ ingestionId }) => ingestionId).toSorted()).toEqual([
      'i2',
      'i3',
      'i4',
    ]);
    expect(await ledger.countOutstandingChunks()).toBe(0);
  });
}
