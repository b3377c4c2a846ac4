import type { Ledger } from '../ports/ledger.ts';
import { SightlineError } from '../runtime/errors.ts';

export interface LeaseDeps {
  ledger: Pick<Ledger, 'leaseKeys' | 'renewKeys' | 'releaseKeys'>;
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
}

/** What the holder of a lease works with. */
export interface HeldLease {
  /** Larger than any version handed out before: what is written under it wins over what was written before it. */
  version: number;
  /** Throws `lease_lost` once another may hold the keys: call it before every write. */
  assertHeld(): void;
}

export interface LeaseOptions {
  /** A holder that died keeps the others waiting this long. */
  ttlMs: number;
  signal?: AbortSignal;
}

const FIRST_PAUSE_MS = 25;
const LONGEST_PAUSE_MS = 1_000;

/**
 * Works through `keys` as they can be had: `work` is called with each set that was granted together, until every key had its
 * turn. Taking what is free instead of waiting for all means that two holders never wait for each other. Renewed at a third
 * of its time to live while `work` runs; released after it, also when it throws.
 */
export async function withLeasedKeys(
  { ledger, sleep }: LeaseDeps,
  keys: Iterable<string>,
  { ttlMs, signal }: LeaseOptions,
  work: (granted: ReadonlySet<string>, lease: HeldLease) => Promise<void>,
): Promise<void> {
  let pending = [...new Set(keys)];
  for (let pauseMs = FIRST_PAUSE_MS; pending.length > 0;) {
    signal?.throwIfAborted();
    const { token, version, granted, busy } = await ledger.leaseKeys(pending, { ttlMs });
    if (granted.length === 0) {
      await sleep(pauseMs, signal);
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
      continue;
    }
    await hold({ ledger, sleep }, token, ttlMs, (assertHeld) => work(new Set(granted), { version, assertHeld }));
    pending = busy;
    pauseMs = FIRST_PAUSE_MS;
  }
}

/** As `withLeasedKeys` with one key, but for waiting: answers false when another holds it. */
export async function withFreeKey(
  { ledger, sleep }: LeaseDeps,
  key: string,
  { ttlMs }: LeaseOptions,
  work: (lease: HeldLease) => Promise<void>,
): Promise<boolean> {
  const { token, version, granted } = await ledger.leaseKeys([key], { ttlMs });
  if (granted.length === 0) return false;
  await hold({ ledger, sleep }, token, ttlMs, (assertHeld) => work({ version, assertHeld }));
  return true;
}

async function hold(
  { ledger, sleep }: LeaseDeps,
  token: string,
  ttlMs: number,
  work: (assertHeld: () => void) => Promise<void>,
): Promise<void> {
  const over = new AbortController();
  // The monotonic clock: a wall clock that jumps must not make a stale holder believe in its lease.
  let heldUntil = performance.now() + ttlMs;
  const renewing = (async () => {
    for (;;) {
      await sleep(ttlMs / 3, over.signal).catch(() => {});
      if (over.signal.aborted) return;
      const askedAt = performance.now();
      // A ledger that does not answer now may do so next time; until then the lease runs on.
      const isRenewed = await ledger.renewKeys(token, { ttlMs }).catch(() => null);
      if (isRenewed) heldUntil = askedAt + ttlMs;
      else if (isRenewed === false) heldUntil = 0;
    }
  })();
  try {
    await work(() => {
      if (performance.now() >= heldUntil) throw new SightlineError('lease_lost');
    });
  } finally {
    over.abort();
    await renewing;
    // Left behind, it ends by itself after its time to live.
    await ledger.releaseKeys(token).catch(() => {});
  }
}
