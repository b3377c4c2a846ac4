import { randomUUID } from 'node:crypto';
import type { WebhookEventType } from '../contracts/webhooks.ts';
import type { OutboxMessage, Webhook, WebhookLedger } from '../ports/webhook-ledger.ts';
import { SightlineError } from '../runtime/errors.ts';
import type { LedgerClient } from './redis-ledger-client.ts';
import { redisDeliveries } from './redis-ledger-deliveries.ts';
import { tenantTag, type LedgerKeys } from './redis-ledger-keys.ts';
import {
  ADD_MESSAGES,
  DROP_MESSAGES,
  PRUNE_MESSAGES,
  SETTLE_PUBLISHED,
  UNPUBLISHED_MESSAGES,
} from './redis-ledger-outbox-scripts.ts';
import { asList, asNumber, asText } from './redis-ledger-reply.ts';
import {
  ADD_WEBHOOK,
  CHANGE_WEBHOOK,
  DELETE_WEBHOOK,
  GET_WEBHOOK,
  LIST_WEBHOOKS,
  MOVE_DELIVERIES,
} from './redis-ledger-webhook-scripts.ts';

const PAGE = 100;

/**
 * Ledger's methods on webhooks and the outbox, on Redis, in the slot of the questions, because what ends a question tells of it in the
 * same step. `webhooks`, `messages` and `deliveries` are hashes of id to record, so that a script reaches those that it only learns of
 * while it runs; `bodies` and `events` hold the messages' JSON. In the order of their times: `webhook-places` and `message-places` (by
 * tenant), `delivery-places` (by webhook and status), `unpublished`, `prunable`. Deliveries that are pending at enabled addresses:
 * `pending` (all, by when they are due), `free` and `taken` (by when the claim lapses). A webhook that is disabled, enabled or deleted is so at once;
 * its pending deliveries follow some hundreds a step, and `moving` says how far: a call that was broken off is gone on with by
 * `dueDeliveries`.
 */
export function redisWebhooks(client: LedgerClient, { outbox }: LedgerKeys) {
  const move = async (tag: string, webhookId: string, isLeft: boolean): Promise<void> => {
    for (let left = isLeft; left;) left = asNumber(await client.run(MOVE_DELIVERIES, outbox, [tag, webhookId])) === 1;
  };

  const listWebhooks = async (tenant: string): Promise<Webhook[]> =>
    asList(await client.run(LIST_WEBHOOKS, outbox, [tenantTag(tenant)]))
      .map(toWebhook)
      .toReversed();

  const deleteWebhook = async (tenant: string, webhookId: string): Promise<boolean> => {
    const tag = tenantTag(tenant);
    const [existed, left] = asList(await client.run(DELETE_WEBHOOK, outbox, [tag, webhookId])).map(asNumber);
    await move(tag, webhookId, left === 1);
    return existed === 1;
  };

  return {
    ...redisDeliveries(client, outbox, move),
    listWebhooks,
    deleteWebhook,

    async addWebhook(webhook: Webhook, limit: number): Promise<void> {
      const { webhookId, tenant, createdAt, updatedAt, failingSince } = webhook;
      const fields = { ...fieldsOf(webhook), updated: updatedAt, failing: failingSince ?? '' };
      const args = [tenantTag(tenant), webhookId, limit, createdAt, ...Object.entries(fields).flat()];
      if ((await client.run(ADD_WEBHOOK, outbox, args)) !== 1) throw new SightlineError('too_many_webhooks');
    },

    async getWebhook(tenant: string, webhookId: string): Promise<Webhook | null> {
      const reply = await client.run(GET_WEBHOOK, outbox, [tenantTag(tenant), webhookId]);
      return reply === null ? null : toWebhook(reply);
    },

    async changeWebhook(
      tenant: string,
      webhookId: string,
      change: Parameters<WebhookLedger['changeWebhook']>[2],
      at: number,
    ): Promise<Webhook | null> {
      const tag = tenantTag(tenant);
      const reply = await client.run(CHANGE_WEBHOOK, outbox, [tag, webhookId, at, ...Object.entries(fieldsOf(change)).flat()]);
      if (reply === null) return null;
      const [left, webhook] = asList(reply);
      await move(tag, webhookId, left === 1);
      return toWebhook(webhook);
    },

    async addMessages(messages: OutboxMessage[]): Promise<string[]> {
      if (messages.length === 0) return [];
      const args = [randomUUID(), ...messages.flatMap(messageArguments)];
      return asList(await client.run(ADD_MESSAGES, outbox, args)).map(asText);
    },

    async unpublishedMessages(limit: number): Promise<{ messageId: string; event: string }[]> {
      if (limit <= 0) return [];
      return asList(await client.run(UNPUBLISHED_MESSAGES, outbox, [limit])).map((reply) => {
        const [messageId, event] = asList(reply).map(asText);
        return { messageId: asText(messageId), event: asText(event) };
      });
    },

    async settlePublished(messageIds: string[]): Promise<void> {
      if (messageIds.length > 0) await client.run(SETTLE_PUBLISHED, outbox, messageIds);
    },

    async pruneMessages({ before, limit }: { before: number; limit: number }): Promise<number> {
      let pruned = 0;
      while (pruned < limit) {
        const count = Math.min(PAGE, limit - pruned);
        const [seen = 0, gone = 0] = asList(await client.run(PRUNE_MESSAGES, outbox, [before, count])).map(asNumber);
        pruned += gone;
        if (seen < count) break;
      }
      return pruned;
    },

    /** One webhook and some messages after the other: who repeats it after an error drops the rest. */
    async dropOutboxOf(tenant: string, createdUpTo: number): Promise<void> {
      const upTo = Math.min(createdUpTo, Number.MAX_SAFE_INTEGER);
      for (const { webhookId, createdAt } of await listWebhooks(tenant)) {
        if (createdAt <= createdUpTo) await deleteWebhook(tenant, webhookId);
      }
      for (let dropped = PAGE; dropped === PAGE;) {
        dropped = asNumber(await client.run(DROP_MESSAGES, outbox, [tenantTag(tenant), upTo, PAGE]));
      }
    },
  };
}

/** A message as the scripts read it. */
export function messageArguments({ messageId, tenant, type, subject, at, data, event, to }: OutboxMessage): (string | number)[] {
  const address = to === null ? ['', '', ''] : 'url' in to ? ['url', to.url, to.secret] : ['webhook', to.webhookId, ''];
  return [messageId, tenantTag(tenant), type, subject, at, data, event ?? '', ...address];
}

/** What is given of a webhook, as the scripts keep it. */
function fieldsOf({ url, description, events, secrets, disabledBecause }: Parameters<WebhookLedger['changeWebhook']>[2]) {
  return {
    ...(url !== undefined && { url }),
    ...(description !== undefined && { description }),
    ...(events && { events: JSON.stringify(events), wants: ` ${events.join(' ')} ` }),
    ...(secrets && { secrets: JSON.stringify(secrets) }),
    ...(disabledBecause !== undefined && { disabled: disabledBecause ?? '' }),
  };
}

function toWebhook(reply: unknown): Webhook {
  const [webhookId, tag, url, description, events, secrets, disabled, createdAt, updatedAt, failing] = asList(reply).map(asText);
  return {
    webhookId: asText(webhookId),
    tenant: decodeURIComponent(asText(tag)),
    url: asText(url),
    description: asText(description),
    // Written by fieldsOf.
    events: JSON.parse(asText(events)) as WebhookEventType[],
    secrets: JSON.parse(asText(secrets)) as Webhook['secrets'],
    disabledBecause: disabled === '' ? null : (disabled as Webhook['disabledBecause']),
    createdAt: asNumber(createdAt),
    updatedAt: asNumber(updatedAt),
    failingSince: failing === '' ? null : asNumber(failing),
  };
}
