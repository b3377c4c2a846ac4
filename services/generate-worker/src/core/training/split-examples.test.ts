import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { splitExamples } from './split-examples.ts';

test('what shares an item or a picture, also over others, is on one side, and the same once more', () => {
  const keys = fc.array(
    fc.integer({ min: 0, max: 60 }).map((n) => `item:${n}`),
    { minLength: 1, maxLength: 3 },
  );
  fc.assert(
    fc.property(fc.array(keys, { maxLength: 40 }), fc.double({ min: 0, max: 1, noNaN: true }), (all, share) => {
      const examples = new Map(all.map((of, i) => [`q${i}`, of]));
      const testing = splitExamples(examples, share);
      for (const [a, of] of examples)
        for (const [b, others] of examples)
          if (of.some((key) => others.includes(key))) expect(testing.has(a)).toBe(testing.has(b));
      const backwards = new Map([...examples].reverse().map(([id, of]) => [id, [...of].reverse()]));
      expect(splitExamples(backwards, share)).toEqual(testing);
    }),
    { numRuns: 300 },
  );
});

test('about the wanted share is for testing, and what was stays when more comes', () => {
  const of = (count: number) => new Map(Array.from({ length: count }, (_, i) => [`q${i}`, [`item:${i}`]]));
  const some = splitExamples(of(2_000), 0.1);
  expect(some.size).toBeGreaterThan(150);
  expect(some.size).toBeLessThan(250);
  const more = splitExamples(of(4_000), 0.1);
  expect([...more].filter((id) => of(2_000).has(id))).toEqual([...some]);
  expect(splitExamples(of(50), 0).size).toBe(0);
});
