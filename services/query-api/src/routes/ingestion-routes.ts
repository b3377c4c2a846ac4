import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Logger } from 'pino';
import { z } from 'zod';
import {
  failurePage,
  failuresQuery,
  ingestionAccepted,
  ingestionList,
  ingestionListQuery,
  ingestionParams,
  ingestionRequest,
  ingestionView,
  problem,
} from '@sightline/shared/contracts/http';
import type { Ingestion, Ledger } from '@sightline/shared/ports/ledger';
import type { EventLog } from '@sightline/shared/ports/event-log';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { callerOf, tenantOf } from '../access.ts';
import type { Progress } from '../core/progress.ts';
import { startIngestion, type StartIngestionDeps } from '../core/start-ingestion.ts';
import { isLocalOwner } from '../local-owner.ts';
import type { ProgressStreams } from '../progress-streams.ts';

export interface IngestionRouteDeps extends StartIngestionDeps {
  events: EventLog;
  logger: Logger;
  progress: Progress;
  streams: ProgressStreams;
  allowDirectorySources: boolean;
  allowedSources: readonly string[];
}

export function ingestionRoutes(app: FastifyInstance, deps: IngestionRouteDeps): void {
  const routes = app.withTypeProvider<ZodTypeProvider>();

  routes.post(
    '/v1/ingestions',
    {
      config: { access: 'ingest', budget: 'ingest' },
      schema: {
        summary: 'Ingest a source',
        tags: ['ingestions'],
        body: ingestionRequest,
        response: { 202: ingestionAccepted, default: problem },
      },
    },
    async (request, reply) => {
      const localAllowed = deps.allowDirectorySources && isLocalOwner(request);
      const { source, dry_run: dryRun } = request.body;
      const ingestion = await startIngestion(deps, {
        tenant: tenantOf(request),
        source,
        dryRun,
        traceId: request.id,
        localAllowed,
        allowedSources: deps.allowedSources,
      });
      const { ingestion_id, status, links } = deps.progress.view(ingestion);
      return reply.code(202).header('location', links.self).send({ ingestion_id, status, links });
    },
  );

  routes.get(
    '/v1/ingestions',
    {
      config: { access: 'read' },
      schema: {
        summary: 'Ingestions, newest first',
        tags: ['ingestions'],
        querystring: ingestionListQuery,
        response: { 200: ingestionList, default: problem },
      },
    },
    async (request) => {
      const { status, limit } = request.query;
      const ingestions = await deps.ledger.listIngestions(tenantOf(request), {
        ...(status ? { statuses: [status] } : {}),
        limit,
      });
      return { ingestions: ingestions.map((ingestion) => deps.progress.view(ingestion)) };
    },
  );

  routes.get(
    '/v1/ingestions/:ingestion_id',
    {
      config: { access: 'read' },
      schema: {
        summary: 'One ingestion: counts, rate, time left',
        tags: ['ingestions'],
        params: ingestionParams,
        response: { 200: ingestionView, default: problem },
      },
    },
    async (request) => deps.progress.view(await known(deps.ledger, request)),
  );

  routes.get(
    '/v1/ingestions/:ingestion_id/failures',
    {
      config: { access: 'read' },
      schema: {
        summary: 'What failed, and why',
        tags: ['ingestions'],
        params: ingestionParams,
        querystring: failuresQuery,
        response: { 200: failurePage, default: problem },
      },
    },
    async (request) => {
      const { ingestionId } = await known(deps.ledger, request);
      const { limit, cursor } = request.query;
      const page = await deps.ledger.failures(ingestionId, { limit, ...(cursor ? { cursor } : {}) });
      const failures = page.failures.map(({ key, code, reason, attempts, lastAttemptAt }) => ({
        key,
        code,
        reason,
        attempts,
        last_attempt_at: new Date(lastAttemptAt).toISOString(),
      }));
      return { failures, next_cursor: page.nextCursor };
    },
  );

  routes.get(
    '/v1/ingestions/:ingestion_id/events',
    {
      config: { access: 'read' },
      schema: {
        summary: 'Progress as server-sent events',
        description:
          'Event `progress` carries the whole ingestion whenever it changed, `done` its last state; then the stream ends. Lines that begin with a colon are heartbeats.',
        tags: ['ingestions'],
        params: ingestionParams,
        produces: ['text/event-stream'],
        response: { 200: z.string().meta({ description: 'text/event-stream' }), default: problem },
      },
    },
    async (request, reply) => {
      const ingestion = await known(deps.ledger, request);
      deps.streams.open(ingestion, reply, callerOf(request).isStillAllowed);
      return reply;
    },
  );
}

/** The caller's own; another tenant's is as unknown as one that never was. */
export async function known(
  ledger: Ledger,
  request: FastifyRequest<{ Params: z.infer<typeof ingestionParams> }>,
): Promise<Ingestion> {
  const ingestion = await ledger.getIngestion(tenantOf(request), request.params.ingestion_id);
  if (!ingestion) throw new SightlineError('ingestion_not_found');
  return ingestion;
}
