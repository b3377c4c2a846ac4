import { assetLockKey } from '@sightline/shared/contracts/ids';
import { withLeasedKeys } from '@sightline/shared/ingestion/key-lease';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { ChunkWork } from './chunk-work.ts';
import { settlePictures, type PicturesContext } from './encode-chunk-pictures.ts';
import { leavePictures, settleItems, settlePictureRecords, type Leaving } from './encode-chunk-records.ts';
import type { ChunkDeps } from './encode-deps.ts';

/** Pictures that move under the writing, and items that wait for them, need further rounds; more than this is a bug. */
const MAX_ROUNDS = 20;

export interface SettleContext extends PicturesContext {
  /** Throws `lease_lost` when what asked for this was deleted meanwhile; asked under each lease. */
  assertAlive: () => Promise<void>;
}

/**
 * Brings the index in step with a chunk's pictures and items: reads, writes and looks again, each under the lease of its key, until
 * nothing is owed. What fails by itself is noted on the work. Errors: those of the ports, `lease_lost`.
 */
export async function settleChunk(deps: ChunkDeps, work: ChunkWork, context: SettleContext): Promise<void> {
  const { tenant, signal } = context;
  const leaving: Leaving[] = [];
  for (let round = 0; ; round++) {
    const pictures = [...work.pictures.values()].filter(isOwed);
    const items = [...work.items.values()].filter(isOwed);
    if (pictures.length + items.length === 0) break;
    if (round === MAX_ROUNDS) throw new SightlineError('object_changed');
    const keys = [...pictures, ...items].map(({ lockKey }) => lockKey);
    await withLeasedKeys(deps, keys, { ttlMs: deps.leaseTtlMs, signal }, async (granted, lease) => {
      await context.assertAlive();
      const held = pictures.filter(({ lockKey }) => granted.has(lockKey));
      await settlePictures(deps, held, lease, context);
      await settlePictureRecords(deps, tenant, held, lease);
      // An item's passages depend on whether its pictures can be shown: it waits for those of this chunk.
      const ready = items.filter(({ lockKey, pictures }) => granted.has(lockKey) && !pictures.some(isOwed));
      leaving.push(...(await settleItems(deps, tenant, ready, lease)));
    });
  }
  // Under leases of their own: who holds keys must not wait for others.
  const byKey = new Map(leaving.map(({ assetId }) => [assetLockKey(tenant, assetId), assetId]));
  await withLeasedKeys(deps, byKey.keys(), { ttlMs: deps.leaseTtlMs, signal }, async (granted, lease) => {
    await context.assertAlive();
    const held = leaving.filter(({ assetId }) => granted.has(assetLockKey(tenant, assetId)));
    await leavePictures(deps, tenant, held, lease);
  });
}

function isOwed({ settled, failure }: { settled: unknown; failure: unknown }): boolean {
  return settled === null && failure === null;
}
