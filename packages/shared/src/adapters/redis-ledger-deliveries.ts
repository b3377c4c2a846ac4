import { randomUUID } from 'node:crypto';
import { listCursor, listPlace } from '../contracts/list-cursor.ts';
import type { WebhookEventType } from '../contracts/webhooks.ts';
import type { Delivery, DeliveryAttempt, TakenDelivery, Webhook, WebhookLedger } from '../ports/webhook-ledger.ts';
import type { LedgerClient } from './redis-ledger-client.ts';
import {
  COUNT_DELIVERIES,
  DUE_DELIVERIES,
  GIVE_BACK_DELIVERY,
  LIST_DELIVERIES,
  REPLAY_DELIVERY,
  REPLAY_RANGE,
  SETTLE_DELIVERY,
  TAKE_DELIVERY,
} from './redis-ledger-delivery-scripts.ts';
import { tenantTag } from './redis-ledger-keys.ts';
import { asList, asNumber, asText } from './redis-ledger-reply.ts';

const STATUSES: Delivery['status'][] = ['pending', 'delivered', 'failed', 'dropped'];
const LAST_TIME = Number.MAX_SAFE_INTEGER - 1;

/** Ledger's methods on deliveries, on Redis. `move` brings those that wait in step with their webhook where any are left. */
export function redisDeliveries(
  client: LedgerClient,
  outbox: string[],
  move: (tag: string, webhookId: string, isLeft: boolean) => Promise<void>,
) {
  return {
    async takeDelivery(
      deliveryId: string,
      { token, claimMs, at }: { token: string; claimMs: number; at: number },
    ): Promise<TakenDelivery | null> {
      const reply = await client.run(TAKE_DELIVERY, outbox, [deliveryId, token, claimMs, at]);
      if (reply === null) return null;
      const [own, message, to] = asList(reply);
      const delivery = toDelivery(own);
      const [type, happenedAt, data] = asList(message).map(asText);
      const [url, secret] = asList(to).map(asText);
      return {
        delivery,
        message: {
          messageId: delivery.messageId,
          type: type as WebhookEventType,
          at: asNumber(happenedAt),
          data: asText(data),
        },
        to: { url: asText(url), secrets: delivery.webhookId === null ? [asText(secret)] : secretsAt(asText(secret), at) },
      };
    },

    async settleDelivery(
      deliveryId: string,
      token: string,
      { attempt, outcome, disable }: Parameters<WebhookLedger['settleDelivery']>[2],
    ): Promise<boolean> {
      const dueAt = outcome.status === 'pending' ? outcome.nextAttemptAt : '';
      const told = [JSON.stringify(attempt), attempt.at, outcome.status, dueAt, disable ?? ''];
      const args = [deliveryId, token, randomUUID(), ...told];
      const [settled, webhookId, left] = asList(await client.run(SETTLE_DELIVERY, outbox, args));
      await move('', asText(webhookId), left === 1);
      return settled === 1;
    },

    async giveBackDelivery(deliveryId: string, token: string): Promise<void> {
      await client.run(GIVE_BACK_DELIVERY, outbox, [deliveryId, token]);
    },

    async dueDeliveries({ at, limit }: { at: number; limit: number }): Promise<{ tenant: string; deliveryId: string }[]> {
      if (limit <= 0) return [];
      return asList(await client.run(DUE_DELIVERIES, outbox, [at, limit])).map((reply) => {
        const [deliveryId, tag] = asList(reply).map(asText);
        return { tenant: decodeURIComponent(asText(tag)), deliveryId: asText(deliveryId) };
      });
    },

    async deliveryBacklog(at: number): Promise<{ pending: number; oldestDueAt: number | null }> {
      const [pending, oldest] = asList(await client.run(COUNT_DELIVERIES, outbox, []));
      const dueAt = oldest === '' ? null : asNumber(oldest);
      return { pending: asNumber(pending), oldestDueAt: dueAt !== null && dueAt <= at ? dueAt : null };
    },

    async listDeliveries(
      tenant: string,
      webhookId: string,
      { status, after, limit }: Parameters<WebhookLedger['listDeliveries']>[2],
    ): Promise<{ deliveries: Delivery[]; nextCursor: string | null }> {
      const statuses = status ? [status] : STATUSES;
      const args = [tenantTag(tenant), webhookId, placeOf(after), limit + 1, ...statuses];
      const found = asList(await client.run(LIST_DELIVERIES, outbox, args)).map(toDelivery);
      const deliveries = found.slice(0, limit);
      const last = deliveries.at(-1);
      const isMore = found.length > limit && last;
      return { deliveries, nextCursor: isMore ? listCursor({ at: last.createdAt, id: String(last.sequence) }) : null };
    },

    async replayDeliveries(
      tenant: string,
      webhookId: string,
      which: Parameters<WebhookLedger['replayDeliveries']>[2],
      at: number,
    ): Promise<string[]> {
      const whose = [tenantTag(tenant), webhookId, at, randomUUID()];
      if ('deliveryId' in which)
        return asList(await client.run(REPLAY_DELIVERY, outbox, [...whose, which.deliveryId])).map(asText);
      const statuses = which.statuses.filter((status) => status !== 'pending');
      const range = [Math.max(0, which.since), Math.min(which.until, LAST_TIME) + 1];
      return asList(await client.run(REPLAY_RANGE, outbox, [...whose, which.limit, ...range, ...statuses])).map(asText);
    },
  };
}

function placeOf(cursor: string | undefined): string {
  if (cursor === undefined) return '';
  const { at, id } = listPlace(cursor);
  return `${String(at).padStart(16, '0')}/${id.padStart(16, '0')}`;
}

function secretsAt(secrets: string, at: number): string[] {
  // Written by addWebhook and changeWebhook.
  const all = JSON.parse(secrets) as Webhook['secrets'];
  return all.filter(({ expiresAt }) => expiresAt === null || expiresAt > at).map(({ secret }) => secret);
}

function toDelivery(reply: unknown): Delivery {
  const [deliveryId, messageId, tag, type, subject, webhookId, sequence, status, createdAt, next, tries, ...attempts] =
    asList(reply).map(asText);
  return {
    deliveryId: asText(deliveryId),
    messageId: asText(messageId),
    tenant: decodeURIComponent(asText(tag)),
    type: type as WebhookEventType,
    subject: asText(subject),
    webhookId: webhookId === '' ? null : asText(webhookId),
    sequence: asNumber(sequence),
    status: status as Delivery['status'],
    createdAt: asNumber(createdAt),
    nextAttemptAt: next === '' ? null : asNumber(next),
    // Written by settleDelivery.
    attempts: attempts.map((attempt) => JSON.parse(attempt) as DeliveryAttempt),
    tries: asNumber(tries),
  };
}
