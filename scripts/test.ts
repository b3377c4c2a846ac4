/**
 * `npm test [-- <jest arguments>]`: the checks, then everything that can run on this machine. A test whose engine cannot be had is
 * skipped by name; the run ends with the list of what was skipped, and one line of counts.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

const root = fileURLToPath(new URL('..', import.meta.url));
const jestReport = z.object({
  numPassedTests: z.number(),
  numFailedTests: z.number(),
  numRuntimeErrorTestSuites: z.number(),
  testResults: z.array(
    z.object({ name: z.string(), assertionResults: z.array(z.object({ fullName: z.string(), status: z.string() })) }),
  ),
});

// Where npm was called is nothing that a test may see: the commands resolve paths against it.
const { INIT_CWD: _, ...env } = process.env;

function runNode(args: string[]): number {
  return spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit', env }).status ?? 1;
}

const jestArguments = process.argv.slice(2);
const checkStatus = jestArguments.length > 0 ? 0 : runNode(['scripts/check.ts']);

const scratch = mkdtempSync(join(tmpdir(), 'sightline-test-'));
const outputFile = join(scratch, 'jest.json');
const jestStatus = runNode([
  '--experimental-vm-modules',
  '--no-warnings=ExperimentalWarning',
  'node_modules/jest/bin/jest.js',
  '--json',
  `--outputFile=${outputFile}`,
  ...jestArguments,
]);
const report = jestReport.parse(JSON.parse(readFileSync(outputFile, 'utf8')));
rmSync(scratch, { recursive: true });

const skipped = report.testResults.flatMap((file) =>
  file.assertionResults.filter((a) => a.status === 'pending').map((a) => `${file.name.slice(root.length)}: ${a.fullName}`),
);
console.log(
  skipped.length === 0 ? '\nSkipped: nothing.' : `\nSkipped on this machine:\n${skipped.map((line) => `  ${line}`).join('\n')}`,
);
if (checkStatus !== 0) console.log('npm run check FAILED: see above.');
const failed = report.numFailedTests + report.numRuntimeErrorTestSuites;
console.log(`${report.numPassedTests} passed, ${failed} failed, ${skipped.length} skipped`);
process.exitCode = checkStatus === 0 && jestStatus === 0 ? 0 : 1;
