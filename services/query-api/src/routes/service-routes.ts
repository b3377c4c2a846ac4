import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Registry } from 'prom-client';
import { z } from 'zod';
import { health, indexView, problem } from '@sightline/shared/contracts/http';
import { tenantOf } from '../access.ts';
import type { SearchVersion } from '@sightline/shared/search/search-versions';

export interface ServiceRouteDeps {
  /** The version of the index that serves now. */
  version: () => Pick<SearchVersion, 'index' | 'calibrations'>;
  registry: Registry;
  ready: () => Promise<void>;
  /** They tell of all tenants together: not where strangers ask. */
  metricsShown: boolean;
}

/** What operators and the page ask of the service itself. */
export function serviceRoutes(app: FastifyInstance, deps: ServiceRouteDeps): void {
  const routes = app.withTypeProvider<ZodTypeProvider>();

  routes.get(
    '/healthz',
    {
      config: { access: 'public' },
      schema: { summary: 'The process answers', tags: ['service'], response: { 200: health, default: problem } },
    },
    async () => ({ status: 'ok' as const }),
  );

  routes.get(
    '/readyz',
    {
      config: { access: 'public' },
      schema: {
        summary: 'It can do its work: a real encode, a real query',
        tags: ['service'],
        response: { 200: health, default: problem },
      },
    },
    async () => {
      await deps.ready();
      return { status: 'ok' as const };
    },
  );

  if (deps.metricsShown)
    routes.get(
      '/metrics',
      {
        config: { access: 'public' },
        schema: {
          summary: 'Metrics in the Prometheus text format',
          tags: ['service'],
          produces: ['text/plain'],
          response: { 200: z.string().meta({ description: 'text/plain' }), default: problem },
        },
      },
      async (_, reply) =>
        reply
          .header('content-type', deps.registry.contentType)
          .serializer(String)
          .send(await deps.registry.metrics()),
    );

  routes.get(
    '/v1/index',
    {
      config: { access: 'read' },
      schema: {
        summary: 'What the index holds, and how relevance is judged',
        tags: ['search'],
        response: { 200: indexView, default: problem },
      },
    },
    async (request) => {
      const tenant = tenantOf(request);
      const { index, calibrations } = deps.version();
      const [{ live, deleted }, { kinds, fitted }] = await Promise.all([index.count(tenant), calibrations.current(tenant)]);
      const { image, text } = index.spec;
      return {
        assets: live,
        tombstones: deleted,
        encoder: { image: image.fingerprint, text: text.fingerprint },
        calibration: {
          fitted,
          thresholds: {
            words: kinds.words.threshold,
            picture: kinds.picture.threshold,
            both: kinds.both.threshold,
            keywords: kinds.keywords.threshold,
          },
        },
      };
    },
  );

  routes.get(
    '/openapi.json',
    {
      config: { access: 'public' },
      schema: {
        summary: 'This interface',
        tags: ['service'],
        response: { 200: z.looseObject({ openapi: z.string() }), default: problem },
      },
    },
    async () => app.swagger() as { openapi: string },
  );
}
