import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * What a connection meets.
 *
 * - `refuse`: it is ended at once, open ones too.
 * - `stall`: nothing passes either way, until another fault is set; then what was held back does.
 * - `swallow_answers`: requests pass and answers do not, so that a write commits while its caller sees a time-out. Who waits is
 *   cut off when another fault is set.
 * - `cut_answers`: each connection ends after so many further bytes of answers.
 * - `slow_answers`: so many bytes a second.
 * - `delay`: each piece comes later, both ways.
 */
export type Fault =
  | { kind: 'none' }
  | { kind: 'refuse' }
  | { kind: 'stall' }
  | { kind: 'swallow_answers' }
  | { kind: 'cut_answers'; afterBytes: number }
  | { kind: 'slow_answers'; bytesPerSecond: number }
  | { kind: 'delay'; latencyMs: number };

export interface FaultProxy {
  port: number;
  /** How many connections and pieces of data met a fault, so that a test can tell that its fault was one. */
  readonly met: number;
  /** `<scheme>://127.0.0.1:<port>`. */
  url(scheme: string): string;
  /** From now on, for open connections too. */
  set(fault: Fault): void;
  close(): Promise<void>;
}

interface State {
  fault: Fault;
  met: number;
  /** Aborts when another fault is set. */
  changing: AbortController;
}

const OPEN_END = new Set(['ECONNRESET', 'EPIPE']);

/** A TCP proxy on the loopback interface in front of one server, whose faults are switched while it runs. */
export async function openFaultProxy(target: { host?: string; port: number }): Promise<FaultProxy> {
  const state: State = { fault: { kind: 'none' }, met: 0, changing: new AbortController() };
  const open = new Set<Socket>();
  const endAll = (): void => {
    for (const socket of open) socket.destroy();
  };
  const server = createServer((client) => {
    if (state.fault.kind === 'refuse') {
      state.met += 1;
      return void client.destroy();
    }
    const upstream = connect({ host: target.host ?? '127.0.0.1', port: target.port });
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(socket);
      socket.setNoDelay(true);
      socket.on('error', (error: NodeJS.ErrnoException) => {
        // The other side learns how it ended, where that can be told.
        if (OPEN_END.has(error.code ?? '')) other.resetAndDestroy();
      });
      socket.on('close', () => (open.delete(socket), other.destroy()));
    }
    void pass(client, upstream, state, 'requests');
    void pass(upstream, client, state, 'answers');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    get met() {
      return state.met;
    },
    url: (scheme) => `${scheme}://127.0.0.1:${port}`,
    set: (fault) => {
      const { changing } = state;
      state.fault = fault;
      state.changing = new AbortController();
      changing.abort();
      if (fault.kind === 'refuse') endAll();
    },
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      endAll();
      await closed;
    },
  };
}

async function pass(from: Socket, to: Socket, state: State, way: 'requests' | 'answers'): Promise<void> {
  let cutting: Fault | null = null;
  let passed = 0;
  try {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      if (state.fault.kind !== 'none') state.met += 1;
      while (state.fault.kind === 'stall') {
        // Nothing changes for a connection that is gone: waiting on would never let go of the event loop.
        if (from.destroyed) return;
        await changed(state, from);
      }
      const { fault } = state;
      let room = chunk.length;
      if (fault.kind === 'delay') await sleep(fault.latencyMs);
      if (way === 'answers') {
        if (fault.kind === 'swallow_answers') {
          await changed(state, from);
          return void to.destroy();
        }
        if (fault.kind === 'slow_answers') await sleep((chunk.length / fault.bytesPerSecond) * 1000);
        if (fault.kind === 'cut_answers') {
          if (cutting !== fault) [cutting, passed] = [fault, 0];
          room = Math.min(chunk.length, Math.max(0, fault.afterBytes - passed));
          passed += room;
        }
      }
      if (room < chunk.length) return void to.end(chunk.subarray(0, room));
      if (!to.write(chunk)) await drained(to);
    }
    to.end();
  } catch {
    to.destroy();
  }
}

/** Until another fault is set or the connection is gone. */
function changed(state: State, socket: Socket): Promise<void> {
  const { signal } = state.changing;
  return new Promise((resolve) => {
    const done = (): void => {
      signal.removeEventListener('abort', done);
      socket.off('close', done);
      resolve();
    };
    if (socket.destroyed) return resolve();
    signal.addEventListener('abort', done);
    socket.on('close', done);
  });
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    if (socket.destroyed) return resolve();
    socket.on('drain', done);
    socket.on('close', done);
  });
}
