import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from '@jest/globals';
import pg from 'pg';
import { pino } from 'pino';
import { findPostgresBinaries, packageDir } from './embedded-postgres-binaries.ts';
import { openEmbeddedPostgres } from './embedded-postgres.ts';
import type { EmbeddedPostgres } from './embedded-postgres.ts';

const isRoot = process.getuid?.() === 0;
const asRoot = isRoot ? test : test.skip;
const logger = pino({ level: 'silent' });

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function scratch(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-pg-'));
  cleanups.push(() => {
    const base = baseOf(dir);
    rmSync(dir, { recursive: true, force: true });
    if (base) rmSync(base, { recursive: true, force: true });
  });
  return dir;
}

async function open(dataDir: string): Promise<EmbeddedPostgres> {
  const postgres = await openEmbeddedPostgres({ dataDir }, { logger });
  cleanups.push(() => postgres.close());
  return postgres;
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

/** Where the cluster lies, as recorded in the data directory. */
function baseOf(dataDir: string): string | null {
  const file = join(dataDir, 'postgres.json');
  return existsSync(file) ? String(JSON.parse(readFileSync(file, 'utf8')).base) : null;
}

function serverPid(dataDir: string): number {
  return Number.parseInt(readFileSync(join(baseOf(dataDir) ?? '', 'data', 'postmaster.pid'), 'utf8'), 10);
}

/** A killed process that nobody waits for stays listed, as a zombie. */
function runs(pid: number): boolean {
  const { stdout } = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' });
  return stdout.trim() !== '' && !stdout.startsWith('Z');
}

async function until(condition: () => boolean): Promise<void> {
  for (const endsAt = performance.now() + 20_000; !condition(); await sleep(20))
    if (performance.now() > endsAt) throw new Error('it did not happen');
}

/** Opens the server in another process, to be killed. */
async function openElsewhere(dataDir: string) {
  const script = `
    import { openEmbeddedPostgres } from ${JSON.stringify(fileURLToPath(new URL('embedded-postgres.ts', import.meta.url)))};
    import { pino } from 'pino';
    await openEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)} }, { logger: pino({ level: 'silent' }) });
    console.log('ready');
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: fileURLToPath(new URL('.', import.meta.url)),
  });
  cleanups.push(() => child.kill('SIGKILL'));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return child;
}

test('starts, keeps what was written over a restart, and leaves no process behind', async () => {
  const dataDir = scratch();
  const first = await open(dataDir);
  await query(first.url, 'CREATE TABLE kept AS SELECT 42 AS answer');
  const pid = serverPid(dataDir);
  await first.close();
  expect(runs(pid)).toBe(false);
  const second = await open(dataDir);
  expect(await query(second.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }]);
});

test('the password is readable by the owner alone, and nobody is let in without it', async () => {
  const dataDir = scratch();
  const { url } = await open(dataDir);
  expect(statSync(join(dataDir, 'postgres.json')).mode & 0o777).toBe(0o600);
  const wrong = new URL(url);
  wrong.password = 'wrong';
  await expect(query(wrong.href, 'SELECT 1')).rejects.toThrow();
  expect(await query(url, 'SHOW listen_addresses')).toEqual([{ listen_addresses: '' }]);
});

test('the server ends with a process that was killed', async () => {
  const dataDir = scratch();
  const owner = await openElsewhere(dataDir);
  const pid = serverPid(dataDir);
  owner.kill('SIGKILL');
  await until(() => !runs(pid));
});

test('an orphan, whose supervisor was killed too, is stopped by the next start', async () => {
  const dataDir = scratch();
  const owner = await openElsewhere(dataDir);
  const orphan = serverPid(dataDir);
  const supervisor = Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${orphan}/stat`, 'utf8'))?.[1]);
  for (const child of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (readFileSync(`/proc/${child}/stat`, 'utf8').includes(`) S ${supervisor} `) && Number(child) !== orphan)
        process.kill(Number(child), 'SIGKILL');
    } catch {
      // Gone meanwhile.
    }
  }
  process.kill(supervisor, 'SIGKILL');
  owner.kill('SIGKILL');
  await sleep(300);
  expect(runs(orphan)).toBe(true);
  const { url } = await open(dataDir);
  expect(runs(orphan)).toBe(false);
  expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('a process id that another program has got meanwhile neither keeps the server from starting nor is harmed', async () => {
  const dataDir = scratch();
  await (await open(dataDir)).close();
  const bystander = spawn('sleep', ['60']);
  cleanups.push(() => bystander.kill('SIGKILL'));
  const base = baseOf(dataDir) ?? '';
  writeFileSync(join(base, 'data', 'postmaster.pid'), `${bystander.pid}\n${base}/data\n0\n5432\n\n\n`);
  const { url } = await open(dataDir);
  expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  expect(bystander.exitCode).toBeNull();
});

test('a server that dies is started again', async () => {
  const dataDir = scratch();
  const { url } = await open(dataDir);
  const pid = serverPid(dataDir);
  process.kill(pid, 'SIGKILL');
  await until(() => !runs(pid));
  let answer: unknown[] = [];
  for (const endsAt = performance.now() + 20_000; answer.length === 0 && performance.now() < endsAt; await sleep(100))
    answer = await query(url, 'SELECT 1 AS one').catch(() => []);
  expect(answer).toEqual([{ one: 1 }]);
});

test('binaries without their symbolic links, as npm leaves them with install scripts blocked, are made to run', () => {
  const package_ = join(scratch(), 'package');
  copyBinaries(package_);
  for (const name of readdirSync(join(package_, 'native', 'lib')))
    if (/\.so(\.\d+)?$/.test(name) && existsSync(join(package_, 'native', 'lib', name)) && isLinkOf(name))
      rmSync(join(package_, 'native', 'lib', name));
  expect(spawnSync(join(package_, 'native', 'bin', 'initdb'), ['--version']).status).not.toBe(0);
  expect(findPostgresBinaries(null, scratch(), join(package_, 'native'))).toBe(join(package_, 'native'));
});

asRoot('root in a directory of mode 700: data and binaries lie where the server’s user can reach them', async () => {
  const home = scratch();
  chmodSync(home, 0o700);
  const dataDir = join(home, 'clone', '.sightline');
  mkdirSync(dataDir, { recursive: true });
  cleanups.push(() => rmSync(baseOf(dataDir) ?? join(home, 'none'), { recursive: true, force: true }));
  copyBinaries(join(home, 'clone', 'package'));
  const nobody = { uid: 65534, gid: 65534 };
  const native = findPostgresBinaries(nobody, dataDir, join(home, 'clone', 'package', 'native'));
  expect(native.startsWith(home)).toBe(false);
  expect(spawnSync(join(native, 'bin', 'postgres'), ['--version'], { ...nobody, cwd: '/' }).status).toBe(0);
  const { url } = await open(dataDir);
  expect(baseOf(dataDir)?.startsWith(home)).toBe(false);
  expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

asRoot('a cluster outside its data directory is removed, server and all, once that directory is gone', async () => {
  const [gone, next] = [scratch(), scratch()];
  chmodSync(gone, 0o700);
  chmodSync(next, 0o700);
  await open(gone);
  const [base, pid] = [baseOf(gone) ?? '', serverPid(gone)];
  rmSync(gone, { recursive: true });
  await open(next);
  expect(existsSync(base)).toBe(false);
  expect(runs(pid)).toBe(false);
});

asRoot('an ordinary user keeps everything in the data directory', async () => {
  const dataDir = scratch();
  const native = packageDir();
  if (spawnSync('test', ['-x', join(native, 'bin', 'postgres')], { uid: 65534, gid: 65534 }).status !== 0) return;
  chownSync(dataDir, 65534, 65534);
  const script = `
    import { openEmbeddedPostgres } from ${JSON.stringify(fileURLToPath(new URL('embedded-postgres.ts', import.meta.url)))};
    import { pino } from 'pino';
    const postgres = await openEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)} }, { logger: pino({ level: 'silent' }) });
    console.log(process.getuid());
    await postgres.close();`;
  const result = spawnSync(process.execPath, ['--input-type=module-typescript', '-e', script], {
    uid: 65534,
    gid: 65534,
    encoding: 'utf8',
    cwd: fileURLToPath(new URL('.', import.meta.url)),
  });
  expect(result.stderr).toBe('');
  expect(result.stdout.trim()).toBe('65534');
  expect(baseOf(dataDir)).toBe(join(dataDir, 'postgres'));
});

function copyBinaries(package_: string): void {
  cpSync(join(packageDir(), '..'), package_, { recursive: true, verbatimSymlinks: true });
}

function isLinkOf(name: string): boolean {
  return readFileSync(join(packageDir(), 'pg-symlinks.json'), 'utf8').includes(`"native/lib/${name}"`) && !/\d+\.\d+$/.test(name);
}
