import type { WebhookEventType } from '../contracts/webhooks.ts';
import type { Webhook, WebhookLedger } from '../ports/webhook-ledger.ts';
import { SightlineError } from '../runtime/errors.ts';
import { numberOrNull, text, textOrNull, type LedgerDatabase, type Row } from './sqlite-ledger-rows.ts';

/** Ledger's methods on webhooks. */
export function webhookMethods({ sql, transaction }: LedgerDatabase) {
  const read = (tenant: string, webhookId: string): Webhook | null => {
    const row = sql('SELECT * FROM ledger_webhooks WHERE tenant = ? AND webhook_id = ?').get(tenant, webhookId);
    return row ? toWebhook(row) : null;
  };
  return {
    getWebhook: read,

    addWebhook(webhook: Webhook, limit: number): void {
      transaction(() => {
        if (read(webhook.tenant, webhook.webhookId)) return;
        const row = sql('SELECT count(*) AS n FROM ledger_webhooks WHERE tenant = ?').get(webhook.tenant);
        if (Number(row?.['n']) >= limit) throw new SightlineError('too_many_webhooks');
        sql(
          `INSERT INTO ledger_webhooks (webhook_id, tenant, url, description, events, secrets, disabled_because, created_at,
             updated_at, failing_since) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        ).run(
          webhook.webhookId,
          webhook.tenant,
          webhook.url,
          webhook.description,
          JSON.stringify(webhook.events),
          JSON.stringify(webhook.secrets),
          webhook.disabledBecause,
          webhook.createdAt,
          webhook.updatedAt,
          webhook.failingSince,
        );
      });
    },

    listWebhooks(tenant: string): Webhook[] {
      return sql('SELECT * FROM ledger_webhooks WHERE tenant = ? ORDER BY created_at DESC, webhook_id DESC')
        .all(tenant)
        .map(toWebhook);
    },

    changeWebhook(
      tenant: string,
      webhookId: string,
      change: Parameters<WebhookLedger['changeWebhook']>[2],
      at: number,
    ): Webhook | null {
      return transaction(() => {
        const before = read(tenant, webhookId);
        if (!before) return null;
        const {
          url = before.url,
          description = before.description,
          events = before.events,
          secrets = before.secrets,
          disabledBecause = before.disabledBecause,
        } = change;
        const isEnabling = change.disabledBecause === null;
        sql(
          `UPDATE ledger_webhooks SET url = ?2, description = ?3, events = ?4, secrets = ?5, disabled_because = ?6, updated_at = ?7,
             failing_since = ?8 WHERE webhook_id = ?1`,
        ).run(
          webhookId,
          url,
          description,
          JSON.stringify(events),
          JSON.stringify(secrets),
          disabledBecause,
          at,
          isEnabling ? null : before.failingSince,
        );
        if (isEnabling)
          sql(`UPDATE ledger_deliveries SET held = 0, due_at = ? WHERE webhook_id = ? AND status = 'pending'`).run(at, webhookId);
        else if (change.disabledBecause) holdDeliveries({ sql }, webhookId);
        return read(tenant, webhookId);
      });
    },

    deleteWebhook(tenant: string, webhookId: string): boolean {
      return transaction(() => {
        const { changes } = sql('DELETE FROM ledger_webhooks WHERE tenant = ? AND webhook_id = ?').run(tenant, webhookId);
        if (Number(changes) === 0) return false;
        sql(
          `UPDATE ledger_deliveries SET status = 'dropped', due_at = NULL, claim_token = NULL, claim_until = NULL
           WHERE webhook_id = ? AND status = 'pending'`,
        ).run(webhookId);
        return true;
      });
    },
  };
}

/** Those that are pending at a webhook wait until it is enabled again; inside the caller's transaction. */
export function holdDeliveries({ sql }: Pick<LedgerDatabase, 'sql'>, webhookId: string): void {
  sql(`UPDATE ledger_deliveries SET held = 1 WHERE webhook_id = ? AND status = 'pending' AND held = 0`).run(webhookId);
}

function toWebhook(row: Row): Webhook {
  return {
    webhookId: text(row['webhook_id']),
    tenant: text(row['tenant']),
    url: text(row['url']),
    description: text(row['description']),
    // Written by addWebhook and changeWebhook.
    events: JSON.parse(text(row['events'])) as WebhookEventType[],
    secrets: JSON.parse(text(row['secrets'])) as Webhook['secrets'],
    disabledBecause: textOrNull(row['disabled_because']) as Webhook['disabledBecause'],
    createdAt: Number(row['created_at']),
    updatedAt: Number(row['updated_at']),
    failingSince: numberOrNull(row['failing_since']),
  };
}
