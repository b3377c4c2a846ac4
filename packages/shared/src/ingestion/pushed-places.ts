import { z } from 'zod';
import type { PicturePlace } from '../contracts/records.ts';
import type { Ledger } from '../ports/ledger.ts';
import { withLeasedKeys, type LeaseDeps } from './key-lease.ts';

interface PlacesDeps extends LeaseDeps {
  ledger: LeaseDeps['ledger'] & Pick<Ledger, 'getSetting' | 'putSetting'>;
}

const tenants = z.array(z.string());
const LEASE_TTL_MS = 10_000;

/**
 * Remembers in which buckets a tenant's pushed records name pictures: no source says that what happens there concerns the tenant.
 * One read for each bucket where that is known already.
 */
export async function notePushedPlaces({ ledger, sleep }: PlacesDeps, tenant: string, pictures: PicturePlace[]): Promise<void> {
  for (const bucket of new Set(pictures.map((picture) => picture.bucket))) {
    if ((await tenantsNaming(ledger, bucket)).includes(tenant)) continue;
    await withLeasedKeys({ ledger, sleep }, [setting(bucket)], { ttlMs: LEASE_TTL_MS }, async () => {
      const known = await tenantsNaming(ledger, bucket);
      await ledger.putSetting(setting(bucket), JSON.stringify([...new Set([...known, tenant])].sort()));
    });
  }
}

/** Tenants of which pushed records name pictures in this bucket, or did. */
export async function tenantsNaming(ledger: Pick<Ledger, 'getSetting'>, bucket: string): Promise<string[]> {
  return tenants.parse(JSON.parse((await ledger.getSetting(setting(bucket))) ?? '[]'));
}

function setting(bucket: string): string {
  return `pushed-places:${bucket}`;
}
