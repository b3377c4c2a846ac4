/** A member of a group in a process of its own, to be killed: appends the ids it handled to a file. */
import { appendFileSync } from 'node:fs';
import { pino } from 'pino';
import { openKafkaEventLog } from '../src/adapters/kafka-event-log.ts';
import { sleep } from '../src/runtime/sleep.ts';

const [brokers = '', prefix = '', group = '', file = ''] = process.argv.slice(2);
const log = await openKafkaEventLog(
  { brokers: brokers.split(','), prefix },
  { logger: pino({ level: 'silent' }), sessionTimeoutMs: 6_000 },
);
await log.subscribe(group, async (events) => {
  // Slow enough to be killed in the middle.
  await sleep(20);
  appendFileSync(file, events.map(({ id }) => `${id}\n`).join(''));
});
appendFileSync(file, 'ready\n');
