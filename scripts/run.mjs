/**
 * `node scripts/run.mjs <script.ts> [arguments]`: what every npm command goes through. Installs the packages when they are not those of
 * package-lock.json, then runs the script with the Node 24 that the packages bring. Plain JavaScript: this file alone also runs on
 * the system's Node, from version 18 on.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { availableParallelism, constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const node = join(root, 'node_modules', '.bin', 'node');

const [script, ...args] = process.argv.slice(2);
if (!script) {
  console.error('usage: node scripts/run.mjs <script.ts> [arguments]');
  process.exit(2);
}
if (!isInstalled()) await install();
run();

/** npm keeps what it installed in a lock file of its own; packages of other platforms are optional and stay out. */
function isInstalled() {
  try {
    const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
    const present = JSON.parse(readFileSync(join(root, 'node_modules', '.package-lock.json'), 'utf8')).packages;
    const needed = Object.entries(wanted).filter(
      ([path, entry]) =>
        path.startsWith('node_modules/') &&
        !entry.link &&
        !entry.optional &&
        !entry.devOptional &&
        !(entry.dev && process.env.NODE_ENV === 'production'),
    );
    return needed.every(([path, entry]) => present[path]?.version === entry.version) && existsSync(node);
  } catch {
    return false;
  }
}

async function install() {
  const startedAt = Date.now();
  const seconds = () => Math.round((Date.now() - startedAt) / 1000);
  console.log('Installing the packages; this happens once and takes a minute or two ...');
  const ticker = setInterval(() => console.log(`  ... ${seconds()} s`), 15_000);
  // Without this onnxruntime-node downloads CUDA libraries: set it to "" where there is a GPU.
  const env = { ONNXRUNTIME_NODE_INSTALL: 'skip', ...process.env };
  const flags = ['--no-audit', '--no-fund', '--loglevel=error'];
  try {
    let result = await npm(['ci', ...flags], env);
    // `npm ci` refuses a lock file that lacks packages of other platforms; `npm install` takes the same versions from it without changing it.
    if (result.status !== 0) result = await npm(['install', '--no-save', ...flags], env);
    if (result.status !== 0) fail(`npm could not install the packages:\n${result.output}`);
  } finally {
    clearInterval(ticker);
  }
  // Where npm is told not to run install scripts, the package "node" has not fetched its binary, and npm has not linked it.
  if (!runsNode()) {
    spawnSync(process.execPath, ['installArchSpecificPackage.js'], {
      cwd: join(root, 'node_modules', 'node'),
      env,
      stdio: 'ignore',
    });
    rmSync(node, { force: true });
    symlinkSync(join('..', 'node', 'bin', 'node'), node);
  }
  if (!runsNode())
    fail(
      'Node 24 could not be installed: the npm package "node" has no binary for this machine. Use a system with Node 24 and a glibc of at least 2.28.',
    );
  console.log(`Installed in ${seconds()} s.`);
}

function npm(command, env) {
  return new Promise((resolve) => {
    const started = process.env.npm_execpath?.endsWith('.js')
      ? [process.execPath, [process.env.npm_execpath, ...command]]
      : ['npm', command];
    const child = spawn(started[0], started[1], { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output = (output + chunk).slice(-10_000)));
    child.on('error', (error) => resolve({ status: 1, output: error.message }));
    child.on('close', (status) => resolve({ status, output }));
  });
}

function runsNode() {
  return spawnSync(node, ['--version']).status === 0;
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

function run() {
  // The script reads nothing from the pipe: its end tells that this process is gone, also after a kill -9.
  const child = spawn(node, [join(root, script), ...args], {
    cwd: process.cwd(),
    stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
    env: {
      ...process.env,
      // Decoding, files and look-ups share libuv's threads, of which there are four however many cores.
      UV_THREADPOOL_SIZE: process.env.UV_THREADPOOL_SIZE ?? String(Math.max(4, availableParallelism() + 2)),
      SIGHTLINE_PARENT_PIPE: `3:${process.pid}`,
      NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --disable-warning=ExperimentalWarning`.trim(),
    },
  });
  child.stdio[3].on('error', () => undefined);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  // A killed npm says nothing to its children, but they get another parent.
  const npm = process.env.npm_lifecycle_event ? npmAbove() : undefined;
  if (npm !== undefined) setInterval(() => npmAbove() !== npm && process.exit(1), 500).unref();
  child.on('error', (error) => fail(error.message));
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}

/** The process that npm runs in: our parent, or the one above the shell that npm starts scripts with. */
function npmAbove() {
  try {
    const shell = /^(sh|dash|bash|ash|busybox|zsh)$/.test(readFileSync(`/proc/${process.ppid}/comm`, 'utf8').trim());
    // pid (name) state ppid
    return shell ? readFileSync(`/proc/${process.ppid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[1] : String(process.ppid);
  } catch {
    return String(process.ppid);
  }
}
