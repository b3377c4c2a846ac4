import { expect, test } from '@jest/globals';
import type { ChunkEntry, Failure, Ingestion, Ledger } from '../src/ports/ledger.ts';

const SOURCE = { type: 'directory', path: '/pictures' } as const;
const ENTRY: ChunkEntry = { object: { bucket: '/pictures', key: 'a.png', eTag: 'e1', sizeBytes: 3 } };
const NOTHING = { indexed: 0, unchanged: 0, duplicate: 0, failures: [] };

/** What every Ledger does when an ingestion is stopped, let go, cancelled or tried again: a part of ledgerContract. */
export function ledgerControlContract(ledgerOf: () => Ledger): void {
  const create = (ingestionId: string) => ledgerOf().createIngestion({ ingestionId, tenant: 't', source: SOURCE, createdAt: 1 });
  const get = async (ingestionId: string): Promise<Ingestion | null> => ledgerOf().getIngestion('t', ingestionId);
  const addChunk = (ingestionId: string, chunkNo: number, more: Partial<Parameters<Ledger['addChunk']>[1]> = {}) =>
    ledgerOf().addChunk(ingestionId, {
      chunkNo,
      entries: [ENTRY],
      listed: 1,
      failures: [],
      after: chunkNo === 0 ? null : `c${chunkNo - 1}`,
      cursor: `c${chunkNo}`,
      at: 10,
      ...more,
    });
  const failed = (...keys: string[]) => keys.map((key) => ({ key, code: 'picture_corrupt' as const, reason: 'r' }));
  const failures = async (ingestionId: string): Promise<Failure[]> =>
    (await ledgerOf().failures(ingestionId, { limit: 99 })).failures;

  test('a hold stops an ingestion with its reason, and only letting it go starts it again', async () => {
    const ledger = ledgerOf();
    await create('i1');
    expect(await ledger.setHold('i1', 'failures', { reason: '403 on everything', at: 5 })).toBe(true);
    const held = { status: 'paused', hold: 'failures', reason: '403 on everything', finishedAt: null };
    expect(await get('i1')).toMatchObject(held);
    // Neither another hold nor who goes on by itself moves it.
    expect(await ledger.setHold('i1', 'user', { at: 6 })).toBe(false);
    expect(await ledger.setStatus('i1', ['planning', 'paused'], 'running', { at: 6 })).toBe(false);
    expect(await ledger.setStatus('i1', ['paused'], 'paused', { reason: 'other', at: 6 })).toBe(false);
    expect(await get('i1')).toMatchObject(held);
    expect((await ledger.listIngestions('t', { statuses: ['paused'], limit: 9 })).map(({ hold }) => hold)).toEqual(['failures']);
    expect(await ledger.setHold('i1', null, { at: 7 })).toBe(true);
    expect(await get('i1')).toMatchObject({ status: 'planning', hold: null, reason: null });
    expect(await ledger.setHold('i1', null, { at: 8 })).toBe(false);
    await expect(ledger.setHold('none', 'user', { at: 1 })).rejects.toMatchObject({ code: 'ingestion_not_found' });
  });

  test('a planned ingestion that is let go runs, one that paused by itself is let go too, an ended one is not held', async () => {
    const ledger = ledgerOf();
    await create('i1');
    await ledger.finishPlanning('i1');
    expect(await ledger.setHold('i1', 'user', { at: 5 })).toBe(true);
    expect(await ledger.setHold('i1', null, { at: 6 })).toBe(true);
    expect(await get('i1')).toMatchObject({ status: 'running', hold: null });
    await ledger.setStatus('i1', ['running'], 'paused', { reason: 'the store is away', at: 7 });
    expect(await ledger.setHold('i1', null, { at: 8 })).toBe(true);
    expect(await get('i1')).toMatchObject({ status: 'running', reason: null });
    // A pause by itself becomes a hold.
    await ledger.setStatus('i1', ['running'], 'paused', { reason: 'the store is away', at: 9 });
    expect(await ledger.setHold('i1', 'user', { at: 10 })).toBe(true);
    // What ends it ends its hold.
    expect(await ledger.setStatus('i1', ['paused'], 'failed', { reason: 'why', at: 11 })).toBe(true);
    expect(await get('i1')).toMatchObject({ status: 'failed', hold: null, finishedAt: 11 });
    expect(await ledger.setHold('i1', 'user', { at: 12 })).toBe(false);
    expect(await ledger.setHold('i1', null, { at: 12 })).toBe(false);
    expect(await get('i1')).toMatchObject({ status: 'failed', hold: null });
  });

  test('a cancelled ingestion owes nothing, whatever its planner and its workers still bring', async () => {
    const ledger = ledgerOf();
    for (const id of ['i1', 'i2']) {
      await create(id);
      await addChunk(id, 0);
      await addChunk(id, 1);
    }
    await ledger.takeChunk('i1', 0);
    await ledger.addSuspect('i1', 0, 'a.png');
    await ledger.setHold('i1', 'user', { at: 10 });
    expect(await ledger.setStatus('i1', ['planning', 'running', 'paused'], 'cancelled', { at: 11 })).toBe(true);
    expect(await get('i1')).toMatchObject({ status: 'cancelled', hold: null, finishedAt: 11 });
    expect(await ledger.takeChunk('i1', 0)).toBeNull();
    expect(await ledger.completeChunk('i1', 0, { ...NOTHING, indexed: 1 }, 12)).toBe(false);
    await addChunk('i1', 2, { failures: failed('k') });
    expect(await get('i1')).toMatchObject({ nextChunkNo: 3, cursor: 'c2', counts: { listed: 3, indexed: 0, failed: 1 } });
    expect(await ledger.outstandingChunks({ ingestionId: 'i1', limit: 9 })).toEqual([]);
    expect(await ledger.countOutstandingChunks({ ingestionId: 'i1' })).toBe(0);
    expect(await ledger.countOutstandingChunks({ tenant: 't' })).toBe(2);
    expect(await ledger.countOutstandingChunks()).toBe(2);
    expect((await ledger.outstandingChunks({ limit: 9 })).map(({ ingestionId }) => ingestionId)).toEqual(['i2', 'i2']);
  });

  test('an ended ingestion with failures is opened again, and what was counted stays', async () => {
    const ledger = ledgerOf();
    await create('i1');
    await addChunk('i1', 0, { listed: 3, failures: failed('a', 'b') });
    expect(await ledger.reopen('i1', 'again', 20)).toBe(0);
    expect(await get('i1')).toMatchObject({ cursor: 'c0' });
    await ledger.completeChunk('i1', 0, { ...NOTHING, indexed: 1 }, 12);
    await ledger.finishPlanning('i1');
    await ledger.setStatus('i1', ['planning'], 'completed', { reason: 'why', at: 19 });
    expect(await ledger.reopen('i1', 'again', 20)).toBe(2);
    const opened = {
      status: 'planning',
      planned: false,
      cursor: 'again',
      reason: null,
      finishedAt: null,
      nextChunkNo: 1,
      counts: { listed: 3, indexed: 1, failed: 2 },
    };
    expect(await get('i1')).toMatchObject(opened);
    // Who did not hear the answer asks again.
    expect(await ledger.reopen('i1', 'again', 21)).toBe(2);
    expect(await ledger.reopen('i1', 'another', 21)).toBe(0);
    expect(await get('i1')).toMatchObject(opened);
    expect(await ledger.prune(1_000)).toBe(0);
    await expect(ledger.reopen('none', 'c', 1)).rejects.toMatchObject({ code: 'ingestion_not_found' });
  });

  test('an ended ingestion without failures stays ended', async () => {
    const ledger = ledgerOf();
    await create('i1');
    await ledger.setStatus('i1', ['planning'], 'completed', { at: 19 });
    expect(await ledger.reopen('i1', 'again', 20)).toBe(0);
    expect(await get('i1')).toMatchObject({ status: 'completed', cursor: null, finishedAt: 19 });
  });

  test('failures tried again are failures no more; one that fails again has its old place and its attempts', async () => {
    const ledger = ledgerOf();
    await create('i1');
    await addChunk('i1', 0, { listed: 4, failures: failed('a', 'b', 'c') });
    const again = { listed: 0, retried: ['b', 'a', 'never-failed'] };
    await addChunk('i1', 1, again);
    await addChunk('i1', 1, again);
    expect((await failures('i1')).map(({ key }) => key)).toEqual(['c']);
    expect((await get('i1'))?.counts).toMatchObject({ listed: 4, failed: 1 });
    const objects = [];
    for await (const { key } of ledger.failedObjects('i1')) objects.push(key);
    expect(objects).toEqual(['c']);
    await ledger.completeChunk('i1', 1, { ...NOTHING, indexed: 1, failures: failed('b', 'd') }, 30);
    expect((await failures('i1')).map(({ key, attempts }) => [key, attempts])).toEqual([
      ['b', 2],
      ['c', 1],
      ['d', 1],
    ]);
    expect((await get('i1'))?.counts).toMatchObject({ listed: 4, indexed: 1, failed: 3 });
    // Who stands behind `b`'s old place does not meet it again.
    const first = await ledger.failures('i1', { limit: 1 });
    expect((await ledger.failures('i1', { limit: 9, cursor: first.nextCursor ?? '' })).failures).toHaveLength(2);
    await addChunk('i1', 2, { listed: 0, retried: ['b'] });
    await ledger.completeChunk('i1', 2, { ...NOTHING, failures: failed('b') }, 31);
    const rest = await ledger.failures('i1', { limit: 9, cursor: first.nextCursor ?? '' });
    expect(rest.failures.map(({ key }) => key)).toEqual(['c', 'd']);
  });

  test('one that planning finds failing again is on the list again', async () => {
    await create('i1');
    await addChunk('i1', 0, { failures: failed('a') });
    await addChunk('i1', 1, { entries: [], listed: 0, retried: ['a'], failures: failed('a') });
    expect((await failures('i1')).map(({ key, attempts }) => [key, attempts])).toEqual([['a', 2]]);
    expect((await get('i1'))?.counts).toMatchObject({ failed: 1 });
  });
}
