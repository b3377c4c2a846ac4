import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { openFaultProxy, type FaultProxy } from './fault-proxy.ts';

/** Answers each line with `ok <line>` and remembers it: what it has was committed. */
const committed: string[] = [];
const sockets: Socket[] = [];
const server = createServer((socket) => {
  sockets.push(socket);
  socket.on('error', () => undefined);
  socket.on('data', (bytes) => {
    for (const line of bytes.toString().split('\n').filter(Boolean)) {
      committed.push(line);
      socket.write(`ok ${line}\n`);
    }
  });
});
let proxy: FaultProxy;

beforeEach(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  proxy = await openFaultProxy({ port: (server.address() as AddressInfo).port });
});

afterEach(async () => {
  await proxy.close();
  for (const socket of sockets.splice(0)) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  committed.length = 0;
});

interface Caller {
  send(line: string): void;
  received: string;
  isOver: boolean;
  close(): void;
}

async function call(): Promise<Caller> {
  const socket = connect({ host: '127.0.0.1', port: proxy.port });
  sockets.push(socket);
  const caller: Caller = {
    send: (line) => void socket.write(`${line}\n`),
    received: '',
    isOver: false,
    close: () => socket.destroy(),
  };
  socket.on('data', (bytes) => (caller.received += bytes.toString()));
  socket.on('error', () => undefined);
  socket.on('close', () => (caller.isOver = true));
  await once(socket, 'connect');
  return caller;
}

async function until(condition: () => boolean): Promise<void> {
  for (const endsAt = performance.now() + 5_000; !condition(); await sleep(5)) {
    if (performance.now() > endsAt) throw new Error('it did not come true in time');
  }
}

test('without a fault both ways pass', async () => {
  const caller = await call();
  caller.send('a');
  await until(() => caller.received === 'ok a\n');
  expect(proxy.met).toBe(0);
});

test('refuse ends what is open and what is new, and none lets new ones through', async () => {
  const caller = await call();
  proxy.set({ kind: 'refuse' });
  await until(() => caller.isOver);
  const refused = await call();
  await until(() => refused.isOver);
  proxy.set({ kind: 'none' });
  const again = await call();
  again.send('b');
  await until(() => again.received === 'ok b\n');
});

test('stall passes nothing on, not even the request, and all of it in order when it is over', async () => {
  const caller = await call();
  proxy.set({ kind: 'stall' });
  caller.send('a');
  await sleep(50);
  caller.send('b');
  await sleep(50);
  expect({ committed, received: caller.received, isOver: caller.isOver }).toEqual({ committed: [], received: '', isOver: false });
  proxy.set({ kind: 'none' });
  await until(() => caller.received === 'ok a\nok b\n');
});

test('swallow_answers commits the request, tells the caller nothing, and cuts it off when it is over', async () => {
  const caller = await call();
  proxy.set({ kind: 'swallow_answers' });
  caller.send('a');
  await until(() => committed.length === 1);
  await sleep(50);
  expect(caller).toMatchObject({ received: '', isOver: false });
  proxy.set({ kind: 'none' });
  await until(() => caller.isOver);
  expect(caller.received).toBe('');
  expect(proxy.met).toBeGreaterThan(0);
});

test('cut_answers ends a connection in the middle of an answer, each after its own count', async () => {
  const [first, second] = [await call(), await call()];
  first.send('before');
  await until(() => first.received === 'ok before\n');
  proxy.set({ kind: 'cut_answers', afterBytes: 4 });
  first.send('cut');
  second.send('too');
  await until(() => first.isOver && second.isOver);
  expect(first.received).toBe('ok before\nok c');
  expect(second.received).toBe('ok t');
  expect(committed.toSorted()).toEqual(['before', 'cut', 'too']);
});

test('slow_answers and delay make an answer take its time', async () => {
  const caller = await call();
  for (const fault of [{ kind: 'slow_answers', bytesPerSecond: 50 } as const, { kind: 'delay', latencyMs: 50 } as const]) {
    proxy.set(fault);
    caller.received = '';
    const startedAt = performance.now();
    caller.send('a');
    await until(() => caller.received === 'ok a\n');
    expect(performance.now() - startedAt).toBeGreaterThan(80);
  }
});

test('a caller that goes while it is stalled takes its connection to the server along', async () => {
  const caller = await call();
  proxy.set({ kind: 'stall' });
  caller.send('a');
  await until(() => sockets.length >= 2);
  caller.close();
  proxy.set({ kind: 'none' });
  await sleep(50);
  expect(committed.length).toBeLessThanOrEqual(1);
  await until(() => sockets.every((socket) => socket.destroyed));
});

test('a connection that ends while it is stalled holds up nobody, for as long as the stall lasts', async () => {
  const caller = await call();
  caller.send('a');
  await until(() => caller.received === 'ok a\n');
  proxy.set({ kind: 'stall' });
  caller.send('b');
  await sleep(50);
  for (const socket of sockets) socket.destroy();
  await until(() => caller.isOver);
  await sleep(50);
  expect(committed).toEqual(['a']);
});
