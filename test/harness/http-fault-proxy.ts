import { Agent, createServer, request as sendRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** A request as it came: the path decoded, without its query. */
export interface SeenRequest {
  method: string;
  path: string;
  query: URLSearchParams;
}

/**
 * What becomes of one request. `answer`: it does not reach the server. `truncate`: the answer ends after so many bytes of its
 * body, which is longer. `reset`: the connection ends without an answer. `slow`: the answer's head comes so much later. `before`: something happens first, then it passes.
 */
export type HttpFault =
  | { kind: 'answer'; status: number; body?: string; headers?: Record<string, string> }
  | { kind: 'truncate'; afterBytes: number }
  | { kind: 'reset' }
  | { kind: 'slow'; latencyMs: number }
  | { kind: 'before'; run: () => Promise<void> };

export interface HttpFaultProxy {
  url: string;
  /** Decides from now on; null lets everything pass. */
  set(decide: ((request: SeenRequest) => HttpFault | null) | null): void;
  close(): Promise<void>;
}

/** The error of an S3 gateway, as its clients know it. */
export function s3Error(status: number, code: string): HttpFault {
  const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`;
  return { kind: 'answer', status, body, headers: { 'content-type': 'application/xml' } };
}

/** An HTTP proxy on the loopback interface in front of one server. Requests go on as they came, so that signatures hold. */
export async function openHttpFaultProxy(target: { host?: string; port: number }): Promise<HttpFaultProxy> {
  let decide: ((request: SeenRequest) => HttpFault | null) | null = null;
  const agent = new Agent({ keepAlive: true });
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://proxy');
    const seen = { method: request.method ?? 'GET', path: decodeURIComponent(pathname), query: searchParams };
    answer(request, response, decide?.(seen) ?? null, { host: target.host ?? '127.0.0.1', port: target.port, agent }).catch(() =>
      response.destroy(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    set: (next) => (decide = next),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
        agent.destroy();
      }),
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  fault: HttpFault | null,
  { host, port, agent }: { host: string; port: number; agent: Agent },
): Promise<void> {
  if (fault?.kind === 'answer') {
    request.resume();
    response.writeHead(fault.status, fault.headers).end(request.method === 'HEAD' ? undefined : fault.body);
    return;
  }
  if (fault?.kind === 'reset') return void request.socket.resetAndDestroy();
  if (fault?.kind === 'before') await fault.run();
  const upstream = sendRequest({
    host,
    port,
    agent,
    method: request.method,
    path: request.url,
    headers: request.rawHeaders,
  });
  response.on('close', () => upstream.destroy());
  const answered = new Promise<IncomingMessage>((resolve, reject) => upstream.once('response', resolve).once('error', reject));
  await Promise.all([answered, pipeline(request, upstream)]);
  const passed = await answered;
  if (fault?.kind === 'slow') await sleep(fault.latencyMs);
  response.writeHead(passed.statusCode ?? 502, passed.rawHeaders);
  if (fault?.kind === 'truncate') return truncate(passed, response, fault.afterBytes);
  await pipeline(passed, response);
}

async function truncate(from: IncomingMessage, to: ServerResponse, afterBytes: number): Promise<void> {
  let left = afterBytes;
  for await (const chunk of from as AsyncIterable<Buffer>) {
    const kept = chunk.subarray(0, left);
    left -= kept.length;
    // Flushed before the connection goes: what was sent arrives.
    await new Promise<void>((resolve) => to.write(kept, () => resolve()));
    if (left === 0) break;
  }
  to.destroy();
}
