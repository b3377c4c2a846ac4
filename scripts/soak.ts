/**
 * `npm run soak [-- --seeds 20] [--from 1] [--only <part of a test's name>]`: the fault tests with many seeds, the long ones among
 * them. Ends with a table of results by test and the seeds that failed; exit code 1 on any finding.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { runCommand } from './run-command.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const USAGE = "usage: npm run soak -- [--seeds <how many>] [--from <first seed>] [--only <part of a test's name>]";

const report = z.object({
  testResults: z.array(
    z.object({
      name: z.string(),
      message: z.string(),
      assertionResults: z.array(
        z.object({
          fullName: z.string(),
          status: z.string(),
          duration: z.number().nullish(),
          failureMessages: z.array(z.string()).nullish(),
        }),
      ),
    }),
  ),
});

interface Result {
  test: string;
  seed: number;
  status: 'passed' | 'failed' | 'skipped';
  seconds: number;
  message: string;
}

/** A test's name without what differs from run to run. */
function plainName(fullName: string): string {
  return fullName.replaceAll(/ \(seed \d+\)/g, '');
}

async function runSeed(seed: number, only: string | undefined, scratch: string): Promise<Result[]> {
  const outputFile = join(scratch, `${seed}.json`);
  const args = [
    '--experimental-vm-modules',
    '--no-warnings=ExperimentalWarning',
    'node_modules/jest/bin/jest.js',
    'test/faults',
    '--runInBand',
    '--silent',
    '--json',
    `--outputFile=${outputFile}`,
    ...(only ? ['--testNamePattern', only.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)] : []),
  ];
  const env = { ...process.env, FAULT_SEED: String(seed), KILL_SEEDS: String(seed), FAULT_LONG: '1' };
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'], env });
  await new Promise((resolve) => child.once('exit', resolve));
  const { testResults } = report.parse(JSON.parse(readFileSync(outputFile, 'utf8')));
  return testResults.flatMap(({ name, message, assertionResults }) => {
    const file = name.slice(root.length);
    // A file that could not even be loaded has no test that says so.
    if (assertionResults.length === 0 && message !== '')
      return [{ test: file, seed, status: 'failed' as const, seconds: 0, message }];
    return assertionResults.map(({ fullName, status, duration, failureMessages }) => ({
      test: `${file.replace(/^test\/faults\/(.*)\.test\.ts$/, '$1')}: ${plainName(fullName)}`,
      seed,
      status: status === 'passed' || status === 'failed' ? status : ('skipped' as const),
      seconds: (duration ?? 0) / 1000,
      message: failureMessages?.join('\n') ?? '',
    }));
  });
}

function printTable(results: Result[]): void {
  console.log('\n| test | passed | failed | seconds, median and most | seeds that failed |');
  console.log('| --- | --- | --- | --- | --- |');
  for (const [test, all] of Map.groupBy(results, (result) => result.test)) {
    const ran = all.filter(({ status }) => status !== 'skipped');
    if (ran.length === 0) continue;
    const failed = ran.filter(({ status }) => status === 'failed');
    const seconds = ran.map((result) => result.seconds).toSorted((a, b) => a - b);
    const median = seconds[Math.floor(seconds.length / 2)] ?? 0;
    const seeds = failed.length === 0 ? '-' : failed.map(({ seed }) => seed).join(', ');
    console.log(
      `| ${test} | ${ran.length - failed.length} | ${failed.length} | ${median.toFixed(1)}, ${(seconds.at(-1) ?? 0).toFixed(1)} | ${seeds} |`,
    );
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '20' },
      from: { type: 'string', default: '1' },
      only: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const [seeds, from] = [Number(values.seeds), Number(values.from)];
  if (values.help || !Number.isInteger(seeds) || !Number.isInteger(from) || seeds < 1) {
    console.error(USAGE);
    return 2;
  }
  const scratch = mkdtempSync(join(tmpdir(), 'sightline-soak-'));
  const kept = join(root, '.cache', 'soak');
  const results: Result[] = [];
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  try {
    for (let seed = from; seed < from + seeds && !stop.signal.aborted; seed++) {
      const found = await runSeed(seed, values.only, scratch);
      results.push(...found);
      const ran = found.filter(({ status }) => status !== 'skipped');
      const failed = ran.filter(({ status }) => status === 'failed');
      console.log(`seed ${seed}: ${ran.length - failed.length} of ${ran.length} passed`);
      for (const { test, message } of failed) {
        mkdirSync(kept, { recursive: true });
        const file = join(kept, `seed-${seed}-${test.slice(0, 60).replaceAll(/[^a-z0-9]+/gi, '-')}.txt`);
        writeFileSync(file, message);
        console.log(`  failed: ${test}\n          ${file}`);
      }
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  printTable(results);
  const skipped = new Set(results.filter(({ status }) => status === 'skipped').map(({ test }) => test));
  if (!values.only) for (const test of skipped) console.log(`skipped: ${test}`);
  // Nothing that ran is no proof of anything.
  const ran = results.filter(({ status }) => status !== 'skipped');
  return ran.length > 0 && ran.every(({ status }) => status === 'passed') ? 0 : 1;
}

await runCommand(main);
