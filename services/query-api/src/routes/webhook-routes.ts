import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { problem } from '@sightline/shared/contracts/http';
import {
  deliveryList,
  deliveryListQuery,
  replayed,
  replayRequest,
  webhookChange,
  webhookIssued,
  webhookList,
  webhookParams,
  webhookRemoved,
  webhookRequest,
  webhookView,
} from '@sightline/shared/contracts/webhook-http';
import { tenantOf } from '../access.ts';
import {
  addWebhook,
  changeWebhook,
  getWebhook,
  listDeliveries,
  removeWebhook,
  replayDeliveries,
  viewOfDelivery,
  viewOfWebhook,
  type WebhookDeps,
} from '../core/webhooks.ts';

const TAGS = ['webhooks'];

/**
 * Where a tenant's events go. That is an administrator's to say and to see: whoever sets an address gets the tenant's answers, and
 * addresses often are secrets themselves. The delivery log shows neither address nor content, and is what who reads answers looks at.
 */
export function webhookRoutes(app: FastifyInstance, deps: WebhookDeps): void {
  const routes = app.withTypeProvider<ZodTypeProvider>();
  const writing = { access: 'admin', budget: 'ingest' } as const;

  routes.post(
    '/v1/webhooks',
    {
      config: writing,
      schema: {
        summary: 'Add a webhook',
        description: 'Its secret is told in this answer and never again; every delivery is signed with it (Standard Webhooks).',
        tags: TAGS,
        body: webhookRequest,
        response: { 201: webhookIssued, default: problem },
      },
    },
    async (request, reply) => {
      const { webhook, secret } = await addWebhook(deps, tenantOf(request), request.body);
      void reply.code(201).header('location', `/v1/webhooks/${webhook.webhookId}`);
      return { webhook: viewOfWebhook(webhook, deps.now()), secret };
    },
  );

  routes.get(
    '/v1/webhooks',
    {
      config: { access: 'admin' },
      schema: { summary: 'Webhooks, newest first', tags: TAGS, response: { 200: webhookList, default: problem } },
    },
    async (request) => {
      const webhooks = await deps.ledger.listWebhooks(tenantOf(request));
      return { webhooks: webhooks.map((webhook) => viewOfWebhook(webhook, deps.now())) };
    },
  );

  routes.get(
    '/v1/webhooks/:webhook_id',
    {
      config: { access: 'admin' },
      schema: { summary: 'A webhook', tags: TAGS, params: webhookParams, response: { 200: webhookView, default: problem } },
    },
    async (request) => viewOfWebhook(await getWebhook(deps, tenantOf(request), request.params.webhook_id), deps.now()),
  );

  routes.patch(
    '/v1/webhooks/:webhook_id',
    {
      config: writing,
      schema: {
        summary: 'Change, enable, disable a webhook, or rotate its secret',
        description: 'While rotated, deliveries carry the signatures of both secrets for a day.',
        tags: TAGS,
        params: webhookParams,
        body: webhookChange,
        response: { 200: webhookIssued, default: problem },
      },
    },
    async (request) => {
      const { webhook, secret } = await changeWebhook(deps, tenantOf(request), request.params.webhook_id, request.body);
      return { webhook: viewOfWebhook(webhook, deps.now()), secret };
    },
  );

  routes.delete(
    '/v1/webhooks/:webhook_id',
    {
      config: writing,
      schema: {
        summary: 'Remove a webhook',
        description: 'What waits for it is dropped.',
        tags: TAGS,
        params: webhookParams,
        response: { 200: webhookRemoved, default: problem },
      },
    },
    async (request) => {
      const { webhook_id } = request.params;
      await removeWebhook(deps, tenantOf(request), webhook_id);
      return { webhook_id, removed: true as const };
    },
  );

  routes.get(
    '/v1/webhooks/:webhook_id/deliveries',
    {
      config: { access: 'read' },
      schema: {
        summary: 'Deliveries of a webhook, newest first, with what came of each attempt',
        tags: TAGS,
        params: webhookParams,
        querystring: deliveryListQuery,
        response: { 200: deliveryList, default: problem },
      },
    },
    async (request) => {
      const { status, limit, cursor } = request.query;
      const page = await listDeliveries(deps, tenantOf(request), request.params.webhook_id, {
        limit,
        ...(status && { status }),
        ...(cursor && { after: cursor }),
      });
      return { deliveries: page.deliveries.map(viewOfDelivery), next_cursor: page.nextCursor };
    },
  );

  routes.post(
    '/v1/webhooks/:webhook_id/replay',
    {
      config: writing,
      schema: {
        summary: 'Send a delivery again, or those of a range of time',
        description: 'Under the webhook-id and the sequence number that they had.',
        tags: TAGS,
        params: webhookParams,
        body: replayRequest,
        response: { 202: replayed, default: problem },
      },
    },
    async (request, reply) => {
      const answer = await replayDeliveries(deps, tenantOf(request), request.params.webhook_id, request.body);
      return reply.code(202).send(answer);
    },
  );
}
