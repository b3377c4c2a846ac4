import { expect, test } from '@jest/globals';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ledgerContract } from '../../testing/ledger-contract.ts';
import { SqliteLedger } from './sqlite-ledger.ts';

ledgerContract(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-ledger-'));
  let now = 0;
  const open = () => SqliteLedger.open({ file: join(folder, 'ledger.db'), now: () => now });
  return {
    ledger: await open(),
    setNow: (at) => {
      now = at;
    },
    openAgain: open,
    close: () => rm(folder, { recursive: true }),
  };
});

test('an index file is refused as a ledger', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-ledger-'));
  try {
    const db = new DatabaseSync(join(folder, 'other.db'));
    db.exec('CREATE TABLE points (id INTEGER)');
    db.close();
    await expect(SqliteLedger.open({ file: join(folder, 'other.db') })).rejects.toMatchObject({
      code: 'store_format_unsupported',
    });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a file of format 2 is opened with all it holds, and does what is new', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-ledger-'));
  const file = join(folder, 'ledger.db');
  try {
    const old = new DatabaseSync(file);
    old.exec(await readFile(new URL('../../testing/ledger-format-2.sql', import.meta.url), 'utf8'));
    old.close();
    const ledger = await SqliteLedger.open({ file, now: () => 5_500 });
    try {
      expect(await ledger.getIngestion('t', 'i1')).toMatchObject({
        hold: null,
        nextChunkNo: 1,
        counts: { listed: 2, failed: 1 },
      });
      expect(await ledger.getIngestion('t', 'i2')).toMatchObject({ dryRun: true, status: 'completed', finishedAt: 20 });
      expect((await ledger.takeChunk('i1', 0))?.attempts).toBe(2);
      expect(await ledger.addSuspect('i1', 0, 'a.png')).toBe(false);
      const lease = await ledger.leaseKeys(['k'], { ttlMs: 10 });
      expect([lease.busy, lease.version > 5_000]).toEqual([['k'], true]);
      expect(await ledger.getSetting('pack')).toBe('starter');
      expect((await ledger.failures('i1', { limit: 9 })).failures).toMatchObject([{ key: 'b.png', attempts: 1 }]);
      expect(await ledger.setHold('i1', 'user', { at: 30 })).toBe(true);
      expect(await ledger.listApiKeys(null)).toEqual([]);
      expect(await ledger.listAudits('t', { limit: 9 })).toEqual([]);
      expect(await ledger.setStatus('i1', ['paused'], 'cancelled', { at: 31 })).toBe(true);
      expect(await ledger.countOutstandingChunks()).toBe(0);
    } finally {
      await ledger.close();
    }
    const migrated = new DatabaseSync(file);
    expect(migrated.prepare('PRAGMA user_version').get()).toMatchObject({ user_version: 8 });
    migrated.close();
  } finally {
    await rm(folder, { recursive: true });
  }
});
