import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { changeFailurePage, changeFailuresQuery, changesRetried, changesView } from '@sightline/shared/contracts/changes-http';
import { problem } from '@sightline/shared/contracts/http';
import { driveChanges } from '@sightline/shared/ingestion/drive-changes';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { QueueEngine } from '@sightline/shared/ports/queue-engine';
import type { IndexSpec } from '@sightline/shared/ports/vector-index';
import { tenantOf } from '../access.ts';
import { retryFailedChanges, viewOfFailedChange } from '../core/failed-changes.ts';

export interface ChangeRouteDeps {
  ledger: Ledger;
  queue: Pick<QueueEngine, 'add'>;
  /** Of the index at that moment. */
  spec: () => IndexSpec;
  now: () => number;
}

const TAGS = ['changes'];

/** How far the index is behind what was told of the sources. */
export function changeRoutes(app: FastifyInstance, { ledger, queue, spec, now }: ChangeRouteDeps): void {
  const routes = app.withTypeProvider<ZodTypeProvider>();

  routes.get(
    '/v1/changes',
    {
      config: { access: 'read' },
      schema: {
        summary: 'Changes that the index does not show yet',
        tags: TAGS,
        response: { 200: changesView, default: problem },
      },
    },
    async (request) => {
      const at = now();
      const own = (await ledger.owedChanges(at)).find(({ tenant }) => tenant === tenantOf(request));
      if (!own) return { owed: 0, oldest_seconds: null };
      return { owed: own.owed, oldest_seconds: Math.max(0, at - own.oldestNoticedAt) / 1000 };
    },
  );

  routes.get(
    '/v1/changes/failures',
    {
      config: { access: 'read' },
      schema: {
        summary: 'Changes that could not be followed, and why; oldest first',
        description: 'Of a place only what failed last, until it changes again or a retry is asked for.',
        tags: TAGS,
        querystring: changeFailuresQuery,
        response: { 200: changeFailurePage, default: problem },
      },
    },
    async (request) => {
      const { limit, cursor } = request.query;
      const page = await ledger.changeFailures(tenantOf(request), { limit, ...(cursor && { after: cursor }) });
      const last = page.length === limit ? page.at(-1) : undefined;
      return { failures: page.map(viewOfFailedChange), next_cursor: last?.cursor ?? null };
    },
  );

  routes.post(
    '/v1/changes/retry',
    {
      config: { access: 'ingest', budget: 'ingest' },
      schema: {
        summary: 'Try all failed changes again',
        tags: TAGS,
        response: { 202: changesRetried, default: problem },
      },
    },
    async (request, reply) => {
      const drive = (tenant: string, count: number): Promise<void> =>
        driveChanges({ queue, spec: spec() }, { tenant, count, traceId: request.id });
      const retried = await retryFailedChanges({ ledger, drive, now }, tenantOf(request));
      return reply.code(202).send({ retried });
    },
  );
}
