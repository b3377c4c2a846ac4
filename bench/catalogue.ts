/**
 * `npm run bench:catalogue [-- --pictures 20000] [--first 2000] [--size 160x120]`: small JPEGs in S3, ingested by the four services as
 * separate processes through Redis into Qdrant (`--index sqlite` where there is no Qdrant), beside a bare loop of read, decode and encode
 * over the same files, before and after. Prints pictures per second and the ratio to the floor, the processor time a picture of each
 * process, its peak memory when the first pictures and when all are indexed, and Redis' peak. `--cpu-prof <directory>` has each service
 * write a profile there. README.md beside it says how to read that.
 */
import { readFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Redis } from 'ioredis';
import { findPack } from '@sightline/shared/adapters/find-pack';
import { memoryBytes, processTree } from '../scripts/process-tree.ts';
import { doneOf, ProductionStack } from '../test/harness/production-stack.ts';
import { cpuSeconds, cpuSecondsByName } from './cpu-seconds.ts';
import { makePictures } from './make-pictures.ts';
import { runBareLoop, type Cost } from './run-bare-loop.ts';

const { values: options } = parseArgs({
  options: {
    pictures: { type: 'string', default: '20000' },
    first: { type: 'string', default: '2000' },
    size: { type: 'string', default: '160x120' },
    pack: { type: 'string', default: 'starter' },
    batch: { type: 'string', default: '32' },
    index: { type: 'string', default: 'qdrant' },
    'cpu-prof': { type: 'string' },
  },
});
const root = fileURLToPath(new URL('..', import.meta.url));
const count = Number(options.pictures);
const first = Number(options.first);
const [widthPx = 160, heightPx = 120] = options.size.split('x').map(Number);
const folder = join(tmpdir(), `sightline-bench-${options.size}-${count}`);
const pack = await findPack(options.pack, [join(root, 'models')]);
const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)} MB`;
const UPLOADS_AT_ONCE = 32;

const bareLoop = () => runBareLoop({ pack, folder, threads: availableParallelism(), batch: options.batch, mode: 'both' });

const spelled = ({ picturesPerSecond, cpuMsPerPicture }: Cost) =>
  `${picturesPerSecond.toFixed(1)}/s, ${cpuMsPerPicture.toFixed(2)} ms of processor time a picture`;

/** Of the services, each with its children, and of the engines that this process started. */
function cpuByProcess(stack: ProductionStack): Map<string, number> {
  const services = stack.processNames.map((name) => ({ name, pid: stack.process(name).pid }));
  const engines = cpuSecondsByName(process.pid, new Set([process.pid, ...services.flatMap(({ pid }) => processTree(pid))]));
  return new Map([...services.map(({ name, pid }) => [name, cpuSeconds(pid)] as const), ...engines]);
}

/** The highest that was seen, of each process of the stack with its children, and of what holds the data. */
class Peaks {
  readonly #bytes = new Map<string, number>();

  raise(name: string, bytes: number): void {
    this.#bytes.set(name, Math.max(bytes, this.#bytes.get(name) ?? 0));
  }

  told(): string {
    return [...this.#bytes].map(([name, bytes]) => `${name} ${megabytes(bytes)}`).join(', ');
  }
}

const paths = await makePictures(folder, count, widthPx, heightPx);
console.log(`${count} JPEGs of ${options.size}, pack ${options.pack}, ${availableParallelism()} cores`);
const floorBefore = await bareLoop();
console.log(`bare loop before: ${spelled(floorBefore)}`);

const stack = await ProductionStack.open({
  kafka: true,
  ...(options.index === 'sqlite' ? { index: 'sqlite' as const } : {}),
  env: {
    ENCODER_PACK: pack,
    ...(options['cpu-prof'] && { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${options['cpu-prof']}` }),
  },
});
try {
  console.log(`index: ${stack.qdrant ? 'Qdrant' : 'SQLite'}`);
  const bucket = stack.newBucket();
  for (let from = 0; from < paths.length; from += UPLOADS_AT_ONCE) {
    const some = paths.slice(from, from + UPLOADS_AT_ONCE);
    await Promise.all(some.map(async (path) => bucket.put(`pictures/${basename(path)}`, await readFile(path))));
  }
  const redis = new Redis(stack.redis.url);
  const redisBytes = async () => Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1] ?? 0);
  const redisBefore = await redisBytes();
  const peaks = new Peaks();
  const cpuBefore = cpuByProcess(stack);
  const startedAt = performance.now();
  const ingestionId = await stack.ingest(bucket.source);
  let view = await stack.progress(ingestionId);
  let firstSeen = false;
  while (view.status !== 'completed') {
    if (['failed', 'cancelled'].includes(view.status)) throw new Error(JSON.stringify(view));
    for (const name of stack.processNames) peaks.raise(name, memoryBytes(stack.process(name).pid).totalBytes);
    peaks.raise('redis', await redisBytes());
    if (!firstSeen && doneOf(view) >= first) {
      firstSeen = true;
      console.log(`peaks at ${doneOf(view)}: ${peaks.told()}`);
    }
    await sleep(500);
    view = await stack.progress(ingestionId);
  }
  const rate = count / ((performance.now() - startedAt) / 1000);
  const cpuMs = [...cpuByProcess(stack)]
    .map(([name, seconds]) => ({ name, ms: ((seconds - (cpuBefore.get(name) ?? 0)) / count) * 1000 }))
    .filter(({ ms }) => ms >= 0.005);
  console.log(`peaks at ${doneOf(view)}: ${peaks.told()}; redis before ${megabytes(redisBefore)}`);
  redis.disconnect();
  if (view.counts.indexed !== count) throw new Error(`not all were indexed: ${JSON.stringify(view)}`);
  console.log(`processor time a picture in ms: ${cpuMs.map(({ name, ms }) => `${name} ${ms.toFixed(2)}`).join(', ')}`);
  const { clean } = await stack.audit();
  console.log(`audit: ${clean ? 'sources and index agree' : 'they differ'}`);
  const floorAfter = await bareLoop();
  console.log(`bare loop after: ${spelled(floorAfter)}`);
  const floor = (floorBefore.picturesPerSecond + floorAfter.picturesPerSecond) / 2;
  console.log(`pipeline: ${rate.toFixed(1)}/s, ${(rate / floor).toFixed(2)} of the bare loop's ${floor.toFixed(1)}/s`);
  // What is killed writes no profile.
  if (options['cpu-prof']) await stack.stopAll();
} finally {
  await stack.close();
}
