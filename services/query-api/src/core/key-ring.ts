import type { ApiKey, Ledger } from '@sightline/shared/ports/ledger';
import { hashOfSecret, isInForce } from './api-keys.ts';

/** How long a revoked key may still be answered by a process that knew it. */
export const KEY_FRESH_MS = 3_000;
const MOST_KEPT = 10_000;
const USED_EVERY_MS = 60_000;

export interface KeyRingDeps {
  ledger: Pick<Ledger, 'findApiKey' | 'updateApiKey'>;
  /** Unix milliseconds. */
  now: () => number;
  warn: (error: unknown, message: string) => void;
}

/** The keys that were asked for lately, so that a request costs no look into the ledger, for as long as a revocation may take. */
export class KeyRing {
  readonly #deps: KeyRingDeps;
  readonly #kept = new Map<string, { at: number; found: Promise<ApiKey | null>; isKnown: boolean }>();
  readonly #used = new Map<string, number>();

  constructor(deps: KeyRingDeps) {
    this.#deps = deps;
  }

  /** The key of a secret, while it is in force; null for every other reason alike. Error: `ledger_unavailable`. */
  async find(secret: string): Promise<ApiKey | null> {
    const hash = hashOfSecret(secret);
    const now = this.#deps.now();
    let kept = this.#kept.get(hash);
    if (!kept || now - kept.at >= KEY_FRESH_MS) {
      const found = this.#deps.ledger.findApiKey(hash);
      const looked = { at: now, found, isKnown: kept?.isKnown ?? false };
      kept = looked;
      found.then(
        (key) => (looked.isKnown = key !== null),
        () => this.#kept.delete(hash),
      );
      this.#kept.delete(hash);
      this.#kept.set(hash, looked);
      bound(this.#kept);
    }
    const key = await kept.found;
    if (!key || !isInForce(key, now)) return null;
    this.#noteUse(key, now);
    return key;
  }

  /** Whether this secret was a key's when it was last looked up. */
  knows(secret: string): boolean {
    return this.#kept.get(hashOfSecret(secret))?.isKnown ?? false;
  }

  /** Whether a key that was let in before would still be. */
  async isStill(secret: string): Promise<boolean> {
    return (await this.find(secret)) !== null;
  }

  /** What this process itself changed is looked up anew at once. */
  forget(): void {
    this.#kept.clear();
  }

  /** Once a minute a key, and behind the answer: who asks does not wait for it. */
  #noteUse({ keyId, lastUsedAt }: ApiKey, now: number): void {
    if (now - (this.#used.get(keyId) ?? lastUsedAt ?? 0) < USED_EVERY_MS) return;
    this.#used.delete(keyId);
    this.#used.set(keyId, now);
    bound(this.#used);
    this.#deps.ledger
      .updateApiKey(keyId, { lastUsedAt: now })
      .catch((error: unknown) => this.#deps.warn(error, "a key's last use was not written"));
  }
}

function bound(map: Map<string, unknown>): void {
  const oldest = map.keys().next().value;
  if (map.size > MOST_KEPT && oldest !== undefined) map.delete(oldest);
}
