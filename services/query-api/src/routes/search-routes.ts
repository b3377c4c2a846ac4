import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { Counter, Histogram, type Registry } from 'prom-client';
import {
  problem,
  searchRequest,
  searchResponse,
  type ParsedSearchRequest,
  type SearchResponse,
} from '@sightline/shared/contracts/http';
import { tenantOf } from '../access.ts';
import type { Gate } from '../core/gate.ts';
import { search, type SearchDeps } from '@sightline/shared/search/search';

export interface SearchRouteDeps {
  /** For the version of the index that serves now. */
  search: () => SearchDeps;
  gate: Gate;
  registry: Registry;
  /** A base64 picture and the rest of a request. */
  bodyLimitBytes: number;
}

export function searchRoutes(app: FastifyInstance, deps: SearchRouteDeps): void {
  const observe = searchMetrics(deps.registry);
  app.withTypeProvider<ZodTypeProvider>().post(
    '/v1/search',
    {
      config: { access: 'read', budget: 'search' },
      bodyLimit: deps.bodyLimitBytes,
      schema: {
        summary: 'Search by words, by picture, or both',
        tags: ['search'],
        body: searchRequest,
        response: { 200: searchResponse, default: problem },
      },
    },
    async (request, reply) => {
      // Nobody waits for the answer of a connection that is gone.
      const gone = new AbortController();
      reply.raw.once('close', () => gone.abort());
      const answer = await deps.gate.run(() =>
        search(deps.search(), { tenant: tenantOf(request), traceId: request.id, signal: gone.signal }, request.body),
      );
      observe(request.body, answer);
      return answer;
    },
  );
}

function searchMetrics(registry: Registry): (request: ParsedSearchRequest, answer: SearchResponse) => void {
  const stages = new Histogram({
    name: 'sightline_search_stage_seconds',
    help: 'Time of each stage of a search.',
    labelNames: ['stage'],
    buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5],
    registers: [registry],
  });
  const searches = new Counter({
    name: 'sightline_searches_total',
    help: 'Searches answered, by what they had and how they ended.',
    labelNames: ['query', 'outcome'],
    registers: [registry],
  });
  return (request, answer) => {
    for (const [stage, ms] of Object.entries(answer.timings_ms)) stages.observe({ stage }, ms / 1000);
    const query = request.image ? (request.query?.trim() ? 'both' : 'picture') : 'words';
    searches.inc({ query, outcome: answer.degraded ? 'degraded' : answer.no_match ? 'no_match' : 'match' });
  };
}
