import { pino } from 'pino';
import { openQueueEngine } from '../src/adapters/bullmq-queue-engine.ts';
import type { QueuePlace } from '../src/adapters/bullmq-backends.ts';

/**
 * A worker in a process of its own, to be stopped, continued and killed by tests: says `ready`, `start N` when it takes a
 * chunk and `aborted N` when its signal fires; a job never ends by itself.
 */
const [place, lockMs] = process.argv.slice(2);
const engine = await openQueueEngine(JSON.parse(place ?? '') as QueuePlace, {
  logger: pino({ level: 'silent' }),
  lockMs: Number(lockMs),
});
await engine.work(
  'encode',
  (data, { signal }) =>
    new Promise((_, reject) => {
      process.stdout.write(`start ${data.chunkNo}\n`);
      signal.addEventListener('abort', () => {
        process.stdout.write(`aborted ${data.chunkNo}\n`);
        reject(new Error('aborted'));
      });
    }),
  { concurrency: 1 },
);
process.stdout.write('ready\n');
