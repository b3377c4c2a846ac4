/** `npm run check`: types, lint with the layer rules, format, dead code. Every tool runs; the exit code is 0 only when all are clean. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const checks: [name: string, command: string[]][] = [
  ['types', ['tsc', '--project', '.']],
  ['lint', ['oxlint', '--deny-warnings']],
  ['format', ['prettier', '--check', '--log-level', 'warn', '.']],
  ['dead code', ['knip', '--no-progress', '--no-config-hints']],
];

let failed = 0;
for (const [name, [tool, ...args]] of checks) {
  const startedAt = performance.now();
  const { status } = spawnSync(process.execPath, [`node_modules/.bin/${tool}`, ...args], { cwd: root, stdio: 'inherit' });
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${status === 0 ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)`);
  if (status !== 0) failed += 1;
}
process.exitCode = failed === 0 ? 0 : 1;
