import type { QuestionWebhook } from '../contracts/questions.ts';
import type { WebhookEventType } from '../contracts/webhooks.ts';

/** An address of a tenant's that wants events. Times in Unix milliseconds. */
export interface Webhook {
  webhookId: string;
  tenant: string;
  url: string;
  description: string;
  /** The types it wants. */
  events: WebhookEventType[];
  /** Newest first; while rotated, older ones sign too until they expire. `whsec_` and base64. */
  secrets: { secret: string; expiresAt: number | null }[];
  disabledBecause: 'user' | 'gone' | 'failing' | null;
  createdAt: number;
  updatedAt: number;
  /** Since when every attempt failed; null while the last one did not. */
  failingSince: number | null;
}

/** Something that happened, to be told: stored in the same step as what happened. */
export interface OutboxMessage {
  /** The event's id: webhook-id, and the id on SSE and Kafka. */
  messageId: string;
  tenant: string;
  type: WebhookEventType;
  /** The question's or the ingestion's id. */
  subject: string;
  /** When it happened. */
  at: number;
  /** JSON of the webhook's `data`, as every receiver gets it but for its sequence number. */
  data: string;
  /** JSON of the event for the event log; null where it is published already. */
  event: string | null;
  /**
   * Null: every webhook of the tenant that wants the type and is enabled then; one that is disabled, for whatever reason, never gets
   * what happened meanwhile. A webhook that is named gets it whether or not it wants the type, also while it is disabled, when it
   * waits; one that is deleted gets nothing. An address of one question has one delivery, to it and under its secret.
   */
  to: QuestionWebhook | null;
}

export interface DeliveryAttempt {
  at: number;
  durationMs: number;
  /** Null when there was no answer. */
  status: number | null;
  /** An error's code, when there was none. */
  error: string | null;
}

/** One message to one address. */
export interface Delivery {
  deliveryId: string;
  messageId: string;
  tenant: string;
  type: WebhookEventType;
  subject: string;
  /** Null for a question's own address. */
  webhookId: string | null;
  /** From 1, one more with each delivery of the webhook; 1 for a question's own address. Replays keep it. */
  sequence: number;
  /** `dropped`: its webhook was deleted. */
  status: 'pending' | 'delivered' | 'failed' | 'dropped';
  /** The message's `at`; it is due at once. */
  createdAt: number;
  /** When it is due; null once it is settled. */
  nextAttemptAt: number | null;
  /** Oldest first, the last 20 at most. */
  attempts: DeliveryAttempt[];
  /** All attempts since it was added or replayed last. */
  tries: number;
}

/** A delivery that is this worker's to send. */
export interface TakenDelivery {
  delivery: Delivery;
  message: Pick<OutboxMessage, 'messageId' | 'type' | 'at' | 'data'>;
  to: { url: string; secrets: string[] };
}

/**
 * Webhooks and the outbox. Every method is one atomic step and durable when it returns. Deliveries are owed until they are settled;
 * a worker takes one under a claim that lapses, so that it may be sent twice and never gets lost.
 */
export interface WebhookLedger {
  /** One that is there already changes nothing. Error: `too_many_webhooks` when the tenant has `limit` of them. */
  addWebhook(webhook: Webhook, limit: number): Promise<void>;
  getWebhook(tenant: string, webhookId: string): Promise<Webhook | null>;
  /** Newest first. */
  listWebhooks(tenant: string): Promise<Webhook[]>;
  /** Changes what is given; answers it as it is then, or null. Enabled again it is no longer failing, and its pending deliveries are due at `at`. */
  changeWebhook(
    tenant: string,
    webhookId: string,
    change: Partial<Pick<Webhook, 'url' | 'description' | 'events' | 'secrets' | 'disabledBecause'>>,
    at: number,
  ): Promise<Webhook | null>;
  /** Drops it; its pending deliveries become `dropped`, and stay listed. Answers whether there was one. */
  deleteWebhook(tenant: string, webhookId: string, at: number): Promise<boolean>;
  /**
   * Puts messages into the outbox, with a delivery for each address (`deliveryId`). One that is there already changes nothing. Answers
   * the new deliveries' ids.
   */
  addMessages(messages: OutboxMessage[]): Promise<string[]>;
  /** Messages whose event is not in the event log yet, oldest first. */
  unpublishedMessages(limit: number): Promise<{ messageId: string; event: string }[]>;
  settlePublished(messageIds: string[]): Promise<void>;
  /**
   * Takes a pending delivery that is due, until `at + claimMs`. Null when it is settled, not due, taken, or its webhook disabled: then
   * it waits until that is enabled again. Its secrets are the webhook's that have not expired by `at`, newest first. Taken again with
   * the same token it is the same taking.
   */
  takeDelivery(deliveryId: string, claim: { token: string; claimMs: number; at: number }): Promise<TakenDelivery | null>;
  /**
   * What came of an attempt, under its claim: `delivered`, `failed` for good, or due again at a time. `disable` disables the webhook in the
   * same step, updated at the attempt's time; what else disabled it stands. False when the claim is lost; nothing changed then.
   */
  settleDelivery(
    deliveryId: string,
    token: string,
    settled: {
      attempt: DeliveryAttempt;
      outcome: { status: 'delivered' } | { status: 'failed' } | { status: 'pending'; nextAttemptAt: number };
      disable?: 'gone' | 'failing';
    },
  ): Promise<boolean>;
  /** A worker that lives gives up what it took and has not sent: it is due as it was before. Nothing under another's claim. */
  giveBackDelivery(deliveryId: string, token: string): Promise<void>;
  /** Pending deliveries of enabled addresses that are due by `at` and not taken, the one due longest first. */
  dueDeliveries(options: { at: number; limit: number }): Promise<{ tenant: string; deliveryId: string }[]>;
  /** How many are pending at enabled webhooks, and since when the longest due one is due. */
  deliveryBacklog(at: number): Promise<{ pending: number; oldestDueAt: number | null }>;
  /** A webhook's deliveries, newest first, after a cursor (`listCursor`). Error: `request_invalid` for one that is none. */
  listDeliveries(
    tenant: string,
    webhookId: string,
    options: { status?: Delivery['status']; after?: string; limit: number },
  ): Promise<{ deliveries: Delivery[]; nextCursor: string | null }>;
  /**
   * Makes deliveries of a webhook pending again, due at `at`, under their ids and sequence numbers: one, or those created in a range
   * (`since` and `until` included) and of a status; those that are pending stay as they are. Answers their ids, at most `limit`, oldest first.
   */
  replayDeliveries(
    tenant: string,
    webhookId: string,
    which: { deliveryId: string } | { since: number; until: number; statuses: Delivery['status'][]; limit: number },
    at: number,
  ): Promise<string[]>;
  /** Drops settled deliveries, and messages without pending deliveries that are published, from before `before`; at most `limit` messages. Answers how many. */
  pruneMessages(options: { before: number; limit: number }): Promise<number>;
}
