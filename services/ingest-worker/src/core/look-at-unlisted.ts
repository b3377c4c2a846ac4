import { pictureAssetId } from '@sightline/shared/contracts/ids';
import type { Region } from '@sightline/shared/contracts/source-place';
import { mapAhead } from '@sightline/shared/ingestion/map-ahead';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { ExpectedPicture, ExpectedSet } from './expected-set.ts';

const PAGE = 500;
const HEADS_AT_ONCE = 16;
/** Fewer are asked for one by one. */
const LEAST_FOR_LISTING = 500;
/** A listing that brings a thousand keys costs about as much as so many single questions. */
const HEADS_A_PAGE = 8;
const KEYS_A_PAGE = 1_000;

/**
 * Finds out which of the pictures that only manifests name are there. From a listing of their place where they lie close enough in
 * it, else one by one: a manifest can name ten pictures of ten million.
 */
export async function lookAtUnlisted(
  store: Pick<ObjectStore, 'list' | 'head'>,
  tenant: string,
  set: ExpectedSet,
  region: Region,
  signal?: AbortSignal,
): Promise<void> {
  if (set.countUnlisted(region) >= LEAST_FOR_LISTING) await list(store, tenant, set, region, signal);
  // What no listing showed: far apart, gone, or hidden from listings by a store that answers for it all the same.
  await headEach(store, set, region, signal);
}

/** Lists for as long as that finds enough. */
async function list(
  store: Pick<ObjectStore, 'list'>,
  tenant: string,
  set: ExpectedSet,
  region: Region,
  signal?: AbortSignal,
): Promise<void> {
  let keys = 0;
  let found = 0;
  for await (const { bucket, key, eTag } of store.list({ ...region, ...(signal && { signal }) })) {
    const assetId = pictureAssetId(tenant, bucket, key);
    const picture = set.picture(assetId);
    keys += 1;
    if (picture && picture.eTag === null) {
      found += 1;
      set.addPicture({ ...picture, eTag });
    }
    if (keys >= 2 * KEYS_A_PAGE && found * KEYS_A_PAGE < keys * HEADS_A_PAGE) return;
  }
}

async function headEach(store: Pick<ObjectStore, 'head'>, set: ExpectedSet, region: Region, signal?: AbortSignal): Promise<void> {
  for (let after = ''; ;) {
    signal?.throwIfAborted();
    const page = set.unlisted(region, after, PAGE);
    for await (const { picture, eTag } of mapAhead(page, HEADS_AT_ONCE, async (picture) => ({
      picture,
      eTag: await eTagOf(store, picture),
    }))) {
      if (eTag !== null) set.addPicture({ ...picture, eTag });
    }
    const last = page.at(-1);
    if (!last || page.length < PAGE) return;
    after = last.key;
  }
}

async function eTagOf(store: Pick<ObjectStore, 'head'>, picture: ExpectedPicture): Promise<string | null> {
  try {
    return (await store.head(picture))?.eTag ?? null;
  } catch (error) {
    // Forbidden, or a link out: to this stack it is not there. The failure is in the ledger.
    if (error instanceof SightlineError && !error.retryable) return null;
    throw error;
  }
}
