import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
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
import { DEFAULT_TENANT } from '@sightline/shared/contracts/ids';
import type { Ingestion, Ledger } from '@sightline/shared/ports/ledger';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { Progress } from '../core/progress.ts';
import { startIngestion, type StartIngestionDeps } from '../core/start-ingestion.ts';
import { isLoopbackAddress } from '../host-guard.ts';
import type { ProgressStreams } from '../progress-streams.ts';

export interface IngestionRouteDeps extends StartIngestionDeps {
  progress: Progress;
  streams: ProgressStreams;
  allowDirectorySources: boolean;
}

export function ingestionRoutes(app: FastifyInstance, deps: IngestionRouteDeps): void {
  const routes = app.withTypeProvider<ZodTypeProvider>();

  routes.post(
    '/v1/ingestions',
    {
      schema: {
        summary: 'Ingest a source',
        tags: ['ingestions'],
        body: ingestionRequest,
        response: { 202: ingestionAccepted, default: problem },
      },
    },
    async (request, reply) => {
      const localAllowed = deps.allowDirectorySources && isLoopbackAddress(request.socket.remoteAddress);
      const { source, dry_run: dryRun } = request.body;
      const ingestion = await startIngestion(deps, { tenant: DEFAULT_TENANT, source, dryRun, traceId: request.id, localAllowed });
      const { ingestion_id, status, links } = deps.progress.view(ingestion);
      return reply.code(202).header('location', links.self).send({ ingestion_id, status, links });
    },
  );

  routes.get(
    '/v1/ingestions',
    {
      schema: {
        summary: 'Ingestions, newest first',
        tags: ['ingestions'],
        querystring: ingestionListQuery,
        response: { 200: ingestionList, default: problem },
      },
    },
    async (request) => {
      const { status, limit } = request.query;
      const ingestions = await deps.ledger.listIngestions(DEFAULT_TENANT, { ...(status ? { statuses: [status] } : {}), limit });
      return { ingestions: ingestions.map((ingestion) => deps.progress.view(ingestion)) };
    },
  );

  routes.get(
    '/v1/ingestions/:ingestion_id',
    {
      schema: {
        summary: 'One ingestion: counts, rate, time left',
        tags: ['ingestions'],
        params: ingestionParams,
        response: { 200: ingestionView, default: problem },
      },
    },
    async (request) => deps.progress.view(await known(deps.ledger, request.params.ingestion_id)),
  );

  routes.get(
    '/v1/ingestions/:ingestion_id/failures',
    {
      schema: {
        summary: 'What failed, and why',
        tags: ['ingestions'],
        params: ingestionParams,
        querystring: failuresQuery,
        response: { 200: failurePage, default: problem },
      },
    },
    async (request) => {
      const { ingestionId } = await known(deps.ledger, request.params.ingestion_id);
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
      const ingestion = await known(deps.ledger, request.params.ingestion_id);
      deps.streams.open(ingestion, reply);
      return reply;
    },
  );
}

async function known(ledger: Ledger, ingestionId: string): Promise<Ingestion> {
  const ingestion = await ledger.getIngestion(DEFAULT_TENANT, ingestionId);
  if (!ingestion) throw new SightlineError('ingestion_not_found');
  return ingestion;
}
