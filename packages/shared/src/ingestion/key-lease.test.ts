import { expect, test } from '@jest/globals';
import { setTimeout as sleepFor } from 'node:timers/promises';
import type { KeyLease } from '../ports/ledger.ts';
import { withLeasedKeys } from './key-lease.ts';

async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  await sleepFor(Math.min(ms, 5), undefined, { signal });
}

/** Leases in memory: the ledger's contract is proved elsewhere. */
function rig() {
  const held = new Map<string, string>();
  let version = 0;
  const calls = { renewed: 0 };
  let renewal: boolean | Error = true;
  const ledger = {
    leaseKeys: async (keys: string[]): Promise<KeyLease> => {
      const token = `token-${++version}`;
      const granted = keys.filter((key) => !held.has(key));
      for (const key of granted) held.set(key, token);
      return { token, version, granted, busy: keys.filter((key) => !granted.includes(key)) };
    },
    renewKeys: async (): Promise<boolean> => {
      calls.renewed += 1;
      if (renewal instanceof Error) throw renewal;
      return renewal;
    },
    releaseKeys: async (token: string): Promise<void> => {
      for (const [key, holder] of held) if (holder === token) held.delete(key);
    },
  };
  return { deps: { ledger, sleep }, held, calls, renew: (answer: boolean | Error) => (renewal = answer) };
}

test('two holders of overlapping keys take what is free, wait for nobody, and never hold a key together', async () => {
  const { deps, held } = rig();
  const working = new Set<string>();
  const turns: string[][] = [];
  const work = async (granted: ReadonlySet<string>): Promise<void> => {
    for (const key of granted) {
      expect(working.has(key)).toBe(false);
      working.add(key);
    }
    await sleepFor(3);
    for (const key of granted) working.delete(key);
    turns.push([...granted].toSorted());
  };
  await Promise.all([
    withLeasedKeys(deps, ['a', 'b', 'c'], { ttlMs: 1_000 }, work),
    withLeasedKeys(deps, ['c', 'b', 'd'], { ttlMs: 1_000 }, work),
  ]);
  expect(turns.flat().toSorted()).toEqual(['a', 'b', 'b', 'c', 'c', 'd']);
  // The second did not wait for b and c to do d.
  expect(turns).toContainEqual(['d']);
  expect(held.size).toBe(0);
});

test('keys are released when the work throws, and nothing is leased for no keys', async () => {
  const { deps, held } = rig();
  const failing = withLeasedKeys(deps, ['a'], { ttlMs: 1_000 }, async () => {
    throw new Error('work');
  });
  await expect(failing).rejects.toThrow('work');
  expect(held.size).toBe(0);
  await withLeasedKeys(deps, [], { ttlMs: 1_000 }, async () => {
    throw new Error('no work');
  });
});

test('long work is renewed; once another may hold the keys it must not write', async () => {
  const { deps, calls, renew } = rig();
  await withLeasedKeys(deps, ['a'], { ttlMs: 600 }, async (_, lease) => {
    const endsAt = performance.now() + 900;
    while (performance.now() < endsAt || calls.renewed < 2) await sleepFor(20);
    lease.assertHeld();
  });
  renew(false);
  const stalled = withLeasedKeys(deps, ['a'], { ttlMs: 10_000 }, async (_, lease) => {
    await sleepFor(30);
    lease.assertHeld();
  });
  await expect(stalled).rejects.toMatchObject({ code: 'lease_lost', retryable: true });
});

test('a ledger that is away for a while loses no lease before its time', async () => {
  const { deps, renew } = rig();
  renew(new Error('away'));
  await withLeasedKeys(deps, ['a'], { ttlMs: 10_000 }, async (_, lease) => {
    await sleepFor(20);
    lease.assertHeld();
  });
});

test('waiting for keys ends with the signal', async () => {
  const { deps, held } = rig();
  held.set('a', 'someone');
  const waiting = withLeasedKeys(deps, ['a'], { ttlMs: 1_000, signal: AbortSignal.timeout(20) }, async () => {});
  await expect(waiting).rejects.toMatchObject({ name: expect.stringMatching(/Abort|Timeout/) });
});
