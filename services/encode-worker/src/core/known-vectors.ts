import type { VectorIndex } from '@sightline/shared/ports/vector-index';

interface KnownVector {
  vector: Float32Array;
  widthPx: number;
  heightPx: number;
}

interface Asking {
  tenant: string;
  sha256: string;
  resolve: (known: KnownVector | undefined) => void;
  reject: (error: unknown) => void;
}

const MOST_AT_ONCE = 256;

/**
 * Looks contents up in the index by their hash, one question at a time: what is asked while one is under way is asked together
 * in the next. A question costs as much as it has hops, not as it has hashes, and a lone one waits for nothing.
 */
export class KnownVectors {
  readonly #index: Pick<VectorIndex, 'findImageVectors'>;
  #waiting: Asking[] = [];
  #isAsking = false;

  constructor(index: Pick<VectorIndex, 'findImageVectors'>) {
    this.#index = index;
  }

  /** The vector of these bytes, when the tenant's index holds it. Errors: those of the index. */
  find(tenant: string, sha256: string): Promise<KnownVector | undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ tenant, sha256, resolve, reject });
      void this.#ask();
    });
  }

  async #ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    for (let first = this.#waiting[0]; first; first = this.#waiting[0]) {
      const { tenant } = first;
      const together = this.#waiting.filter((asking) => asking.tenant === tenant).slice(0, MOST_AT_ONCE);
      this.#waiting = this.#waiting.filter((asking) => !together.includes(asking));
      try {
        const known = await this.#index.findImageVectors(tenant, [...new Set(together.map(({ sha256 }) => sha256))]);
        for (const { sha256, resolve } of together) resolve(known.get(sha256));
      } catch (error) {
        for (const { reject } of together) reject(error);
      }
    }
    this.#isAsking = false;
  }
}
