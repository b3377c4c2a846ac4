import { toSightlineError } from '@sightline/shared/runtime/errors';
import type { DeliveryAttempt, TakenDelivery, WebhookLedger } from '@sightline/shared/ports/webhook-ledger';
import { disabledBy } from './disabling.ts';
import type { DeliveryRef, ReceiverSlots } from './receiver-slots.ts';
import { nextAttemptAt } from './retry-schedule.ts';
import { signedHeaders } from './sign.ts';
import { webhookBody } from './webhook-body.ts';

/** What posts to addresses that users give. */
export interface WebhookHttp {
  /** Errors: `url_*`, which are the receiver's; `overloaded` when its turn did not come. */
  request(request: {
    method: 'POST';
    url: string;
    headers: Record<string, string>;
    body: string;
    timeoutMs: number;
    maxResponseBytes: number;
    signal?: AbortSignal;
  }): Promise<{ status: number; headers: Record<string, string> }>;
}

export interface SendDeps {
  ledger: Pick<WebhookLedger, 'takeDelivery' | 'giveBackDelivery' | 'settleDelivery' | 'getWebhook'>;
  http: WebhookHttp;
  slots: ReceiverSlots;
  /** Has those sent whose turn has come. */
  drive: (deliveries: DeliveryRef[]) => Promise<void>;
  /** Unix milliseconds. */
  now: () => number;
  /** From 0 to 1. */
  random: () => number;
  newToken: () => string;
  /** Of an attempt, from the connection to the last byte. */
  timeoutMs: number;
  /** The schedule of a delivery's attempts after its first. */
  delaysMs: readonly number[];
  /** How long a worker that died keeps others from its delivery; longer than an attempt. */
  claimMs: number;
}

/**
 * `none`: there was nothing to send. `waits`: its receiver has no slot free. `lost`: it took so long that another sends it too.
 * `retried`: it failed, and is due again.
 */
export type SendOutcome = 'none' | 'waits' | 'lost' | 'delivered' | 'retried' | 'failed';

export interface Sent {
  outcome: SendOutcome;
  attempt: DeliveryAttempt | null;
  disabled: 'gone' | 'failing' | null;
}

/**
 * Sends a delivery, and then, for `turnMs`, what waits for its receiver: whose turn it is need not go through the queue, and a receiver
 * with a long line does not keep the place for ever.
 */
export async function sendInTurn(
  deps: SendDeps,
  delivery: DeliveryRef,
  { turnMs, count, signal }: { turnMs: number; count: (sent: Sent) => void; signal: AbortSignal },
): Promise<void> {
  const endsAt = deps.now() + turnMs;
  for (let next: DeliveryRef | undefined = delivery; next;) {
    let called: DeliveryRef | undefined;
    const drive = async (deliveries: DeliveryRef[]): Promise<void> => {
      const mayGoOn = !signal.aborted && deps.now() < endsAt;
      const others = mayGoOn ? deliveries.slice(1) : deliveries;
      if (mayGoOn) [called] = deliveries;
      if (others.length > 0) await deps.drive(others);
    };
    count(await sendDelivery({ ...deps, drive }, next, signal));
    next = called;
  }
}

/** What an attempt showed; `retryAfter` as the receiver sent it. */
interface Tried {
  attempt: DeliveryAttempt;
  retryAfter: string | undefined;
}

/** Nobody reads it; a receiver that sends more is not one. */
const MAX_ANSWER_BYTES = 1024 * 1024;
const USER_AGENT = 'sightline-webhooks/1';

/**
 * Sends one delivery, if it is due: takes it under a claim, posts it signed, settles what came of it. Whoever dies in between leaves a
 * claim that lapses, and the delivery is sent again under the same id.
 */
export async function sendDelivery(deps: SendDeps, delivery: DeliveryRef, signal: AbortSignal): Promise<Sent> {
  const { ledger, slots, now, claimMs } = deps;
  const token = deps.newToken();
  const taken = await ledger.takeDelivery(delivery.deliveryId, { token, claimMs, at: now() });
  if (!taken) return { outcome: 'none', attempt: null, disabled: null };
  const receiver = receiverOf(taken);
  if (!slots.take(receiver, delivery)) {
    await ledger.giveBackDelivery(delivery.deliveryId, token);
    return { outcome: 'waits', attempt: null, disabled: null };
  }
  let isWell: boolean | null = null;
  try {
    const tried = await post(deps, taken, signal);
    if (!tried) {
      await ledger.giveBackDelivery(delivery.deliveryId, token);
      signal.throwIfAborted();
      return { outcome: 'waits', attempt: null, disabled: null };
    }
    isWell = isSuccess(tried.attempt);
    return await settle(deps, taken, token, tried);
  } finally {
    // What is not driven now the sweep finds.
    await deps.drive(slots.release(receiver, isWell)).catch(() => {});
  }
}

/** Null when it was not tried, or broken off from here. */
async function post(
  { http, now, timeoutMs }: SendDeps,
  { delivery, message, to }: TakenDelivery,
  signal: AbortSignal,
): Promise<Tried | null> {
  const body = webhookBody(message, delivery.sequence);
  const at = now();
  const headers = {
    'content-type': 'application/json',
    'user-agent': USER_AGENT,
    ...signedHeaders(message.messageId, at, body, to.secrets),
  };
  const tried = (status: number | null, error: string | null, retryAfter?: string): Tried => ({
    attempt: { at, durationMs: Math.max(0, now() - at), status, error },
    retryAfter,
  });
  try {
    const request = {
      method: 'POST' as const,
      url: to.url,
      headers,
      body,
      timeoutMs,
      maxResponseBytes: MAX_ANSWER_BYTES,
      signal,
      onBehalfOf: delivery.tenant,
    };
    const answer = await http.request(request);
    return tried(answer.status, null, answer.headers['retry-after']);
  } catch (thrown) {
    const { code } = toSightlineError(thrown);
    return signal.aborted || code === 'overloaded' ? null : tried(null, code);
  }
}

async function settle(deps: SendDeps, { delivery }: TakenDelivery, token: string, { attempt, retryAfter }: Tried): Promise<Sent> {
  const { ledger, random, delaysMs } = deps;
  const { deliveryId, tenant, webhookId, createdAt } = delivery;
  if (isSuccess(attempt)) {
    const isHeld = await ledger.settleDelivery(deliveryId, token, { attempt, outcome: { status: 'delivered' } });
    return { outcome: isHeld ? 'delivered' : 'lost', attempt, disabled: null };
  }
  const { status } = attempt;
  const tries = delivery.tries + 1;
  const answer = status === null ? null : { status, retryAfter };
  const dueAt = status === 410 ? null : nextAttemptAt({ delaysMs, tries, answer, at: attempt.at + attempt.durationMs }, random);
  const isLast = dueAt === null;
  const webhook = isLast && webhookId !== null ? await ledger.getWebhook(tenant, webhookId) : null;
  const disabled = disabledBy({ status, isLast, deliveryCreatedAt: createdAt }, webhook);
  const isHeld = await ledger.settleDelivery(deliveryId, token, {
    attempt,
    outcome: isLast ? { status: 'failed' } : { status: 'pending', nextAttemptAt: dueAt },
    ...(disabled && { disable: disabled }),
  });
  if (!isHeld) return { outcome: 'lost', attempt, disabled: null };
  return { outcome: isLast ? 'failed' : 'retried', attempt, disabled };
}

/** A redirect is none: whoever moved says so where the webhook was set up. */
function isSuccess({ status }: DeliveryAttempt): boolean {
  return status !== null && status >= 200 && status < 300;
}

/** Of one tenant: another's address at the same host must not wait for this one's. */
function receiverOf({ delivery, to }: TakenDelivery): string {
  return `${delivery.tenant} ${URL.canParse(to.url) ? new URL(to.url).host : to.url}`;
}
