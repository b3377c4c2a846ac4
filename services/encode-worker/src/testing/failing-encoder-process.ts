import { appendFileSync, readFileSync, statSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { FromEncoder, ToEncoder } from '../adapters/encoder-protocol.ts';
import { isOutOfMemory } from '../adapters/onnx-faults.ts';
import { markOf, type FailureScript } from './failure-script.ts';

/**
 * Fake, named so: an encoder process that computes with the real computing thread and fails on command. Its one argument is the
 * path of a FailureScript; calls and starts are counted in files beside it, over all processes that follow one another.
 */
const [file = ''] = process.argv.slice(2);
const script = JSON.parse(readFileSync(file, 'utf8')) as FailureScript;
const count = (what: string): number => {
  appendFileSync(`${file}.${what}`, '.');
  return statSync(`${file}.${what}`).size;
};
const send = (message: FromEncoder) => process.send!(message);
const die = () => process.kill(process.pid, 'SIGKILL');

const start = count('starts');
const thread = new Worker(new URL('../adapters/encoder-thread.ts', import.meta.url));
const waiting: ToEncoder[] = [];
const leaked: Buffer[] = [];
let busy = false;
/** What is done to the reply of the batch being computed. */
let spoil = (reply: FromEncoder): FromEncoder => reply;

process.on('message', (message: ToEncoder) => {
  waiting.push(message);
  next();
});
thread.on('message', (reply: FromEncoder) => answer(spoil(reply)));
process.on('disconnect', die);

function next(): void {
  if (busy || waiting.length === 0) return;
  const first = waiting.findIndex((message) => message.type === 'load' || message.lane === 'interactive');
  const [message] = waiting.splice(Math.max(0, first), 1);
  if (!message) return;
  busy = true;
  spoil = (reply) => reply;
  if (message.type === 'load') {
    if (script.failedStarts.includes(start)) die();
    thread.postMessage(message);
    return;
  }
  send({ type: 'begun', id: message.id });
  compute(message);
}

function answer(reply: FromEncoder): void {
  busy = false;
  next();
  send(reply);
}

function compute(message: Extract<ToEncoder, { type: 'run' }>): void {
  const { id, input } = message;
  const call = count('calls');
  const marks = input.kind === 'pixels' ? Array.from({ length: input.count }, (_, n) => markOf(input, n)) : [];
  const fail = (text: string) => answer({ type: 'failed', id, message: text, isOutOfMemory: isOutOfMemory(text) });
  if (marks.includes('kills') || script.deathsAt.includes(call)) die();
  // Never answers: only its parent can end it.
  else if (marks.includes('hangs') || script.hangsAt.includes(call)) return;
  else if (input.rung > script.outOfMemoryAbove && call >= script.outOfMemoryFrom && call < script.outOfMemoryUntil)
    fail('bfc_arena.cc Failed to allocate memory for requested buffer of size 1073741824');
  else if (marks.includes('fails')) fail("Non-zero status code returned while running Conv node. Name:'/conv'");
  else {
    if (script.leaksBytesPerCall > 0) leaked.push(Buffer.alloc(script.leaksBytesPerCall, 1));
    spoil = (reply) => {
      if (script.diesAfter.includes(call)) die();
      if (reply.type !== 'done') return reply;
      const blank = marks.flatMap((mark, n) => (mark === 'blanks' ? [n] : []));
      return { ...reply, bad: [...new Set([...reply.bad, ...blank])] };
    };
    thread.postMessage(message);
  }
}
