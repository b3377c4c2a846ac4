import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';

/** What a server does with a connection; the request, up to the end of its headers, has been read by then. */
export type Behaviour = (socket: Socket, request: string) => void;

export interface RecordingServer {
  port: number;
  /** TCP connections that were ever accepted, whether or not a byte came over them. */
  connections: () => number;
  /** The heads of requests, as they came. */
  requests: string[];
  /** Resolves when no connection is open any more. */
  idle: () => Promise<void>;
  close: () => Promise<void>;
}

export const ok: Behaviour = (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');

/** A server of raw HTTP/1.1 that writes down whatever reaches it. `host` is what it listens on: `::` is every address of this machine. */
export async function openRecordingServer({
  behaviour = ok,
  host = '127.0.0.1',
  port = 0,
  tls,
}: { behaviour?: Behaviour; host?: string; port?: number; tls?: { cert: string; key: string } } = {}): Promise<RecordingServer> {
  const requests: string[] = [];
  const open = new Set<Socket>();
  let accepted = 0;
  let onIdle = () => {};
  const serve = (socket: Socket) => {
    let head = '';
    // Clients of these tests hang up as they like.
    socket.on('error', () => {});
    socket.on('data', function read(chunk: Buffer) {
      head += chunk.toString('latin1');
      if (!head.includes('\r\n\r\n')) return;
      socket.off('data', read).resume();
      requests.push(head);
      behaviour(socket, head);
    });
  };
  const server: Server = tls ? createTlsServer(tls, serve) : createServer(serve);
  server.on('tlsClientError', () => {});
  server.on('connection', (socket: Socket) => {
    accepted += 1;
    open.add(socket);
    socket.on('close', () => {
      open.delete(socket);
      if (open.size === 0) onIdle();
    });
  });
  server.listen(port, host);
  await once(server, 'listening');
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    connections: () => accepted,
    requests,
    idle: () => (open.size === 0 ? Promise.resolve() : new Promise((resolve) => (onIdle = resolve))),
    close: async () => {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
