import { expect, test } from '@jest/globals';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
    const { DatabaseSync } = await import('node:sqlite');
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
