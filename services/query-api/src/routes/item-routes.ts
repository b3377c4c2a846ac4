import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { itemAccepted, itemParams, itemRequest, itemView, problem, removal } from '@sightline/shared/contracts/http';
import { tenantOf } from '../access.ts';
import { acrossCutOver } from '../core/across-cut-over.ts';
import { putItem, withdrawItem, type ChangeItemDeps } from '../core/change-item.ts';
import { viewItem } from '../core/item-view.ts';
import { removeItem, type RemoveDeps } from '../core/remove.ts';
import { isLocalOwner } from '../local-owner.ts';

export interface ItemRouteDeps extends ChangeItemDeps {
  /** For the version of the index that serves now. */
  removal: () => RemoveDeps;
  allowDirectorySources: boolean;
  allowedSources: readonly string[];
}

/** A text of 200,000 characters, each escaped, with attributes and a hundred addresses. */
const BODY_LIMIT_BYTES = 2 * 1024 * 1024;

export function itemRoutes(app: FastifyInstance, deps: ItemRouteDeps): void {
  const routes = app.withTypeProvider<ZodTypeProvider>();

  routes.get(
    '/v1/items/:item_id',
    {
      config: { access: 'read' },
      schema: {
        summary: 'One item, as the index shows it',
        tags: ['items'],
        params: itemParams,
        response: { 200: itemView, default: problem },
      },
    },
    (request) => viewItem(deps.removal().index, tenantOf(request), request.params.item_id),
  );

  routes.put(
    '/v1/items/:item_id',
    {
      config: { access: 'ingest', budget: 'ingest' },
      bodyLimit: BODY_LIMIT_BYTES,
      schema: {
        summary: "Set an item's record",
        description:
          'In place of the one that it has. Accepted when it is durable; it shows within seconds. Only what changed is encoded. What a user removed comes back with it: the item, and pictures that it did not name before.',
        tags: ['items'],
        params: itemParams,
        body: itemRequest,
        response: { 202: itemAccepted, default: problem },
      },
    },
    async (request, reply) => {
      const { item_id: itemId } = request.params;
      await putItem(
        deps,
        {
          tenant: tenantOf(request),
          traceId: request.id,
          localAllowed: deps.allowDirectorySources && isLocalOwner(request),
          allowedSources: deps.allowedSources,
        },
        { itemId, ...request.body },
      );
      return reply.code(202).send({ item_id: itemId, status: 'accepted' });
    },
  );

  routes.delete(
    '/v1/items/:item_id',
    {
      config: { access: 'ingest', budget: 'ingest' },
      schema: {
        summary: 'Remove an item',
        description:
          'Its passages, and its pictures that no other item names. A record of it that was accepted and does not show yet is withdrawn, also where the answer is `item_not_found`. It stays away until its record changes or is set again.',
        tags: ['items'],
        params: itemParams,
        response: { 200: removal, default: problem },
      },
    },
    async (request) => {
      const asking = { tenant: tenantOf(request), traceId: request.id };
      const { item_id: itemId } = request.params;
      try {
        return await acrossCutOver(deps.removal, (removal) => removeItem(removal, asking, itemId));
      } finally {
        // After the removal, whose tombstone says more than that the item is gone.
        await withdrawItem(deps, asking, itemId);
      }
    },
  );
}
