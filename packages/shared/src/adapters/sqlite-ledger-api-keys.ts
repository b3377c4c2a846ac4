import type { ApiKey, Ledger, Scope } from '../ports/ledger.ts';
import { SightlineError } from '../runtime/errors.ts';
import { numberOrNull, text, type LedgerDatabase, type Row } from './sqlite-ledger-rows.ts';

/** Ledger's methods on API keys. */
export function apiKeyMethods({ sql }: LedgerDatabase) {
  return {
    addApiKey(key: ApiKey): void {
      const { changes } = sql(
        `INSERT INTO ledger_api_keys
           (key_id, tenant, name, secret_hash, scopes, created_at, expires_at, revoked_at, last_used_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
      ).run(
        key.keyId,
        key.tenant,
        key.name,
        key.secretHash,
        JSON.stringify(key.scopes),
        key.createdAt,
        key.expiresAt,
        key.revokedAt,
        key.lastUsedAt,
      );
      if (Number(changes) === 0) throw new SightlineError('api_key_exists');
    },

    findApiKey(secretHash: string): ApiKey | null {
      const row = sql('SELECT * FROM ledger_api_keys WHERE secret_hash = ?').get(secretHash);
      return row ? toApiKey(row) : null;
    },

    listApiKeys(tenant: string | null): ApiKey[] {
      return sql('SELECT * FROM ledger_api_keys WHERE ?1 IS NULL OR tenant = ?1 ORDER BY created_at DESC, key_id DESC')
        .all(tenant)
        .map(toApiKey);
    },

    updateApiKey(keyId: string, change: Parameters<Ledger['updateApiKey']>[1]): ApiKey | null {
      const row = sql(
        `UPDATE ledger_api_keys SET revoked_at = coalesce(?2, revoked_at), expires_at = coalesce(?3, expires_at),
           last_used_at = coalesce(?4, last_used_at) WHERE key_id = ?1 RETURNING *`,
      ).get(keyId, change.revokedAt ?? null, change.expiresAt ?? null, change.lastUsedAt ?? null);
      return row ? toApiKey(row) : null;
    },
  };
}

function toApiKey(row: Row): ApiKey {
  return {
    keyId: text(row['key_id']),
    tenant: text(row['tenant']),
    name: text(row['name']),
    secretHash: text(row['secret_hash']),
    // Written by addApiKey.
    scopes: JSON.parse(text(row['scopes'])) as Scope[],
    createdAt: Number(row['created_at']),
    expiresAt: numberOrNull(row['expires_at']),
    revokedAt: numberOrNull(row['revoked_at']),
    lastUsedAt: numberOrNull(row['last_used_at']),
  };
}
