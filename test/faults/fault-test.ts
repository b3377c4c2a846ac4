import { test } from '@jest/globals';
import { stackMissing } from '../harness/production-stack.ts';
import { SEED, seeded, type Seeded } from '@sightline/shared/testing/seeded';

/** Long: what is slow on a machine that does much else is no finding. */
export const FAULT_TIMEOUT_MS = 600_000;

/** A seeded test on a production stack; skipped by name where there can be none, or where `missing` says what else is lacking. */
export function faultTest(name: string, missing: string | null, work: (random: Seeded) => Promise<void>): void {
  const why = stackMissing ?? missing;
  const full = `${name} (seed ${SEED})${why ? ` (${why})` : ''}`;
  (why ? test.skip : test)(full, () => work(seeded(SEED)), FAULT_TIMEOUT_MS);
}
