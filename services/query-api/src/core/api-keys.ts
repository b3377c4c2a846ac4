import { createHash } from 'node:crypto';
import { mintSecret } from '@sightline/shared/contracts/api-key';
import type { ApiKeyView } from '@sightline/shared/contracts/http';
import type { ApiKey, Ledger, Scope } from '@sightline/shared/ports/ledger';
import { SightlineError } from '@sightline/shared/runtime/errors';

export interface ApiKeyDeps {
  ledger: Pick<Ledger, 'addApiKey' | 'listApiKeys' | 'updateApiKey' | 'getSetting' | 'putSetting'>;
  /** Unix milliseconds. */
  now: () => number;
  /** A cryptographic source. */
  randomBytes: (count: number) => Uint8Array;
}

/** A key with its secret, which is nowhere else: whoever is told it keeps it. */
export interface IssuedKey {
  key: ApiKey;
  secret: string;
}

export async function createApiKey(
  deps: ApiKeyDeps,
  wanted: { tenant: string; name: string; scopes: Scope[]; expiresAt: number | null },
): Promise<IssuedKey> {
  const { keyId, secret } = mintSecret(deps.randomBytes);
  const key: ApiKey = {
    ...wanted,
    scopes: [...new Set(wanted.scopes)],
    keyId,
    secretHash: hashOfSecret(secret),
    createdAt: deps.now(),
    revokedAt: null,
    lastUsedAt: null,
  };
  await deps.ledger.addApiKey(key);
  return { key, secret };
}

/** `tenant` null looks over all. Revoking twice keeps the first time. Error: `api_key_not_found`. */
export async function revokeApiKey(deps: ApiKeyDeps, tenant: string | null, keyId: string): Promise<ApiKey> {
  const key = await known(deps, tenant, keyId);
  if (key.revokedAt !== null) return key;
  return changed(await deps.ledger.updateApiKey(keyId, { revokedAt: deps.now() }));
}

/**
 * A new key in place of one: same tenant, name and scopes, valid for as long as the old one was made for, also when the old one is
 * in the overlap of an earlier rotation. The old one ends after `overlapMs`, or earlier when it would have. Errors: `api_key_not_found`, `request_invalid` for a key that has ended.
 */
export async function rotateApiKey(
  deps: ApiKeyDeps,
  tenant: string | null,
  { keyId, overlapMs }: { keyId: string; overlapMs: number },
): Promise<IssuedKey & { replaced: ApiKey }> {
  const old = await known(deps, tenant, keyId);
  const now = deps.now();
  if (!isInForce(old, now)) throw new SightlineError('request_invalid', 'The key has ended: create a new one.');
  const madeUntil = await readMadeUntil(deps, old);
  const expiresAt = madeUntil === null ? null : now + (madeUntil - old.createdAt);
  const issued = await createApiKey(deps, { tenant: old.tenant, name: old.name, scopes: old.scopes, expiresAt });
  // Before its end is moved, which hides this.
  await deps.ledger.putSetting(madeUntilSetting(keyId), String(madeUntil));
  const endsAt = Math.min(old.expiresAt ?? Infinity, now + overlapMs);
  return { ...issued, replaced: changed(await deps.ledger.updateApiKey(keyId, { expiresAt: endsAt })) };
}

/** The ledger's setting that keeps until when a key that was rotated had been made: Unix milliseconds, or `null`. */
export function madeUntilSetting(keyId: string): string {
  return `api-key-made-until:${keyId}`;
}

async function readMadeUntil({ ledger }: ApiKeyDeps, { keyId, expiresAt }: ApiKey): Promise<number | null> {
  const kept = await ledger.getSetting(madeUntilSetting(keyId));
  if (kept === null) return expiresAt;
  return kept === 'null' ? null : Number(kept);
}

/** Neither revoked nor past its time. */
export function isInForce({ revokedAt, expiresAt }: ApiKey, now: number): boolean {
  return revokedAt === null && (expiresAt === null || now < expiresAt);
}

/** What is stored in place of a secret. Found by equality: no timing of a comparison tells anything of the secret behind a hash. */
export function hashOfSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

/** A key as it is told: without its hash. */
export function viewOfApiKey(key: ApiKey): ApiKeyView {
  const timeOf = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
  return {
    key_id: key.keyId,
    tenant: key.tenant,
    name: key.name,
    scopes: key.scopes,
    created_at: new Date(key.createdAt).toISOString(),
    expires_at: timeOf(key.expiresAt),
    revoked_at: timeOf(key.revokedAt),
    last_used_at: timeOf(key.lastUsedAt),
  };
}

/** Another tenant's key is as unknown as one that never was. */
async function known(deps: ApiKeyDeps, tenant: string | null, keyId: string): Promise<ApiKey> {
  const key = (await deps.ledger.listApiKeys(tenant)).find((one) => one.keyId === keyId);
  if (!key) throw new SightlineError('api_key_not_found');
  return key;
}

function changed(key: ApiKey | null): ApiKey {
  if (!key) throw new SightlineError('api_key_not_found');
  return key;
}
