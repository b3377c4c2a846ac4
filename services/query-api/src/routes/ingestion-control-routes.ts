import type { FastifyInstance, FastifyReply } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { Readable } from 'node:stream';
import { z } from 'zod';
import { ingestionParams, ingestionView, problem, resumeRequest, type IngestionView } from '@sightline/shared/contracts/http';
import { reportKey, SYSTEM_BUCKET } from '@sightline/shared/contracts/ids';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { cancelIngestion, pauseIngestion, resumeIngestion, retryIngestion, type Controlled } from '../core/control-ingestion.ts';
import { FINAL_STATUSES } from '../core/progress.ts';
import { known, type IngestionRouteDeps } from './ingestion-routes.ts';

const TAGS = ['ingestions'];
const answers = {
  200: ingestionView.meta({ description: 'It was so already.' }),
  202: ingestionView.meta({ description: 'It is being done.' }),
  default: problem,
};

/** What can be done to an ingestion, and its report. */
export function ingestionControlRoutes(app: FastifyInstance, deps: IngestionRouteDeps): void {
  const routes = app.withTypeProvider<ZodTypeProvider>();
  const send = (reply: FastifyReply, { ingestion, changed }: Controlled): { status: 200 | 202; view: IngestionView } => {
    const status = changed ? 202 : 200;
    reply.code(status);
    return { status, view: deps.progress.view(ingestion) };
  };

  routes.post(
    '/v1/ingestions/:ingestion_id/pause',
    {
      config: { access: 'ingest', budget: 'ingest' },
      schema: {
        summary: 'Pause an ingestion: listing stops, what waits is kept',
        tags: TAGS,
        params: ingestionParams,
        response: answers,
      },
    },
    async (request, reply) =>
      send(reply, await pauseIngestion(deps, await known(deps.ledger, request), { traceId: request.id })).view,
  );

  routes.post(
    '/v1/ingestions/:ingestion_id/resume',
    {
      config: { access: 'ingest', budget: 'ingest' },
      schema: {
        summary: 'Let a paused ingestion go on',
        tags: TAGS,
        params: ingestionParams,
        body: resumeRequest,
        response: answers,
      },
    },
    async (request, reply) => {
      const acceptFailures = request.body?.accept_failures ?? false;
      const ingestion = await known(deps.ledger, request);
      return send(reply, await resumeIngestion(deps, ingestion, { acceptFailures, traceId: request.id })).view;
    },
  );

  routes.post(
    '/v1/ingestions/:ingestion_id/cancel',
    {
      config: { access: 'ingest', budget: 'ingest' },
      schema: {
        summary: 'Cancel an ingestion: what is indexed stays',
        tags: TAGS,
        params: ingestionParams,
        response: answers,
      },
    },
    async (request, reply) =>
      send(reply, await cancelIngestion(deps, await known(deps.ledger, request), { traceId: request.id })).view,
  );

  routes.post(
    '/v1/ingestions/:ingestion_id/retry',
    {
      config: { access: 'ingest', budget: 'ingest' },
      schema: {
        summary: 'Try again what failed, and only that',
        tags: TAGS,
        params: ingestionParams,
        response: answers,
      },
    },
    async (request, reply) => send(reply, await retryIngestion(deps, await known(deps.ledger, request))).view,
  );

  routes.get(
    '/v1/ingestions/:ingestion_id/report',
    {
      config: { access: 'read' },
      schema: {
        summary: 'What came of an ingestion that is over',
        description: 'JSON Lines: a summary, then a line for each failure. Kept for 30 days.',
        tags: TAGS,
        params: ingestionParams,
        produces: ['application/x-ndjson'],
        response: { 200: z.any().meta({ description: 'application/x-ndjson' }), default: problem },
      },
    },
    async (request, reply) => {
      const { tenant, ingestionId, status } = await known(deps.ledger, request);
      if (!FINAL_STATUSES.includes(status)) throw new SightlineError('report_not_found');
      const ref = { bucket: SYSTEM_BUCKET, key: reportKey(tenant, ingestionId) };
      const { info, body } = await deps.store.stream(ref, {}).catch((error: unknown) => {
        const isMissing = error instanceof SightlineError && ['object_not_found', 'source_not_found'].includes(error.code);
        throw isMissing ? new SightlineError('report_not_found', undefined, { cause: error }) : error;
      });
      void reply.headers({ 'content-type': 'application/x-ndjson; charset=utf-8', 'content-length': info.sizeBytes });
      return reply.send(Readable.from(body, { objectMode: false }));
    },
  );
}
