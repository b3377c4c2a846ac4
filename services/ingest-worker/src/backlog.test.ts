import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SqliteLedger } from '@sightline/shared/adapters/sqlite-ledger';
import { newId } from '@sightline/shared/contracts/ids';
import { Backlog } from './core/backlog.ts';

let folder: string;
let ledger: SqliteLedger;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-backlog-'));
  ledger = await SqliteLedger.open({ file: join(folder, 'ledger.db') });
});

afterEach(async () => {
  await ledger.close();
  rmSync(folder, { recursive: true });
});

/** An ingestion of the tenant's that owes so many chunks. */
async function owes(tenant: string, chunks: number, hold: 'user' | null = null): Promise<void> {
  const ingestionId = newId();
  const source = { type: 'prefix', bucket: 'b', prefix: '' } as const;
  await ledger.createIngestion({ ingestionId, tenant, source, createdAt: Date.now() });
  const entries = [{ object: { bucket: 'b', key: 'k', eTag: 'e', sizeBytes: 1 } }];
  for (let chunkNo = 0; chunkNo < chunks; chunkNo++) {
    const after = chunkNo === 0 ? null : '{}';
    await ledger.addChunk(ingestionId, { chunkNo, entries, listed: 1, failures: [], after, cursor: '{}', at: 1 });
  }
  if (hold) await ledger.setHold(ingestionId, hold, { at: 1 });
}

const limits = { perTenantChunks: 64, totalChunks: 100 };

test('a tenant has room up to its own mark, and goes on planning only well below it', async () => {
  const backlog = new Backlog(ledger, limits);
  expect(await backlog.room('a')).toEqual({ chunks: 64, owed: 0 });
  await owes('a', 32);
  expect(await backlog.mayGoOn('a')).toBe(true);
  await owes('a', 1);
  expect(await backlog.mayGoOn('a')).toBe(false);
  expect(await backlog.room('a')).toEqual({ chunks: 31, owed: 33 });
  await owes('a', 37);
  expect(await backlog.room('a')).toEqual({ chunks: 0, owed: 70 });
});

test('what others owe leaves a tenant that owes next to nothing a little room', async () => {
  const backlog = new Backlog(ledger, limits);
  await owes('b', 60);
  await owes('c', 60);
  expect((await backlog.room('a')).chunks).toBe(4);
  expect(await backlog.mayGoOn('a')).toBe(true);
  expect((await backlog.room('b')).chunks).toBe(0);
  await owes('a', 4);
  expect((await backlog.room('a')).chunks).toBe(0);
  expect(await backlog.mayGoOn('a')).toBe(false);
});

test('chunks of an ingestion that somebody paused keep nobody from planning', async () => {
  await owes('a', 64, 'user');
  await owes('a', 10);
  await owes('b', 50, 'user');
  expect(await new Backlog(ledger, limits).room('a')).toEqual({ chunks: 54, owed: 10 });
});

test('a mark of one chunk is enough to get on', async () => {
  const backlog = new Backlog(ledger, { perTenantChunks: 1, totalChunks: 1 });
  expect(await backlog.mayGoOn('a')).toBe(true);
  await owes('a', 1);
  expect(await backlog.mayGoOn('a')).toBe(false);
});
