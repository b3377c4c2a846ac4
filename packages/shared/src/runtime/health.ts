import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { toSightlineError } from './errors.ts';
import type { RunningService } from './lifecycle.ts';

export interface HealthServer {
  port: number;
  close(): Promise<void>;
}

/** A readiness check does real work: its answer is kept for so long, and it may take so long. */
const READY_KEPT_MS = 1_000;
const READY_TIMEOUT_MS = 5_000;

/**
 * The only HTTP of the workers: `/healthz` says that the event loop turns, `/readyz` that the service can do its work,
 * `/metrics` in Prometheus' text format. Error: `config_invalid` when the port is taken.
 */
export async function openHealthServer(
  options: { host: string; port: number },
  deps: { service: RunningService; registry: Registry; logger: Logger },
): Promise<HealthServer> {
  const ready = cachedReadiness(deps.service);
  const server = createServer((request, response) => {
    const answer = (status: number, body: string, type = 'application/json') =>
      response.writeHead(status, { 'content-type': type }).end(body);
    const route = async () => {
      switch (request.url?.split('?')[0]) {
        case '/healthz':
          return answer(200, '{"status":"ok"}');
        case '/readyz': {
          const problem = await ready();
          return problem === null
            ? answer(200, '{"status":"ready"}')
            : answer(503, JSON.stringify({ status: 'not_ready', ...problem }));
        }
        case '/metrics':
          return answer(200, await deps.registry.metrics(), deps.registry.contentType);
        default:
          return answer(404, '{"status":"not_found"}');
      }
    };
    route().catch((error: unknown) => {
      deps.logger.error({ err: error }, 'health');
      answer(500, '{"status":"error"}');
    });
  });
  await listen(server, options);
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Null when ready, else the reason; concurrent callers share one check. */
export function cachedReadiness(service: RunningService): () => Promise<{ code: string; detail: string } | null> {
  let checkedAt = -Infinity;
  let check: Promise<{ code: string; detail: string } | null> = Promise.resolve(null);
  return () => {
    if (performance.now() - checkedAt > READY_KEPT_MS) {
      checkedAt = performance.now();
      check = withinTime(service.ready()).then(
        () => null,
        (thrown: unknown) => {
          const error = toSightlineError(thrown);
          return { code: error.code, detail: error.message };
        },
      );
    }
    return check;
  };
}

async function withinTime(check: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  try {
    await Promise.race([
      check,
      new Promise<never>((_, reject) => {
        timer = setTimeout(
          () => reject(new Error(`the readiness check took longer than ${READY_TIMEOUT_MS} ms`)),
          READY_TIMEOUT_MS,
        );
      }),
    ]);
  } finally {
    clearTimeout(timer);
  }
}

function listen(server: ReturnType<typeof createServer>, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
