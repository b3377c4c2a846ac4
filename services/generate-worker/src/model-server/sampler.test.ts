import { expect, test } from '@jest/globals';
import { chancesOf, Sampler } from './sampler.ts';

const logits = Float32Array.of(1, 3, 2, 3, -5);
const drawn = (rule: { temperature: number; topP: number; seed: number }, times: number) => {
  const sampler = new Sampler(rule);
  return Array.from({ length: times }, () => sampler.pick(logits));
};

test('without temperature the likeliest is picked, of equal ones the first', () => {
  expect(drawn({ temperature: 0, topP: 1, seed: 1 }, 3)).toEqual([1, 1, 1]);
});

test('with temperature each token comes about as often as its share, the same for the same seed', () => {
  const times = 20_000;
  const ids = drawn({ temperature: 1, topP: 1, seed: 7 }, times);
  const sum = logits.reduce((all, logit) => all + Math.exp(logit), 0);
  for (const [id, logit] of logits.entries()) {
    const share = Math.exp(logit) / sum;
    const spread = Math.sqrt((share * (1 - share)) / times);
    expect(Math.abs(ids.filter((one) => one === id).length / times - share)).toBeLessThan(5 * spread + 1e-9);
  }
  expect(drawn({ temperature: 1, topP: 1, seed: 7 }, 50)).toEqual(ids.slice(0, 50));
  expect(drawn({ temperature: 1, topP: 1, seed: 8 }, 50)).not.toEqual(ids.slice(0, 50));
});

test('top_p keeps the fewest of the likeliest that come to it', () => {
  // Shares: 0.397 each for 1 and 3, 0.146 for 2, 0.054 for 0.
  expect(new Set(drawn({ temperature: 1, topP: 0.39, seed: 1 }, 500))).toEqual(new Set([1]));
  expect(new Set(drawn({ temperature: 1, topP: 0.75, seed: 1 }, 500))).toEqual(new Set([1, 3]));
  expect(new Set(drawn({ temperature: 1, topP: 0.9, seed: 1 }, 500))).toEqual(new Set([1, 2, 3]));
});

test('log-probabilities are those of all tokens, the likeliest first', () => {
  const { own, top } = chancesOf(logits, 2, 3);
  const sum = logits.reduce((all, logit) => all + Math.exp(logit), 0);
  expect(own.id).toBe(2);
  expect(own.logprob).toBeCloseTo(2 - Math.log(sum), 6);
  expect(top.map(({ id }) => id)).toEqual([1, 3, 2]);
  expect(chancesOf(logits, 2, 0).top).toEqual([]);
});
