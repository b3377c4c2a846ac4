import { newId, webhookLockKey } from '@sightline/shared/contracts/ids';
import type {
  DeliveryView,
  replayRequest,
  webhookChange,
  webhookRequest,
  WebhookView,
} from '@sightline/shared/contracts/webhook-http';
import { ROTATION_MS } from '@sightline/shared/contracts/webhooks';
import { withLeasedKeys } from '@sightline/shared/ingestion/key-lease';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { Delivery, Webhook } from '@sightline/shared/ports/webhook-ledger';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { z } from 'zod';

export interface WebhookDeps {
  ledger: Pick<
    Ledger,
    | 'addWebhook'
    | 'getWebhook'
    | 'listWebhooks'
    | 'changeWebhook'
    | 'deleteWebhook'
    | 'listDeliveries'
    | 'replayDeliveries'
    | 'leaseKeys'
    | 'renewKeys'
    | 'releaseKeys'
  >;
  /** Throws `url_not_allowed` for an address that is never called; what a name resolves to is judged when it is. */
  judgeUrl: (url: string) => unknown;
  /** Unix milliseconds. */
  now: () => number;
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** A cryptographic source. */
  randomBytes: (count: number) => Uint8Array;
}

const MOST_WEBHOOKS = 50;
/** Each signs every delivery. */
const MOST_SECRETS = 3;
const SECRET_BYTES = 32;
const HINT_CHARS = 4;
const LEASE_TTL_MS = 10_000;
/** Deliveries that one request makes due again; who asks again gets the next. */
const REPLAY_LIMIT = 500;

/** A webhook, and its new secret where one was made: told this once. */
export interface IssuedWebhook {
  webhook: Webhook;
  secret: string | null;
}

/** Errors: `url_not_allowed`, `too_many_webhooks`. */
export async function addWebhook(
  { ledger, judgeUrl, now, randomBytes }: WebhookDeps,
  tenant: string,
  { url, events, description }: z.output<typeof webhookRequest>,
): Promise<IssuedWebhook> {
  judgeUrl(url);
  const secret = mintSecret(randomBytes);
  const at = now();
  const webhook: Webhook = {
    webhookId: newId(),
    tenant,
    url,
    description,
    events,
    secrets: [{ secret, expiresAt: null }],
    disabledBecause: null,
    createdAt: at,
    updatedAt: at,
    failingSince: null,
  };
  await ledger.addWebhook(webhook, MOST_WEBHOOKS);
  return { webhook, secret };
}

/** Another tenant's is as unknown as one that never was. Error: `webhook_not_found`. */
export async function getWebhook({ ledger }: Pick<WebhookDeps, 'ledger'>, tenant: string, webhookId: string): Promise<Webhook> {
  return known(await ledger.getWebhook(tenant, webhookId));
}

/**
 * Changes what is given. A rotated secret signs beside the new one for a day; of more than three the oldest ends at once. Enabling one
 * that was disabled also sends what waited. Errors: `webhook_not_found`, `url_not_allowed`.
 */
export async function changeWebhook(
  deps: WebhookDeps,
  tenant: string,
  webhookId: string,
  { url, events, description, enabled, rotate_secret: rotate }: z.output<typeof webhookChange>,
): Promise<IssuedWebhook> {
  if (url !== undefined) deps.judgeUrl(url);
  const change = {
    ...(url !== undefined && { url }),
    ...(events !== undefined && { events }),
    ...(description !== undefined && { description }),
    ...(enabled !== undefined && { disabledBecause: enabled ? null : ('user' as const) }),
  };
  const { ledger, now } = deps;
  if (!rotate) return { webhook: known(await ledger.changeWebhook(tenant, webhookId, change, now())), secret: null };
  const secret = mintSecret(deps.randomBytes);
  let webhook: Webhook | null = null;
  // Two that rotate at once would each write its own list: a secret that was told would then sign nothing.
  await withLeasedKeys(deps, [webhookLockKey(webhookId)], { ttlMs: LEASE_TTL_MS }, async (_, lease) => {
    const { secrets } = await getWebhook(deps, tenant, webhookId);
    lease.assertHeld();
    const at = now();
    webhook = await ledger.changeWebhook(tenant, webhookId, { ...change, secrets: rotated(secrets, secret, at) }, at);
  });
  return { webhook: known(webhook), secret };
}

/** Errors: `webhook_not_found`. */
export async function removeWebhook({ ledger, now }: WebhookDeps, tenant: string, webhookId: string): Promise<void> {
  if (!(await ledger.deleteWebhook(tenant, webhookId, now()))) throw new SightlineError('webhook_not_found');
}

/** Errors: `webhook_not_found`. */
export async function listDeliveries(
  { ledger }: WebhookDeps,
  tenant: string,
  webhookId: string,
  options: { status?: Delivery['status']; after?: string; limit: number },
): Promise<{ deliveries: Delivery[]; nextCursor: string | null }> {
  await getWebhook({ ledger }, tenant, webhookId);
  return ledger.listDeliveries(tenant, webhookId, options);
}

/**
 * Makes deliveries due again, under the ids they had: a receiver that knows one already sees it by that. They are sent within seconds.
 * Errors: `webhook_not_found`, `delivery_not_found`.
 */
export async function replayDeliveries(
  { ledger, now }: WebhookDeps,
  tenant: string,
  webhookId: string,
  asked: z.output<typeof replayRequest>,
): Promise<{ replayed: number; more: boolean }> {
  await getWebhook({ ledger }, tenant, webhookId);
  const at = now();
  if ('delivery_id' in asked) {
    const ids = await ledger.replayDeliveries(tenant, webhookId, { deliveryId: asked.delivery_id }, at);
    if (ids.length === 0)
      throw new SightlineError('delivery_not_found', 'None that is over: one that is pending is sent anyway.');
    return { replayed: ids.length, more: false };
  }
  const until = asked.until === undefined ? at : Date.parse(asked.until);
  const range = { since: Date.parse(asked.since), until, statuses: asked.statuses, limit: REPLAY_LIMIT };
  const ids = await ledger.replayDeliveries(tenant, webhookId, range, at);
  return { replayed: ids.length, more: ids.length === REPLAY_LIMIT };
}

/** Without its secrets. */
export function viewOfWebhook(webhook: Webhook, now: number): WebhookView {
  return {
    webhook_id: webhook.webhookId,
    url: webhook.url,
    events: webhook.events,
    description: webhook.description,
    enabled: webhook.disabledBecause === null,
    disabled_because: webhook.disabledBecause,
    failing_since: timeOf(webhook.failingSince),
    secrets: liveOf(webhook.secrets, now).map(({ secret, expiresAt }) => ({
      hint: secret.slice(-HINT_CHARS),
      expires_at: timeOf(expiresAt),
    })),
    created_at: isoOf(webhook.createdAt),
    updated_at: isoOf(webhook.updatedAt),
  };
}

export function viewOfDelivery(delivery: Delivery): DeliveryView {
  return {
    delivery_id: delivery.deliveryId,
    webhook_message_id: delivery.messageId,
    type: delivery.type,
    subject: delivery.subject,
    sequence: delivery.sequence,
    status: delivery.status,
    created_at: isoOf(delivery.createdAt),
    next_attempt_at: timeOf(delivery.nextAttemptAt),
    attempts: delivery.attempts.map(({ at, durationMs, status, error }) => ({
      at: isoOf(at),
      duration_ms: durationMs,
      status,
      error,
    })),
  };
}

function rotated(secrets: Webhook['secrets'], secret: string, at: number): Webhook['secrets'] {
  const older = liveOf(secrets, at).map((one) => ({ ...one, expiresAt: Math.min(one.expiresAt ?? Infinity, at + ROTATION_MS) }));
  return [{ secret, expiresAt: null }, ...older].slice(0, MOST_SECRETS);
}

function liveOf(secrets: Webhook['secrets'], at: number): Webhook['secrets'] {
  return secrets.filter(({ expiresAt }) => expiresAt === null || expiresAt > at);
}

function mintSecret(randomBytes: WebhookDeps['randomBytes']): string {
  return `whsec_${Buffer.from(randomBytes(SECRET_BYTES)).toString('base64')}`;
}

function known(webhook: Webhook | null): Webhook {
  if (!webhook) throw new SightlineError('webhook_not_found');
  return webhook;
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}

function timeOf(ms: number | null): string | null {
  return ms === null ? null : isoOf(ms);
}
