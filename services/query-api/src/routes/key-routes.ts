import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import {
  apiKeyIssued,
  apiKeyList,
  apiKeyParams,
  apiKeyRequest,
  apiKeyRotation,
  apiKeyView,
  problem,
} from '@sightline/shared/contracts/http';
import { tenantOf } from '../access.ts';
import { createApiKey, revokeApiKey, rotateApiKey, viewOfApiKey, type ApiKeyDeps } from '../core/api-keys.ts';

export interface KeyRouteDeps extends ApiKeyDeps {
  /** Told when this process changed a key. */
  onChanged: () => void;
}

const DAY_MS = 24 * 3_600_000;

/** An administrator's keys: those of the own tenant, and no other's. */
export function keyRoutes(app: FastifyInstance, deps: KeyRouteDeps): void {
  const routes = app.withTypeProvider<ZodTypeProvider>();
  const config = { access: 'admin', budget: 'ingest' } as const;
  const tags = ['keys'];

  routes.post(
    '/v1/keys',
    {
      config,
      schema: {
        summary: 'Create an API key',
        description: 'Its secret is told in this answer and never again.',
        tags,
        body: apiKeyRequest,
        response: { 201: apiKeyIssued, default: problem },
      },
    },
    async (request, reply) => {
      const { name, scopes, expires_in_days: days } = request.body;
      const expiresAt = days === undefined ? null : Math.round(deps.now() + days * DAY_MS);
      const { key, secret } = await createApiKey(deps, { tenant: tenantOf(request), name, scopes, expiresAt });
      return reply.code(201).send({ key: viewOfApiKey(key), secret });
    },
  );

  routes.get(
    '/v1/keys',
    { config, schema: { summary: 'API keys, newest first', tags, response: { 200: apiKeyList, default: problem } } },
    async (request) => ({ keys: (await deps.ledger.listApiKeys(tenantOf(request))).map(viewOfApiKey) }),
  );

  routes.delete(
    '/v1/keys/:key_id',
    {
      config,
      schema: {
        summary: 'Revoke an API key',
        description: 'It stops working within seconds. It stays in the list, with the time.',
        tags,
        params: apiKeyParams,
        response: { 200: apiKeyView, default: problem },
      },
    },
    async (request) => {
      const key = await revokeApiKey(deps, tenantOf(request), request.params.key_id);
      deps.onChanged();
      return viewOfApiKey(key);
    },
  );

  routes.post(
    '/v1/keys/:key_id/rotate',
    {
      config,
      schema: {
        summary: 'Replace an API key',
        description: 'A new secret of the same scopes; the old one works until the overlap is over.',
        tags,
        params: apiKeyParams,
        body: apiKeyRotation,
        response: { 201: apiKeyIssued, default: problem },
      },
    },
    async (request, reply) => {
      const overlapMs = request.body.overlap_seconds * 1000;
      const { key, secret } = await rotateApiKey(deps, tenantOf(request), { keyId: request.params.key_id, overlapMs });
      deps.onChanged();
      return reply.code(201).send({ key: viewOfApiKey(key), secret });
    },
  );
}
