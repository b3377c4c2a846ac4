import { appendFileSync } from 'node:fs';
import { pino } from 'pino';
import { sleep } from '@sightline/shared/runtime/sleep';
import { openKafkaChangeFeed } from '../adapters/kafka-change-feed.ts';
import { keysOf } from './change-feed-keys.ts';

/** A feed in a process of its own, to be killed: appends the keys that it handled to a file, one a line. */
const [brokers = '', prefix = '', notificationsTopic = '', file = ''] = process.argv.slice(2);
const feed = await openKafkaChangeFeed(
  { brokers: brokers.split(','), prefix, notificationsTopic, itemsTopic: `${prefix}items`, allowedSources: [] },
  { logger: pino({ level: 'silent' }), sessionTimeoutMs: 6_000, retryMs: 50 },
);
await feed.start(async (noticed) => {
  // Slow enough to be killed in the middle: of a batch some lines are written, of none the place.
  for (const key of keysOf(noticed)) {
    await sleep(1);
    appendFileSync(file, `${key}\n`);
  }
});
appendFileSync(file, 'ready\n');
