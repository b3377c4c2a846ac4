import { z } from 'zod';
import type { Scope } from '../ports/ledger.ts';

/** What a key may be used for. `admin` implies the others, all within the key's tenant. */
export const SCOPES = ['read', 'ingest', 'ask', 'admin'] as const satisfies readonly Scope[];
export const scope = z.enum(SCOPES);

/** A tenant's name stands in object keys and lock names, so it has neither slash nor colon. */
export const tenantName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_-]{0,39}$/, 'a tenant name: lower-case letters, digits, _ and -, at most 40');

export const keyId = z.string().regex(/^[0-9a-z]{13}$/, 'an id of a key: 13 lower-case letters and digits');
export const keyName = z.string().trim().min(1).max(100);

/** `sl_<key id>_<256 random bits in base 62>`: a pattern that secret scanners can look for. */
const SECRET = /^sl_[0-9a-z]{13}_[0-9A-Za-z]{43}$/;
const BASE_62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const ID_BYTES = 8;
const SECRET_BYTES = 32;

/** A new key's id and secret. `randomBytes` is a cryptographic source. */
export function mintSecret(randomBytes: (count: number) => Uint8Array): { keyId: string; secret: string } {
  const id = numberOf(randomBytes(ID_BYTES)).toString(36).padStart(13, '0');
  return { keyId: id, secret: `sl_${id}_${toBase62(numberOf(randomBytes(SECRET_BYTES)))}` };
}

/** Whether it has the form of a secret; nothing else is looked up. */
export function isSecret(text: string): boolean {
  return SECRET.test(text);
}

function numberOf(bytes: Uint8Array): bigint {
  return bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

function toBase62(value: bigint): string {
  let text = '';
  for (let rest = value; rest > 0n; rest /= 62n) text = (BASE_62[Number(rest % 62n)] ?? '') + text;
  return text.padStart(43, '0');
}
