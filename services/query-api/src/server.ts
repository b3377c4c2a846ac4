import swagger from '@fastify/swagger';
import fastify, { LogController, type FastifyBaseLogger, type FastifyInstance, type FastifyRequest } from 'fastify';
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import { Histogram, type Registry } from 'prom-client';
import { newId } from '@sightline/shared/contracts/ids';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { guardAccess, type AuthMode } from './access.ts';
import type { QueryApiConfig } from './config.ts';
import type { KeyRing } from './core/key-ring.ts';
import { assertAllowedVisitor } from './host-guard.ts';
import { openApiDocument, SECURITY_SCHEMES, withSecurity } from './openapi.ts';
import { refuseMalformed, sendProblem } from './problems.ts';
import { RateLimits, type RateLimitStore } from './rate-limits.ts';

const SMALL_BODY_BYTES = 64 * 1024;
const TRACEPARENT = /^[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** Nothing may be loaded, framed or run but the page's own files; pictures are shown from here, and uploads from memory. */
const CONTENT_SECURITY_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/**
 * The HTTP server without its routes: parsing and answering by the zod schemas, problem details, the guard against foreign hosts
 * (without keys), API keys with their scopes and rate limits (with them), security headers, trace ids and request metrics.
 */
export async function createServer({
  config,
  auth,
  ring,
  redis,
  logger,
  registry,
}: {
  config: QueryApiConfig;
  auth: AuthMode;
  ring: KeyRing;
  redis?: RateLimitStore | undefined;
  logger: FastifyBaseLogger;
  registry: Registry;
}): Promise<FastifyInstance> {
  const app = fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'traceId' }),
    genReqId: (request) => TRACEPARENT.exec(String(request.headers['traceparent'] ?? ''))?.[1] ?? newId(),
    bodyLimit: SMALL_BODY_BYTES,
    exposeHeadRoutes: false,
    forceCloseConnections: true,
    requestTimeout: 60_000,
    ...(config.trustedProxies.length > 0 ? { trustProxy: config.trustedProxies } : {}),
    routerOptions: { maxParamLength: 512 },
    clientErrorHandler: refuseMalformed,
    frameworkErrors: (error, request, reply) => void sendProblem(request, reply, error),
  });
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler((error, request, reply) => sendProblem(request, reply, error));
  app.setNotFoundHandler((request, reply) =>
    sendProblem(request, reply, new SightlineError('route_not_found', `${request.method} ${request.url.split('?')[0] ?? ''}`)),
  );

  app.addHook('onRequest', async (request, reply) => {
    void reply.headers({
      'x-trace-id': request.id,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'x-frame-options': 'DENY',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
      'content-security-policy': CONTENT_SECURITY_POLICY,
      'cache-control': 'no-store',
    });
    // A key is in no browser's pocket: a page of another name or origin has none to send.
    if (auth === 'none') assertAllowedVisitor(visitorOf(request), { port: portOf(app, config), allowed: config.allowedHosts });
  });
  measureRequests(app, registry);
  if (auth === 'none') guardAccess(app, { mode: 'none' });
  else guardAccess(app, { mode: 'keys', ring, limits: await RateLimits.open(app, config.requestsPerMinute, redis) });

  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Sightline',
        version: '1.0.0',
        description: 'Multimodal search over a catalogue. Errors are RFC 9457 problem details; `code` is API.',
      },
      components: { securitySchemes: SECURITY_SCHEMES },
    },
    transform: withSecurity,
    transformObject: openApiDocument,
  });
  return app.withTypeProvider<ZodTypeProvider>();
}

function visitorOf({ headers }: FastifyRequest) {
  return {
    host: headers.host,
    origin: headers.origin,
    fetchSite: first(headers['sec-fetch-site']),
    isNavigation: first(headers['sec-fetch-mode']) === 'navigate',
  };
}

function portOf(app: FastifyInstance, config: QueryApiConfig): number {
  const [address] = app.addresses();
  return typeof address === 'object' ? address.port : config.port;
}

function first(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

function measureRequests(app: FastifyInstance, registry: Registry): void {
  const seconds = new Histogram({
    name: 'sightline_http_request_seconds',
    help: 'Time to answer a request, by route.',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none';
    seconds.observe({ method: request.method, route, status: String(reply.statusCode) }, reply.elapsedTime / 1000);
    request.log.debug(
      { method: request.method, route, status: reply.statusCode, durationMs: Math.round(reply.elapsedTime) },
      'answered',
    );
  });
}
