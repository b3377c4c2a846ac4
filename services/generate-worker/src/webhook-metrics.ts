import type { WebhookLedger } from '@sightline/shared/ports/webhook-ledger';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Sent } from './core/webhooks/send-delivery.ts';

export interface WebhookMetrics {
  count: (sent: Sent) => void;
  countPublished: (messages: number) => void;
}

/** Counts what is sent; how much is pending, and how long, is asked of the ledger when the metrics are. */
export function openWebhookMetrics(registry: Registry, ledger: Pick<WebhookLedger, 'deliveryBacklog'>): WebhookMetrics {
  const registers = [registry];
  const attempts = new Counter({
    name: 'sightline_webhook_attempts_total',
    help: 'Attempts by what came of them: delivered, retried, failed (for good), lost (another sent it too).',
    labelNames: ['outcome'],
    registers,
  });
  const seconds = new Histogram({
    name: 'sightline_webhook_attempt_seconds',
    help: 'From the connection to the end of the answer.',
    buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20],
    registers,
  });
  const disabled = new Counter({
    name: 'sightline_webhook_disabled_total',
    help: 'Webhooks that were disabled: gone (410), failing (for days).',
    labelNames: ['because'],
    registers,
  });
  const published = new Counter({
    name: 'sightline_outbox_published_total',
    help: 'Messages whose events were handed to the event log.',
    registers,
  });
  const oldest = new Gauge({
    name: 'sightline_webhook_oldest_due_seconds',
    help: 'How long the delivery that is due longest has been due; 0 when none is.',
    registers,
  });
  const pending = new Gauge({
    name: 'sightline_webhook_pending',
    help: 'Deliveries that are neither delivered nor given up, of enabled webhooks.',
    registers,
    collect: async () => {
      // A ledger that does not answer leaves the values out.
      pending.reset();
      oldest.reset();
      const now = Date.now();
      const backlog = await ledger.deliveryBacklog(now).catch(() => null);
      if (!backlog) return;
      pending.set(backlog.pending);
      oldest.set(backlog.oldestDueAt === null ? 0 : Math.max(0, now - backlog.oldestDueAt) / 1000);
    },
  });
  return {
    count({ outcome, attempt, disabled: because }) {
      if (!attempt) return;
      attempts.inc({ outcome });
      seconds.observe(attempt.durationMs / 1000);
      if (because) disabled.inc({ because });
    },
    countPublished: (messages) => published.inc(messages),
  };
}
