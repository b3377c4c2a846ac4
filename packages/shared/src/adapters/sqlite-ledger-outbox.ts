import { deliveryId } from '../contracts/ids.ts';
import type { OutboxMessage } from '../ports/webhook-ledger.ts';
import { text, type LedgerDatabase } from './sqlite-ledger-rows.ts';

/** Of the ledger's file: a step of its format, with webhooks because deliveries are made of both. */
export const OUTBOX_LAYOUT = `
  CREATE TABLE ledger_webhooks (
    webhook_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, url TEXT NOT NULL, description TEXT NOT NULL, events TEXT NOT NULL,
    secrets TEXT NOT NULL, disabled_because TEXT, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, failing_since INTEGER,
    last_sequence INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX ledger_webhooks_by_tenant ON ledger_webhooks (tenant, created_at, webhook_id);
  CREATE TABLE ledger_messages (
    message_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, type TEXT NOT NULL, subject TEXT NOT NULL, at INTEGER NOT NULL,
    pending INTEGER NOT NULL, data TEXT NOT NULL, event TEXT
  ) STRICT;
  CREATE INDEX ledger_messages_by_tenant ON ledger_messages (tenant, at);
  CREATE INDEX ledger_messages_unpublished ON ledger_messages (at, message_id) WHERE event IS NOT NULL;
  CREATE INDEX ledger_messages_done ON ledger_messages (at) WHERE event IS NULL AND pending = 0;
  CREATE TABLE ledger_deliveries (
    delivery_id TEXT PRIMARY KEY, message_id TEXT NOT NULL REFERENCES ledger_messages ON DELETE CASCADE, tenant TEXT NOT NULL,
    webhook_id TEXT, url TEXT, secret TEXT, sequence INTEGER NOT NULL, status TEXT NOT NULL, held INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL, due_at INTEGER, claim_token TEXT, claim_until INTEGER, tries INTEGER NOT NULL DEFAULT 0,
    attempts TEXT NOT NULL DEFAULT '[]'
  ) STRICT;
  CREATE INDEX ledger_deliveries_by_message ON ledger_deliveries (message_id);
  CREATE INDEX ledger_deliveries_due ON ledger_deliveries (due_at, delivery_id) WHERE status = 'pending' AND held = 0;
  CREATE INDEX ledger_deliveries_settled ON ledger_deliveries (created_at) WHERE status <> 'pending';
  CREATE INDEX ledger_deliveries_of_webhook ON ledger_deliveries (webhook_id, created_at, sequence);
  CREATE INDEX ledger_deliveries_by_status ON ledger_deliveries (webhook_id, status, created_at, sequence);
  CREATE TRIGGER ledger_deliveries_settle AFTER UPDATE OF status ON ledger_deliveries WHEN old.status <> new.status
  BEGIN
    UPDATE ledger_messages SET pending = pending + (new.status = 'pending') - (old.status = 'pending')
    WHERE message_id = new.message_id;
  END;
`;

/** Ledger's methods on the outbox. */
export function outboxMethods(database: LedgerDatabase) {
  const { sql, transaction } = database;
  return {
    addMessages(messages: OutboxMessage[]): string[] {
      return transaction(() => messages.flatMap((message) => addMessage(database, message)));
    },

    unpublishedMessages(limit: number): { messageId: string; event: string }[] {
      return sql('SELECT message_id, event FROM ledger_messages WHERE event IS NOT NULL ORDER BY at, message_id LIMIT ?')
        .all(limit)
        .map((row) => ({ messageId: text(row['message_id']), event: text(row['event']) }));
    },

    settlePublished(messageIds: string[]): void {
      sql('UPDATE ledger_messages SET event = NULL WHERE message_id IN (SELECT value FROM json_each(?))').run(
        JSON.stringify(messageIds),
      );
    },

    pruneMessages({ before, limit }: { before: number; limit: number }): number {
      return transaction(() => {
        const { changes } = sql(
          `DELETE FROM ledger_messages WHERE rowid IN (
             SELECT rowid FROM ledger_messages WHERE event IS NULL AND pending = 0 AND at < ? ORDER BY at LIMIT ?)`,
        ).run(before, limit);
        // Those of messages that are owed elsewhere.
        sql(
          `DELETE FROM ledger_deliveries WHERE rowid IN (
             SELECT rowid FROM ledger_deliveries WHERE status <> 'pending' AND created_at < ? ORDER BY created_at LIMIT ?)`,
        ).run(before, limit);
        return Number(changes);
      });
    },
  };
}

/** Puts a message into the outbox with its deliveries, inside the caller's transaction. Answers the new deliveries' ids. */
export function addMessage({ sql }: LedgerDatabase, message: OutboxMessage): string[] {
  const { messageId, tenant, type, subject, at, data, event } = message;
  const addresses = addressesOf({ sql }, message);
  const { changes } = sql(
    `INSERT INTO ledger_messages (message_id, tenant, type, subject, at, pending, data, event) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT DO NOTHING`,
  ).run(messageId, tenant, type, subject, at, addresses.length, data, event);
  if (Number(changes) === 0) return [];
  return addresses.map(({ webhookId, url, secret, isHeld }) => {
    const id = deliveryId(messageId, webhookId);
    const sequence = webhookId === null ? 1 : nextSequence({ sql }, webhookId);
    sql(
      `INSERT INTO ledger_deliveries
         (delivery_id, message_id, tenant, webhook_id, url, secret, sequence, status, held, created_at, due_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?, ?)`,
    ).run(id, messageId, tenant, webhookId, url, secret, sequence, isHeld ? 1 : 0, at, at);
    return id;
  });
}

/** What is told of a tenant and to whom, inside the caller's transaction. */
export function dropOutboxOf({ sql }: LedgerDatabase, tenant: string, upTo: number): void {
  sql('DELETE FROM ledger_messages WHERE tenant = ? AND at <= ?').run(tenant, upTo);
  sql(
    `UPDATE ledger_deliveries SET status = 'dropped', due_at = NULL, claim_token = NULL, claim_until = NULL
     WHERE status = 'pending' AND webhook_id IN (SELECT webhook_id FROM ledger_webhooks WHERE tenant = ? AND created_at <= ?)`,
  ).run(tenant, upTo);
  sql('DELETE FROM ledger_webhooks WHERE tenant = ? AND created_at <= ?').run(tenant, upTo);
}

type Sql = Pick<LedgerDatabase, 'sql'>;

interface Address {
  webhookId: string | null;
  url: string | null;
  secret: string | null;
  isHeld: boolean;
}

function addressesOf({ sql }: Sql, { tenant, type, to }: OutboxMessage): Address[] {
  if (to && 'url' in to) return [{ webhookId: null, ...to, isHeld: false }];
  const rows = to
    ? sql('SELECT webhook_id, disabled_because FROM ledger_webhooks WHERE tenant = ? AND webhook_id = ?').all(
        tenant,
        to.webhookId,
      )
    : sql(
        `SELECT webhook_id, disabled_because FROM ledger_webhooks WHERE tenant = ? AND disabled_because IS NULL
           AND EXISTS (SELECT 1 FROM json_each(events) WHERE value = ?) ORDER BY created_at, webhook_id`,
      ).all(tenant, type);
  return rows.map((row) => ({
    webhookId: text(row['webhook_id']),
    url: null,
    secret: null,
    isHeld: row['disabled_because'] !== null,
  }));
}

function nextSequence({ sql }: Sql, webhookId: string): number {
  const row = sql(
    'UPDATE ledger_webhooks SET last_sequence = last_sequence + 1 WHERE webhook_id = ? RETURNING last_sequence',
  ).get(webhookId);
  return Number(row?.['last_sequence']);
}
