import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Registry } from 'prom-client';
import { z } from 'zod';
import { health, indexView, problem } from '@sightline/shared/contracts/http';
import { DEFAULT_TENANT } from '@sightline/shared/contracts/ids';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import type { Calibrations } from '../core/calibrations.ts';

export interface ServiceRouteDeps {
  index: VectorIndex;
  calibrations: Calibrations;
  registry: Registry;
  ready: () => Promise<void>;
}

/** What operators and the page ask of the service itself. */
export function serviceRoutes(app: FastifyInstance, deps: ServiceRouteDeps): void {
  const routes = app.withTypeProvider<ZodTypeProvider>();

  routes.get(
    '/healthz',
    { schema: { summary: 'The process answers', tags: ['service'], response: { 200: health, default: problem } } },
    async () => ({ status: 'ok' as const }),
  );

  routes.get(
    '/readyz',
    {
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

  routes.get(
    '/metrics',
    {
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
      schema: {
        summary: 'What the index holds, and how relevance is judged',
        tags: ['search'],
        response: { 200: indexView, default: problem },
      },
    },
    async () => {
      const [{ live, deleted }, { kinds, fitted }] = await Promise.all([
        deps.index.count(DEFAULT_TENANT),
        deps.calibrations.current(),
      ]);
      const { image, text } = deps.index.spec;
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
      schema: {
        summary: 'This interface',
        tags: ['service'],
        response: { 200: z.looseObject({ openapi: z.string() }), default: problem },
      },
    },
    async () => app.swagger() as { openapi: string },
  );
}
