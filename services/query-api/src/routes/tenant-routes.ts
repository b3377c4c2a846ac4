import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { problem, tenantDeletion, tenantDeletionQuery } from '@sightline/shared/contracts/http';
import { SightlineError } from '@sightline/shared/runtime/errors';
import { tenantOf } from '../access.ts';
import { deleteTenant, type DeleteTenantDeps } from '../core/delete-tenant.ts';

export function tenantRoutes(app: FastifyInstance, deps: DeleteTenantDeps & { onChanged: () => void }): void {
  app.withTypeProvider<ZodTypeProvider>().delete(
    '/v1/tenant',
    {
      config: { access: 'admin', budget: 'ingest' },
      schema: {
        summary: 'Delete the tenant',
        description:
          "Everything of the key's own tenant, its keys among it: points, ingestions, failures, questions with their pictures, thumbnails, reports. Running ingestions and waiting questions are cancelled. Sources are not touched. Takes some seconds, because what workers still hold is waited for.",
        tags: ['tenant'],
        querystring: tenantDeletionQuery,
        response: { 200: tenantDeletion, default: problem },
      },
    },
    async (request) => {
      const tenant = tenantOf(request);
      if (request.query.confirm !== tenant) throw new SightlineError('request_invalid', "confirm: expected the tenant's name.");
      const deletion = await deleteTenant(deps, tenant);
      deps.onChanged();
      return deletion;
    },
  );
}
