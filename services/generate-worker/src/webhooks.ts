import type { JobName } from '@sightline/shared/contracts/jobs';
import { DELIVERY_DELAYS_MS } from '@sightline/shared/contracts/webhooks';
import type { EventLog } from '@sightline/shared/ports/event-log';
import type { JobHandler, QueueEngine } from '@sightline/shared/ports/queue-engine';
import type { WebhookLedger } from '@sightline/shared/ports/webhook-ledger';
import { sleep } from '@sightline/shared/runtime/sleep';
import { driveDeliveries } from '@sightline/shared/webhooks/drive-deliveries';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { newId } from '@sightline/shared/contracts/ids';
import { publishMessages } from './core/webhooks/publish-messages.ts';
import { ReceiverSlots, type DeliveryRef } from './core/webhooks/receiver-slots.ts';
import { sendInTurn, type WebhookHttp } from './core/webhooks/send-delivery.ts';
import { pruneLog, sweepDeliveries } from './core/webhooks/sweep-deliveries.ts';
import { repeat } from './repeat.ts';
import { openWebhookMetrics } from './webhook-metrics.ts';

export interface WebhooksConfig {
  /** Deliveries in flight at once, of one receiver, and of all of a tenant. */
  concurrency: number;
  perReceiver: number;
  perTenant: number;
  /** Of an attempt; the standard asks for 15 to 30 seconds. */
  timeoutMs: number;
  /** Between a delivery's attempts, by default those of the standard. */
  delaysMs: readonly number[];
  /** How long a worker that died keeps others from its delivery. */
  claimMs: number;
  /** Between two looks at what is due, and at the outbox where nobody tells of a new message. */
  sweepEveryMs: number;
  /** How long settled deliveries and their messages are kept. */
  keepMs: number;
  drainMs: number;
}

const DEFAULTS: WebhooksConfig = {
  concurrency: 16,
  perReceiver: 4,
  perTenant: 8,
  timeoutMs: 20_000,
  delaysMs: DELIVERY_DELAYS_MS,
  claimMs: 45_000,
  sweepEveryMs: 2_000,
  keepMs: 30 * 24 * 3_600_000,
  // What is not over then is broken off and sent again by another: once more than needed.
  drainMs: 10_000,
};

const PRUNE_EVERY_MS = 3_600_000;
/** How long a job goes on with what waits for its receiver. */
const TURN_MS = 1_000;
const PUBLISHED_AT_ONCE = 100;
/** While the event log is away. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

export interface WebhooksDeps {
  ledger: WebhookLedger;
  events: Pick<EventLog, 'publish'>;
  queue: Pick<QueueEngine, 'add' | 'work'>;
  /** Guarded: it judges every address that it connects to. */
  http: WebhookHttp;
  logger: Logger;
  registry: Registry;
  /** What is left out has its default. */
  config: Partial<WebhooksConfig>;
}

export interface Webhooks {
  /** Told after a message was put into the outbox: has its deliveries sent and its event published at once. Never throws. */
  told: (tenant: string, deliveryIds: string[]) => void;
  close: () => Promise<void>;
}

/** Sends what is due and publishes what the outbox holds, until closed. */
export async function startWebhooks(deps: WebhooksDeps): Promise<Webhooks> {
  const { ledger, events, queue, http, logger, registry } = deps;
  const now = Date.now;
  const config: WebhooksConfig = { ...DEFAULTS, ...deps.config };
  const metrics = openWebhookMetrics(registry, ledger);
  const slots = new ReceiverSlots(config.perReceiver, config.perTenant);
  const { timeoutMs, delaysMs, claimMs } = config;
  const again = (deliveries: DeliveryRef[]): Promise<void> => driveDeliveries(queue, deliveries, { again: true });
  const sending = { ledger, http, slots, drive: again, now, random: Math.random, newToken: newId, timeoutMs, delaysMs, claimMs };
  const handlers: { [N in Extract<JobName, 'webhook'>]: JobHandler<N> } = {
    webhook: (delivery, { signal }) => sendInTurn(sending, delivery, { turnMs: TURN_MS, count: metrics.count, signal }),
  };
  const worker = await queue.work('webhook', handlers.webhook, { concurrency: config.concurrency });

  const stopping = new AbortController();
  const { signal } = stopping;
  const warn = (error: unknown, message: string): void => logger.warn({ err: error }, message);
  let wake = (): void => {};
  const publishing = (async () => {
    let pauseMs = FIRST_PAUSE_MS;
    while (!signal.aborted) {
      const woken = new Promise<void>((resolve) => (wake = resolve));
      try {
        const published = await publishMessages({ ledger, events, warn }, PUBLISHED_AT_ONCE);
        metrics.countPublished(published);
        pauseMs = FIRST_PAUSE_MS;
        if (published < PUBLISHED_AT_ONCE) await orAfter(woken, config.sweepEveryMs, signal);
      } catch (error) {
        warn(error, 'events of the outbox wait');
        await sleep(pauseMs, signal).catch(() => {});
        pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
      }
    }
  })();

  const sweep = { ledger, slots, drive: (deliveries: DeliveryRef[]) => driveDeliveries(queue, deliveries), now };
  let pruneAt = performance.now();
  const sweeping = repeat('sweep of webhooks', { everyMs: config.sweepEveryMs, logger }, async (stopped) => {
    await sweepDeliveries(sweep);
    if (performance.now() < pruneAt) return;
    pruneAt = performance.now() + PRUNE_EVERY_MS;
    const dropped = await pruneLog(sweep, config.keepMs, stopped);
    if (dropped > 0) logger.info({ dropped }, 'old messages of webhooks');
  });

  const driving = new Set<Promise<void>>();
  return {
    told(tenant, deliveryIds) {
      wake();
      const deliveries = deliveryIds.map((deliveryId) => ({ tenant, deliveryId }));
      const driven = driveDeliveries(queue, deliveries)
        .catch((error: unknown) => warn(error, 'deliveries wait for the sweep'))
        .finally(() => driving.delete(driven));
      driving.add(driven);
    },
    async close() {
      stopping.abort();
      await Promise.all([publishing, sweeping.stop(), worker.close(config.drainMs), ...driving]);
    },
  };
}

async function orAfter(woken: Promise<void>, ms: number, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  await Promise.race([woken, sleep(ms, AbortSignal.any([signal, over.signal])).catch(() => {})]);
  over.abort();
}
