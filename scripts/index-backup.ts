/**
 * `npm run backup -- create [DIR] | list | restore FILE`: backups of a production index (Qdrant, named by QDRANT_URL). `create` writes a
 * snapshot on the server, copies it to DIR (default: here) with its checksum beside it, and deletes it on the server unless `--keep`;
 * `restore` makes a new collection of the file and lets the index's alias stand for it.
 */
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { QdrantIndexSnapshots, sha256Of } from '@sightline/shared/adapters/qdrant-index-snapshots';
import { readConfig } from '@sightline/shared/runtime/config';
import { ENGINE_SETTINGS } from '@sightline/shared/runtime/engine-settings';
import { runCommand } from './run-command.ts';

const SETTINGS = {
  qdrantUrl: ENGINE_SETTINGS.qdrantUrl,
  qdrantApiKey: ENGINE_SETTINGS.qdrantApiKey,
  qdrantAlias: ENGINE_SETTINGS.qdrantAlias,
};
const USAGE = 'usage: npm run backup -- create [DIR] [--keep] | list | restore FILE';

const { positionals, values: flags } = parseArgs({
  allowPositionals: true,
  options: { keep: { type: 'boolean', default: false } },
});

async function create(snapshots: QdrantIndexSnapshots, dir: string): Promise<void> {
  const made = await snapshots.create();
  const file = join(resolve(dir), made.name);
  await snapshots.download(made, file);
  // In the form that `sha256sum -c` reads.
  await writeFile(`${file}.sha256`, `${await sha256Of(file)}  ${made.name}\n`);
  if (!flags.keep) await snapshots.delete(made.name);
  console.log(`${file} (${megabytes(made.sizeBytes)} MB), checksum in ${file}.sha256`);
}

async function list(snapshots: QdrantIndexSnapshots): Promise<void> {
  const all = await snapshots.list();
  if (all.length === 0) console.log('No snapshots on the server.');
  for (const { name, sizeBytes, createdAt } of all) console.log(`${name}  ${megabytes(sizeBytes)} MB  ${createdAt ?? ''}`);
}

async function restore(snapshots: QdrantIndexSnapshots, file: string): Promise<void> {
  const sums = `${file}.sha256`;
  const sha256 = existsSync(sums) ? ((await readFile(sums, 'utf8')).split(' ')[0] ?? null) : null;
  if (sha256 === null) console.log(`There is no ${sums}: the file is taken as it is.`);
  const { collection, previous, points } = await snapshots.restore(resolve(file), sha256);
  console.log(`${points} points in the collection ${collection}, which the index's name stands for now.`);
  if (previous) console.log(`The collection ${previous} served before and is still there: delete it once all is well.`);
  console.log('Start the services again: those that run go on with the collection that they opened.');
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

await runCommand(async () => {
  const [command, argument] = positionals;
  const { qdrantUrl: url, qdrantApiKey: apiKey, qdrantAlias: alias } = readConfig(SETTINGS, process.env);
  if (!url)
    throw new Error('QDRANT_URL names no Qdrant. The embedded index is a file in DATA_DIR: copy that while nothing runs.');
  const snapshots = new QdrantIndexSnapshots({ url, ...(apiKey && { apiKey }) }, alias);
  try {
    if (command === 'create') await create(snapshots, argument ?? '.');
    else if (command === 'list') await list(snapshots);
    else if (command === 'restore' && argument) await restore(snapshots, argument);
    else {
      console.error(USAGE);
      return 2;
    }
    return 0;
  } finally {
    await snapshots.close();
  }
});
