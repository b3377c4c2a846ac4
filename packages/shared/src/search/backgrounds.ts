import type { Space, VectorIndex } from '../ports/vector-index.ts';

const SAMPLE_SIZE = 256;
/** The background of a collection moves slowly, but a new one must not be judged by its first minute. */
const FRESH_MS = 30_000;
const MOST_TENANTS = 100;

/** Samples of the index's vectors, kept for a while: what margins are measured against. */
export class Backgrounds {
  readonly #index: VectorIndex;
  readonly #now: () => number;
  readonly #kept = new Map<string, { at: number; sample: Promise<Float32Array[]> }>();

  constructor(index: VectorIndex, now: () => number) {
    this.#index = index;
    this.#now = now;
  }

  async sample(tenant: string, space: Space): Promise<Float32Array[]> {
    const key = JSON.stringify([tenant, space]);
    const kept = this.#kept.get(key);
    if (kept && this.#now() - kept.at < FRESH_MS) return kept.sample;
    const sample = this.#index.sample(tenant, space, SAMPLE_SIZE);
    this.#kept.delete(key);
    this.#kept.set(key, { at: this.#now(), sample });
    const oldest = this.#kept.keys().next().value;
    if (this.#kept.size > MOST_TENANTS * 2 && oldest !== undefined) this.#kept.delete(oldest);
    sample.catch(() => this.#kept.delete(key));
    return sample;
  }
}
