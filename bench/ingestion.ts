/**
 * `npm run bench [-- --pack <dir or name>] [--pictures 400] [--size 640x480] [--pairs 5] [--batch 8]`: pictures per second from POST
 * to completed, beside a bare loop of read, decode and encode over the same files with the same threads, in interleaved rounds: the
 * machine's noise hits all of them. Prints every round, the median ratios and their spread, decoding alone, encoding alone, what the two
 * allow when they share the cores, and the stack's peak memory. README.md beside it says how to read that.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { findPack } from '@sightline/shared/adapters/find-pack';
import { watchMemory } from '../scripts/process-tree.ts';
import { ingest, startStack, waitForEnd } from '../test/harness/stack.ts';
import { cpuSeconds } from './cpu-seconds.ts';
import { makePictures } from './make-pictures.ts';
import { runBareLoop, type Cost } from './run-bare-loop.ts';

const { values: options } = parseArgs({
  options: {
    pack: { type: 'string', default: 'starter' },
    pictures: { type: 'string', default: '400' },
    size: { type: 'string', default: '640x480' },
    pairs: { type: 'string', default: '5' },
    batch: { type: 'string', default: '8' },
  },
});
const root = fileURLToPath(new URL('..', import.meta.url));
const threads = availableParallelism();
const [widthPx = 640, heightPx = 480] = options.size.split('x').map(Number);
const count = Number(options.pictures);
const pack = await findPack(options.pack, [join(root, 'models')]);
const folder = join(tmpdir(), `sightline-bench-${options.size}-${count}`);

const bareLoop = (mode: 'both' | 'decode' | 'encode') => runBareLoop({ pack, folder, threads, batch: options.batch, mode });

async function pipeline(): Promise<Cost & { peakBytes: number; byName: Record<string, number> }> {
  const dataDir = mkdtempSync(join(tmpdir(), 'sightline-bench-'));
  const stack = await startStack({ dataDir, env: { ENCODER_PACK: pack } });
  const memory = watchMemory(stack.pid, 500);
  try {
    const cpuBefore = cpuSeconds(stack.pid);
    const startedAt = performance.now();
    const end = await waitForEnd(stack.url, await ingest(stack.url, { type: 'directory', path: folder }), 1_800_000);
    const seconds = (performance.now() - startedAt) / 1000;
    if (end.status !== 'completed' || end.counts.indexed !== count)
      throw new Error(`the ingestion ended as ${JSON.stringify(end)}`);
    const cpuMsPerPicture = ((cpuSeconds(stack.pid) - cpuBefore) / count) * 1000;
    const peak = memory.peak();
    return { picturesPerSecond: count / seconds, cpuMsPerPicture, peakBytes: peak?.totalBytes ?? 0, byName: peak?.byName ?? {} };
  } finally {
    memory.stop();
    await stack.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

function median(numbers: number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.slice(Math.floor((sorted.length - 1) / 2), Math.floor(sorted.length / 2) + 1);
  return middle.reduce((sum, one) => sum + one, 0) / middle.length;
}

const NAMES = {
  pipeline: 'pipeline',
  bare: 'bare loop',
  decode: 'decode only',
  encode: 'encode only',
  limit: 'limit of sharing the cores',
} as const;
const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)} MB`;

console.log(
  `${count} JPEGs of ${options.size}, pack ${options.pack}, ${threads} threads, bare loop in batches of ${options.batch}`,
);
await makePictures(folder, count, widthPx, heightPx);
type Rates = Record<'pipeline' | 'bare' | 'decode' | 'encode' | 'limit', number>;
const rounds: Rates[] = [];
const cpuRatios: number[] = [];
let peakBytes = 0;
for (let n = 1; n <= Number(options.pairs); n++) {
  const bare = await bareLoop('both');
  const run = await pipeline();
  const decode = await bareLoop('decode');
  const encode = await bareLoop('encode');
  const rates: Rates = {
    pipeline: run.picturesPerSecond,
    bare: bare.picturesPerSecond,
    decode: decode.picturesPerSecond,
    encode: encode.picturesPerSecond,
    // Each half has all cores to itself; both together have to share them.
    limit: 1 / (1 / encode.picturesPerSecond + 1 / decode.picturesPerSecond),
  };
  rounds.push(rates);
  cpuRatios.push(bare.cpuMsPerPicture / run.cpuMsPerPicture);
  peakBytes = Math.max(peakBytes, run.peakBytes);
  const cpu = Object.entries({ pipeline: run, 'bare loop': bare, decode, encode }).map(
    ([name, { cpuMsPerPicture }]) => `${name} ${cpuMsPerPicture.toFixed(2)}`,
  );
  const parts = Object.entries(run.byName).map(([name, bytes]) => `${name} ${megabytes(bytes)}`);
  console.log(`round ${n}: ${spelled(rates)}; peak ${megabytes(run.peakBytes)} (${parts.join(', ')})`);
  console.log(`         processor time a picture in ms: ${cpu.join(', ')}`);
}
const of = (name: keyof Rates) => rounds.map((round) => round[name]);
for (const floor of ['bare', 'limit', 'decode'] as const) {
  print(
    `pipeline / ${NAMES[floor]}`,
    rounds.map((round) => round.pipeline / round[floor]),
  );
}
print('processor time of the bare loop / of the pipeline', cpuRatios);
const medians: Rates = {
  pipeline: median(of('pipeline')),
  bare: median(of('bare')),
  decode: median(of('decode')),
  encode: median(of('encode')),
  limit: median(of('limit')),
};
console.log(`medians: ${spelled(medians)}; peak ${megabytes(peakBytes)}`);

function spelled(rates: Rates): string {
  return (Object.keys(NAMES) as (keyof Rates)[]).map((name) => `${NAMES[name]} ${rates[name].toFixed(1)}/s`).join(', ');
}

function print(name: string, ratios: number[]): void {
  console.log(
    `${name}: median ${median(ratios).toFixed(3)} (${Math.min(...ratios).toFixed(3)} to ${Math.max(...ratios).toFixed(3)})`,
  );
}
