import { Worker } from 'node:worker_threads';
import type { FromEncoder, ToEncoder } from './encoder-protocol.ts';

/**
 * Entry of the encoder process. Computing blocks its thread, so it has a thread of its own; this one only reads and sorts.
 * That is what keeps the promise that an interactive batch waits behind at most the one being computed: a bulk batch that
 * was sent ahead to keep the computing thread busy is still overtaken here. The process ends with its parent.
 */
const thread = new Worker(new URL('./encoder-thread.ts', import.meta.url));
const waiting: ToEncoder[] = [];
let busy = false;

process.on('message', (message: ToEncoder) => {
  waiting.push(message);
  next();
});

function next(): void {
  if (busy || waiting.length === 0) return;
  const first = waiting.findIndex((message) => message.type === 'load' || message.lane === 'interactive');
  const [message] = waiting.splice(Math.max(0, first), 1);
  if (!message) return;
  busy = true;
  if (message.type === 'run') process.send!({ type: 'begun', id: message.id } satisfies FromEncoder);
  thread.postMessage(message);
}

thread.on('message', (reply: FromEncoder) => {
  busy = false;
  next();
  process.send!(reply);
});

const end = () => process.kill(process.pid, 'SIGKILL');
thread.on('error', (error) => {
  process.stderr.write(`encoder thread: ${error.message}\n`);
  end();
});
// The channel closes when the parent closes it, ends, or is killed. The computing thread cannot be interrupted, so the
// process does not wait for it: nothing here needs saving.
process.on('disconnect', end);
// A terminal's Ctrl-C and a supervisor's TERM reach the whole group; the parent decides when its encoder may end.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => undefined);
