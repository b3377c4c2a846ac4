import { createServer, request as httpRequest } from 'node:http';

export interface LostReplyProxy {
  url: string;
  /** Requests (`METHOD /path`) from now on whose answers are lost: the server does them, the caller never hears of it. */
  lose: (isLost: (request: string) => boolean) => void;
  /** How many answers were lost. */
  lost: () => number;
  close(): Promise<void>;
}

/** Stands before an HTTP server and loses its answers on command. */
export async function openLostReplyProxy(target: string): Promise<LostReplyProxy> {
  let isLost: (request: string) => boolean = () => false;
  let lost = 0;
  const server = createServer((incoming, outgoing) => {
    const loses = isLost(`${incoming.method} ${incoming.url}`);
    const options = { method: incoming.method, headers: incoming.headers };
    const forwarded = httpRequest(new URL(incoming.url ?? '/', target), options, (answer) => {
      if (loses) {
        // Only when all of it was answered has the server certainly done its work.
        answer.resume().on('end', () => (lost += 1));
        return;
      }
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    forwarded.on('error', () => outgoing.destroy());
    incoming.pipe(forwarded);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`,
    lose: (which) => (isLost = which),
    lost: () => lost,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
