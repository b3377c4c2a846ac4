import { expect, test } from '@jest/globals';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeIndexVersions } from '../../testing/index-versions-contract.ts';
import { CONTRACT_SPEC } from '../../testing/vector-index-points.ts';
import { sqliteIndexVersions } from './sqlite-index-versions.ts';

describeIndexVersions('sqlite', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-versions-'));
  const file = join(folder, 'index.db');
  return {
    versions: sqliteIndexVersions({ file }),
    again: sqliteIndexVersions({ file }),
    close: () => rm(folder, { recursive: true }),
  };
});

test('a pointer that cannot be read, or that names what is not there, is no guess', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-versions-'));
  try {
    const versions = sqliteIndexVersions({ file: join(folder, 'index.db') });
    await versions.found(CONTRACT_SPEC);
    await expect(versions.serve(2)).rejects.toMatchObject({ code: 'index_unavailable' });
    for (const text of ['', '{"format":1}', '{"format":2,"serving":1}', 'serving 1']) {
      await writeFile(join(folder, 'index.version.json'), text);
      await expect(versions.serving()).rejects.toMatchObject({ code: 'store_damaged' });
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('other files of the folder are no versions', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-versions-'));
  try {
    for (const name of [
      'index-2.db-wal',
      'index-0.db',
      'index-1.db',
      'index-x.db',
      'index-2.db.bak',
      'ledger.db',
      'index-007.db',
    ])
      await writeFile(join(folder, name), '');
    const versions = sqliteIndexVersions({ file: join(folder, 'index.db') });
    expect(await versions.numbers()).toEqual([]);
    await writeFile(join(folder, 'index-12.db'), '');
    expect(await versions.numbers()).toEqual([12]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
