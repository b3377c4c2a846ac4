import { mulberry32 } from '@sightline/shared/runtime/mulberry32';

export interface SamplingRule {
  /** 0: always the likeliest. */
  temperature: number;
  /** Of the likeliest tokens, the fewest that come to this share. */
  topP: number;
  /** The same seed, prompt and rule give the same answer. */
  seed: number;
}

/** Picks tokens by their logits. */
export class Sampler {
  readonly #rule: SamplingRule;
  readonly #random: () => number;

  constructor(rule: SamplingRule) {
    this.#rule = rule;
    this.#random = mulberry32(rule.seed);
  }

  pick(logits: Float32Array): number {
    const { temperature, topP } = this.#rule;
    if (temperature === 0) return likeliest(logits);
    const shares = softmax(logits, temperature);
    // What is left out here comes to less than 1 - top_p all together, so that the nucleus lies in the rest.
    const least = (1 - topP) / shares.length;
    const kept: number[] = [];
    for (let id = 0; id < shares.length; id++) if ((shares[id] ?? 0) >= least) kept.push(id);
    kept.sort((a, b) => (shares[b] ?? 0) - (shares[a] ?? 0) || a - b);
    let [sum, size] = [0, 0];
    while (size < kept.length && (sum < topP || size === 0)) sum += shares[kept[size++] ?? 0] ?? 0;
    let place = this.#random() * sum;
    for (const id of kept.slice(0, size)) {
      place -= shares[id] ?? 0;
      if (place < 0) return id;
    }
    return kept[size - 1] ?? likeliest(logits);
  }
}

/** Of equal ones the first, as torch's argmax. */
function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if ((logits[id] ?? 0) > (logits[best] ?? 0)) best = id;
  return best;
}

function softmax(logits: Float32Array, temperature: number): Float64Array {
  const most = logits[likeliest(logits)] ?? 0;
  const shares = Float64Array.from(logits, (logit) => Math.exp((logit - most) / temperature));
  const sum = shares.reduce((all, share) => all + share, 0);
  return shares.map((share) => share / sum);
}

export interface TokenChance {
  id: number;
  logprob: number;
}

/** Log-probabilities of one token and of the `top` likeliest, before temperature and top_p. */
export function chancesOf(logits: Float32Array, id: number, top: number): { own: TokenChance; top: TokenChance[] } {
  const most = logits[likeliest(logits)] ?? 0;
  const sum = logits.reduce((all, logit) => all + Math.exp(logit - most), 0);
  const chance = (one: number): TokenChance => ({ id: one, logprob: (logits[one] ?? 0) - most - Math.log(sum) });
  const best: number[] = [];
  for (let one = 0; one < logits.length && top > 0; one++) {
    if (best.length === top && (logits[one] ?? 0) <= (logits[best[top - 1] ?? 0] ?? 0)) continue;
    let at = best.length;
    while (at > 0 && (logits[best[at - 1] ?? 0] ?? 0) < (logits[one] ?? 0)) at--;
    best.splice(at, 0, one);
    best.length = Math.min(best.length, top);
  }
  return { own: chance(id), top: best.map(chance) };
}
