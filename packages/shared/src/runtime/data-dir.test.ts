import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { ownDataDir, waitForDataDir } from './data-dir.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sightline-data-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** Another process that owns the directory until it is killed. */
async function ownElsewhere() {
  const script = `import { ownDataDir } from ${JSON.stringify(new URL('data-dir.ts', import.meta.url).href)};
    ownDataDir(${JSON.stringify(dir)});
    console.log('owned');
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return child;
}

test('a directory that another process owns is refused with its process id, and free once that is killed', async () => {
  const owner = await ownElsewhere();
  expect(() => ownDataDir(dir)).toThrow(`process ${owner.pid}`);
  await expect(waitForDataDir(dir, 300)).rejects.toMatchObject({ code: 'data_dir_in_use' });
  const waiting = waitForDataDir(dir, 10_000);
  owner.kill('SIGKILL');
  (await waiting).release();
});

test('a note that a dead owner left, even under a process id that lives, does not keep the directory', () => {
  writeFileSync(join(dir, 'owner.json'), JSON.stringify({ pid: process.pid }));
  const owned = ownDataDir(dir);
  owned.release();
  owned.release();
  ownDataDir(dir).release();
});

test('a directory that cannot be made is an error of the configuration', async () => {
  writeFileSync(join(dir, 'file'), '');
  await expect(waitForDataDir(join(dir, 'file', 'below'), 5_000)).rejects.toMatchObject({ code: 'config_invalid' });
});
