import { pictureAssetId } from '@sightline/shared/contracts/ids';
import { sourcePlace, type SourcePlace } from '@sightline/shared/contracts/source-place';
import type { Ingestion, Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { ExpectedSet } from './expected-set.ts';
import { findItemLines, type ItemLines } from './item-lines.ts';
import { listPictures } from './list-pictures.ts';
import { mapAhead } from './map-ahead.ts';
import { readManifest } from './read-manifest.ts';

export interface ExpectDeps {
  store: ObjectStore;
  ledger: Pick<Ledger, 'latestIngestions'>;
  openItemLines: () => ItemLines;
}

/** What was read of the sources. */
export interface Expectation {
  /** Sources that are known and could not be read: what they name is not known, so nothing may be called extra on their account. */
  unreadable: { ingestion: Ingestion; place: SourcePlace; error: SightlineError }[];
  /** Buckets of which the pictures themselves are a source, not only what manifests name. */
  listedBuckets: Set<string>;
  sources: { ingestion: Ingestion; place: SourcePlace }[];
}

const PAGE = 500;
const HEADS_AT_ONCE = 16;

/**
 * Reads what the known sources of a tenant hold at present into `set`: pictures with their eTags, and items by their last line
 * of the latest ingested manifest. `onlyBucket` leaves other buckets' listings out, their manifests are read all the same;
 * `withETags` also looks at each object that only a manifest names.
 */
export async function expectSources(
  { store, ledger, openItemLines }: ExpectDeps,
  tenant: string,
  set: ExpectedSet,
  { onlyBucket, withETags, signal }: { onlyBucket?: string; withETags: boolean; signal?: AbortSignal },
): Promise<Expectation> {
  const expectation: Expectation = { unreadable: [], listedBuckets: new Set(), sources: [] };
  for (const ingestion of await ledger.latestIngestions(tenant)) {
    const place = sourcePlace(ingestion.source);
    if (!place || ingestion.source.type === 'prefix') continue;
    try {
      if (place.manifestKey !== null) await expectItems({ store, openItemLines }, tenant, set, place, signal);
      else {
        expectation.listedBuckets.add(place.bucket);
        if (onlyBucket !== undefined && onlyBucket !== place.bucket) continue;
        for await (const { bucket, key, eTag } of listPictures(store, place, { signal })) {
          set.addPicture({ assetId: pictureAssetId(tenant, bucket, key), bucket, key, eTag });
        }
      }
      expectation.sources.push({ ingestion, place });
    } catch (error) {
      if (!(error instanceof SightlineError)) throw error;
      // A manifest that was deleted from a folder that is there names nothing any more.
      if (error.code === 'object_not_found') expectation.sources.push({ ingestion, place });
      else if (!isNeverRead(ingestion)) expectation.unreadable.push({ ingestion, place, error });
    }
  }
  if (withETags) await lookAtUnlisted(store, set);
  return expectation;
}

/** Ingesting it failed before it brought anything: a mistyped path is no source. */
function isNeverRead({ status, nextChunkNo }: Ingestion): boolean {
  return status === 'failed' && nextChunkNo === 0;
}

async function expectItems(
  { store, openItemLines }: Pick<ExpectDeps, 'store' | 'openItemLines'>,
  tenant: string,
  set: ExpectedSet,
  place: SourcePlace,
  signal: AbortSignal | undefined,
): Promise<void> {
  const lines = openItemLines();
  try {
    const { eTag } = await findItemLines(store, place, lines, { signal });
    const { records } = await readManifest(store, place, { ifMatch: eTag, signal });
    for await (const { record, lineNo } of records) {
      if (!record || lines.lineOf(record.itemId) !== lineNo) continue;
      const pictures = record.pictures.map(({ bucket, key }) => ({
        assetId: pictureAssetId(tenant, bucket, key),
        bucket,
        key,
        eTag: null,
      }));
      set.addItem(record, pictures);
    }
  } finally {
    lines.close();
  }
}

async function lookAtUnlisted(store: ObjectStore, set: ExpectedSet): Promise<void> {
  for (let after = ''; ;) {
    const page = set.unlisted(after, PAGE);
    for await (const { picture, eTag } of mapAhead(page, HEADS_AT_ONCE, async (picture) => ({
      picture,
      eTag: await eTagOf(store, picture),
    }))) {
      if (eTag !== null) set.addPicture({ ...picture, eTag });
    }
    const last = page.at(-1);
    if (!last || page.length < PAGE) return;
    after = last.assetId;
  }
}

async function eTagOf(store: ObjectStore, picture: { bucket: string; key: string }): Promise<string | null> {
  try {
    return (await store.head(picture))?.eTag ?? null;
  } catch (error) {
    // Forbidden, or a link out: to this stack it is not there. The failure is in the ledger.
    if (error instanceof SightlineError && !error.retryable) return null;
    throw error;
  }
}
