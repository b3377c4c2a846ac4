import type { Ledger } from '../ports/ledger.ts';
import type { VectorIndex } from '../ports/vector-index.ts';
import { SightlineError } from '../runtime/errors.ts';
import { withWrites } from './index-writes.ts';

type Settings = Pick<Ledger, 'getSetting' | 'putSetting'>;

/** Everything that was leased up to this version belongs to a tenant's deleted past: what a late worker still holds is not written. */
export async function raiseTenantFence(ledger: Settings, tenant: string, version: number): Promise<void> {
  await ledger.putSetting(fenceSetting(tenant), String(version));
}

/** For when no writer from before it lives any more. A later deletion's stays. */
export async function dropTenantFence(ledger: Settings, tenant: string, version: number): Promise<void> {
  if ((await tenantFence(ledger, tenant)) <= version) await ledger.putSetting(fenceSetting(tenant), null);
}

/** The version of the tenant's last deletion; 0 when it never was deleted. */
export async function tenantFence(ledger: Settings, tenant: string): Promise<number> {
  return Number((await ledger.getSetting(fenceSetting(tenant))) ?? 0);
}

function fenceSetting(tenant: string): string {
  return `tenant-fence:${tenant}`;
}

/**
 * The index as writers see it: a write of a version from before its tenant's deletion is refused with `lease_lost`, so that no
 * ingestion that was running brings points back. Versions come from the ledger's leases and only grow, so the name is free for
 * a new life at once. Asked of the ledger before every write: one small read for a batch of points.
 */
export function fencedIndex(index: VectorIndex, ledger: Settings): VectorIndex {
  const assertAlive = async (writes: { tenant: string; version: number }[]): Promise<void> => {
    const oldest = new Map<string, number>();
    for (const { tenant, version } of writes) oldest.set(tenant, Math.min(version, oldest.get(tenant) ?? Infinity));
    for (const [tenant, version] of oldest) {
      if (version <= (await tenantFence(ledger, tenant)))
        throw new SightlineError('lease_lost', 'Its tenant was deleted meanwhile.');
    }
  };
  return withWrites(index, {
    writePictures: async (writes) => {
      await assertAlive(writes.map(({ tenant, imageVersion }) => ({ tenant, version: imageVersion })));
      await index.writePictures(writes);
    },
    writeRecords: async (writes) => {
      await assertAlive(writes.map(({ tenant, recordVersion }) => ({ tenant, version: recordVersion })));
      await index.writeRecords(writes);
    },
    delete: async (deletions) => {
      await assertAlive(deletions);
      await index.delete(deletions);
    },
  });
}
