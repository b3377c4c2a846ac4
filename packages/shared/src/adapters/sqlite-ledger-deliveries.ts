import { listCursor, listPlace } from '../contracts/list-cursor.ts';
import type { WebhookEventType } from '../contracts/webhooks.ts';
import type { Delivery, DeliveryAttempt, TakenDelivery, Webhook, WebhookLedger } from '../ports/webhook-ledger.ts';
import { numberOrNull, text, textOrNull, type LedgerDatabase, type Row } from './sqlite-ledger-rows.ts';
import { holdDeliveries } from './sqlite-ledger-webhooks.ts';

const KEPT_ATTEMPTS = 20;

const DELIVERY = 'SELECT d.*, m.type, m.subject FROM ledger_deliveries d JOIN ledger_messages m USING (message_id)';

/** Ledger's methods on deliveries. */
export function deliveryMethods({ sql, transaction }: LedgerDatabase) {
  const replayable = (
    tenant: string,
    webhookId: string,
    which: Parameters<WebhookLedger['replayDeliveries']>[2],
  ): { rowid: number; deliveryId: string }[] => {
    const rows =
      'deliveryId' in which
        ? sql(
            `SELECT rowid, delivery_id FROM ledger_deliveries
             WHERE delivery_id = ? AND tenant = ? AND webhook_id = ? AND status <> 'pending'`,
          ).all(which.deliveryId, tenant, webhookId)
        : sql(
            `SELECT rowid, delivery_id FROM ledger_deliveries WHERE webhook_id = ?1 AND tenant = ?2
               AND status IN (SELECT value FROM json_each(?3)) AND created_at BETWEEN ?4 AND ?5
             ORDER BY created_at, sequence LIMIT ?6`,
          ).all(
            webhookId,
            tenant,
            JSON.stringify(which.statuses.filter((status) => status !== 'pending')),
            which.since,
            which.until,
            which.limit,
          );
    return rows.map((row) => ({ rowid: Number(row['rowid']), deliveryId: text(row['delivery_id']) }));
  };

  return {
    takeDelivery(
      deliveryId: string,
      { token, claimMs, at }: { token: string; claimMs: number; at: number },
    ): TakenDelivery | null {
      return transaction(() => {
        const { changes } = sql(
          `UPDATE ledger_deliveries SET claim_token = ?2, claim_until = ?3 WHERE delivery_id = ?1 AND status = 'pending' AND held = 0
             AND due_at <= ?4 AND (claim_until IS NULL OR claim_until <= ?4 OR claim_token = ?2)`,
        ).run(deliveryId, token, at + claimMs, at);
        if (Number(changes) === 0) return null;
        const row = sql(
          `SELECT d.*, m.type, m.subject, m.at, m.data, coalesce(d.url, w.url) AS to_url, w.secrets
           FROM ledger_deliveries d JOIN ledger_messages m USING (message_id) LEFT JOIN ledger_webhooks w USING (webhook_id)
           WHERE delivery_id = ?`,
        ).get(deliveryId);
        return row ? toTaken(row, at) : null;
      });
    },

    giveBackDelivery(deliveryId: string, token: string): void {
      sql(
        `UPDATE ledger_deliveries SET claim_token = NULL, claim_until = NULL
         WHERE delivery_id = ? AND claim_token = ? AND status = 'pending'`,
      ).run(deliveryId, token);
    },

    settleDelivery(
      deliveryId: string,
      token: string,
      { attempt, outcome, disable }: Parameters<WebhookLedger['settleDelivery']>[2],
    ): boolean {
      return transaction(() => {
        const row = sql(
          `SELECT webhook_id, attempts FROM ledger_deliveries WHERE delivery_id = ? AND status = 'pending' AND claim_token = ?`,
        ).get(deliveryId, token);
        if (!row) return false;
        const attempts = [...(JSON.parse(text(row['attempts'])) as DeliveryAttempt[]), attempt].slice(-KEPT_ATTEMPTS);
        sql(
          `UPDATE ledger_deliveries SET status = ?2, due_at = ?3, attempts = ?4, tries = tries + 1, claim_token = NULL,
             claim_until = NULL WHERE delivery_id = ?1`,
        ).run(deliveryId, outcome.status, outcome.status === 'pending' ? outcome.nextAttemptAt : null, JSON.stringify(attempts));
        const webhookId = textOrNull(row['webhook_id']);
        if (webhookId === null) return true;
        sql('UPDATE ledger_webhooks SET failing_since = iif(?2, NULL, coalesce(failing_since, ?3)) WHERE webhook_id = ?1').run(
          webhookId,
          outcome.status === 'delivered' ? 1 : 0,
          attempt.at,
        );
        if (disable) {
          sql(
            'UPDATE ledger_webhooks SET disabled_because = ?2, updated_at = ?3 WHERE webhook_id = ?1 AND disabled_because IS NULL',
          ).run(webhookId, disable, attempt.at);
          holdDeliveries({ sql }, webhookId);
        }
        return true;
      });
    },

    dueDeliveries({ at, limit }: { at: number; limit: number }): { tenant: string; deliveryId: string }[] {
      return sql(
        `SELECT tenant, delivery_id FROM ledger_deliveries WHERE status = 'pending' AND held = 0 AND due_at <= ?1
           AND (claim_until IS NULL OR claim_until <= ?1) ORDER BY due_at, delivery_id LIMIT ?2`,
      )
        .all(at, limit)
        .map((row) => ({ tenant: text(row['tenant']), deliveryId: text(row['delivery_id']) }));
    },

    deliveryBacklog(at: number): { pending: number; oldestDueAt: number | null } {
      const row = sql(
        `SELECT count(*) AS pending, min(due_at) FILTER (WHERE due_at <= ?) AS oldest FROM ledger_deliveries
         WHERE status = 'pending' AND held = 0`,
      ).get(at);
      return { pending: Number(row?.['pending']), oldestDueAt: numberOrNull(row?.['oldest'] ?? null) };
    },

    listDeliveries(
      tenant: string,
      webhookId: string,
      { status, after, limit }: Parameters<WebhookLedger['listDeliveries']>[2],
    ): { deliveries: Delivery[]; nextCursor: string | null } {
      const place = after === undefined ? { at: Number.MAX_SAFE_INTEGER, id: '0' } : listPlace(after);
      const rows = sql(
        `${DELIVERY} WHERE d.tenant = ?1 AND d.webhook_id = ?2 AND ${status ? 'd.status = ?6' : '?6 IS NULL'}
           AND (d.created_at, d.sequence) < (?3, ?4) ORDER BY d.created_at DESC, d.sequence DESC LIMIT ?5`,
      ).all(tenant, webhookId, place.at, Number(place.id), limit + 1, status ?? null);
      const deliveries = rows.slice(0, limit).map(toDelivery);
      const last = deliveries.at(-1);
      const nextCursor = rows.length > limit && last ? listCursor({ at: last.createdAt, id: String(last.sequence) }) : null;
      return { deliveries, nextCursor };
    },

    replayDeliveries(
      tenant: string,
      webhookId: string,
      which: Parameters<WebhookLedger['replayDeliveries']>[2],
      at: number,
    ): string[] {
      return transaction(() => {
        const webhook = sql('SELECT disabled_because FROM ledger_webhooks WHERE tenant = ? AND webhook_id = ?').get(
          tenant,
          webhookId,
        );
        if (!webhook) return [];
        const chosen = replayable(tenant, webhookId, which);
        for (const { rowid } of chosen) {
          sql(`UPDATE ledger_deliveries SET status = 'pending', due_at = ?2, tries = 0, held = ?3 WHERE rowid = ?1`).run(
            rowid,
            at,
            webhook['disabled_because'] === null ? 0 : 1,
          );
        }
        return chosen.map(({ deliveryId }) => deliveryId);
      });
    },
  };
}

function toTaken(row: Row, at: number): TakenDelivery {
  const delivery = toDelivery(row);
  const own = textOrNull(row['secret']);
  const secrets = own === null ? secretsAt(JSON.parse(text(row['secrets'])) as Webhook['secrets'], at) : [own];
  return {
    delivery,
    message: { messageId: delivery.messageId, type: delivery.type, at: Number(row['at']), data: text(row['data']) },
    to: { url: text(row['to_url']), secrets },
  };
}

function secretsAt(secrets: Webhook['secrets'], at: number): string[] {
  return secrets.filter(({ expiresAt }) => expiresAt === null || expiresAt > at).map(({ secret }) => secret);
}

function toDelivery(row: Row): Delivery {
  return {
    deliveryId: text(row['delivery_id']),
    messageId: text(row['message_id']),
    tenant: text(row['tenant']),
    type: text(row['type']) as WebhookEventType,
    subject: text(row['subject']),
    webhookId: textOrNull(row['webhook_id']),
    sequence: Number(row['sequence']),
    status: text(row['status']) as Delivery['status'],
    createdAt: Number(row['created_at']),
    nextAttemptAt: numberOrNull(row['due_at']),
    // Written by settleDelivery.
    attempts: JSON.parse(text(row['attempts'])) as DeliveryAttempt[],
    tries: Number(row['tries']),
  };
}
