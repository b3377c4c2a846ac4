import { mulberry32 } from '../src/runtime/mulberry32.ts';

/** Uniform numbers from a seed: a fault test does the same to the stack each time it runs with the same seed. */
export interface Seeded {
  /** From [0, 1). */
  next(): number;
  /** A whole number from `min` to `max`, both among them. */
  whole(min: number, max: number): number;
  pick<T>(of: readonly T[]): T;
  shuffled<T>(of: readonly T[]): T[];
}

export function seeded(seed: number): Seeded {
  const next = mulberry32(seed);
  const whole = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1));
  return {
    next,
    whole,
    pick: (of) => {
      const picked = of[whole(0, of.length - 1)];
      if (picked === undefined) throw new Error('there is nothing to pick from');
      return picked;
    },
    shuffled: (of) => {
      const all = [...of];
      for (let i = all.length - 1; i > 0; i--) {
        const j = whole(0, i);
        const [a, b] = [all[i], all[j]];
        if (a !== undefined && b !== undefined) [all[i], all[j]] = [b, a];
      }
      return all;
    },
  };
}

/** The seed of this run: `npm run soak` gives others. */
export const SEED = Number(process.env['FAULT_SEED'] ?? 1);
