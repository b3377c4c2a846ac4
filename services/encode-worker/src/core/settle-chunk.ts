import { assetLockKey } from '@sightline/shared/contracts/ids';
import { withLeasedKeys } from '@sightline/shared/ingestion/key-lease';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { ChunkWork } from './chunk-work.ts';
import { settlePictures, type PicturesContext } from './encode-chunk-pictures.ts';
import { leavePictures, settleItems, settlePictureRecords, type Leaving } from './encode-chunk-records.ts';
import type { ChunkDeps } from './encode-deps.ts';
import { settleArrivals, settleGoings } from './picture-records.ts';

export interface SettleContext extends PicturesContext {
  /** Throws `lease_lost` where what is worked was taken away meanwhile, such as with its tenant. Called under each new lease. */
  assertAlive: () => Promise<void>;
}

/** Pictures that move under the writing, and items that wait for them, need further rounds; more than this is a bug. */
const MAX_ROUNDS = 20;

/**
 * Brings pictures and items into the index as they are now, each under the lease of its key: the pictures of `work`, their records,
 * the items' further passages; then the records of other items that come onto a picture that is new here, or leave one that goes.
 * What becomes of each stands in `work`. The caller holds no leases. Doing it twice is doing it once.
 */
export async function settleChunk(deps: ChunkDeps, work: ChunkWork, context: SettleContext): Promise<void> {
  const { tenant, signal, assertAlive } = context;
  const leaving: Leaving[] = [];
  for (let round = 0; ; round++) {
    const pictures = [...work.pictures.values()].filter(isOwed);
    const items = [...work.items.values()].filter(isOwed);
    if (pictures.length + items.length === 0) break;
    if (round === MAX_ROUNDS) throw new SightlineError('object_changed');
    const keys = [...pictures, ...items].map(({ lockKey }) => lockKey);
    await withLeasedKeys(deps, keys, { ttlMs: deps.leaseTtlMs, signal }, async (granted, lease) => {
      await assertAlive();
      const held = pictures.filter(({ lockKey }) => granted.has(lockKey));
      await settlePictures(deps, held, lease, context);
      await settlePictureRecords(deps, tenant, held, lease);
      // An item's passages depend on whether its pictures can be shown: it waits for those of this chunk.
      const ready = items.filter(({ lockKey, pictures: its }) => granted.has(lockKey) && !its.some(isOwed));
      leaving.push(...(await settleItems(deps, tenant, ready, lease)));
    });
    await settleGoings(deps, pictures, context);
    // A picture that stays after all is owed again, and may carry its items.
    for (const item of items) if (item.pictures.some(isOwed)) [item.settled, item.failure] = [null, null];
  }
  await settleArrivals(deps, [...work.pictures.values()], context);
  // Under leases of their own: who holds keys must not wait for others.
  const byKey = new Map(leaving.map(({ assetId }) => [assetLockKey(tenant, assetId), assetId]));
  await withLeasedKeys(deps, byKey.keys(), { ttlMs: deps.leaseTtlMs, signal }, async (granted, lease) => {
    await assertAlive();
    const held = leaving.filter(({ assetId }) => granted.has(assetLockKey(tenant, assetId)));
    await leavePictures(deps, tenant, held, lease);
  });
}

export function isOwed({ settled, failure }: { settled: unknown; failure: unknown }): boolean {
  return settled === null && failure === null;
}
