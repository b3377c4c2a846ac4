import { pictureAssetId } from '@sightline/shared/contracts/ids';
import type { ItemRecord } from '@sightline/shared/contracts/records';
import { overlaps, sourcePlace, type Region, type SourcePlace } from '@sightline/shared/contracts/source-place';
import type { Ingestion, Ledger } from '@sightline/shared/ports/ledger';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { SightlineError } from '@sightline/shared/runtime/errors';
import type { ExpectedSet } from './expected-set.ts';
import { findItemLines, type ItemLines } from './item-lines.ts';
import { listPictures } from './list-pictures.ts';
import { lookAtUnlisted } from './look-at-unlisted.ts';
import { readManifest } from './read-manifest.ts';

export interface ExpectDeps {
  store: ObjectStore;
  index: Pick<VectorIndex, 'scan'>;
  ledger: Pick<Ledger, 'latestIngestions'>;
  openItemLines: () => ItemLines;
}

/** A known source. Of two that name an item the one of the higher rank, ingested later, speaks for it. */
export interface KnownSource {
  ingestion: Ingestion;
  place: SourcePlace;
  rank: number;
}

interface ReadOptions {
  within?: Region | undefined;
  beside?: Ingestion | undefined;
  /** With `within`: the manifests elsewhere are read too. */
  allManifests?: boolean | undefined;
  /** Of manifests these records alone, and no place is listed: it is only found out whether it could be. */
  only?: ((record: ItemRecord) => boolean) | undefined;
  signal?: AbortSignal | undefined;
}

/** What was read of the sources. */
export interface Expectation {
  /** Sources that are known and could not be read: what they name is not known, so nothing may be called extra on their account. */
  unreadable: (KnownSource & { error: SightlineError })[];
  /** Places of which the pictures themselves are a source, not only what manifests name. */
  listed: Region[];
  sources: KnownSource[];
  /** Manifests elsewhere, which were not read: they may name an item that those which were read name, or name no more. */
  unread: KnownSource[];
}

const PAGE = 500;

/**
 * Reads what the known sources of a tenant hold at present into `set`: pictures with their eTags, and items by their last line of
 * the latest ingested manifest; and the pushed records, which the index itself is the source of, with their pictures. With `within` only sources that can name an object there are read, and listed only there;
 * `beside` adds the manifests that were ingested beside this one, whose records may have come before its own.
 */
export async function expectSources(
  deps: ExpectDeps,
  tenant: string,
  set: ExpectedSet,
  { within, beside, signal }: { within?: Region; beside?: Ingestion; signal?: AbortSignal } = {},
): Promise<Expectation> {
  const expectation = await readSources(deps, tenant, set, { within, beside, signal });
  await lookAtNamed(deps.store, tenant, set, { within, signal });
  return expectation;
}

/** As `expectSources`, but for the pictures that only manifests name: whether they are there is not looked at. */
export async function readSources(
  { store, index, ledger, openItemLines }: ExpectDeps,
  tenant: string,
  set: ExpectedSet,
  { within, beside, allManifests, only, signal }: ReadOptions,
): Promise<Expectation> {
  const expectation: Expectation = { unreadable: [], listed: [], sources: [], unread: [] };
  for (const [rank, ingestion] of (await ledger.latestIngestions(tenant)).entries()) {
    const place = sourcePlace(ingestion.source);
    if (!place) continue;
    const source = { ingestion, place, rank };
    if (within && !overlaps(place, within)) {
      if (place.manifestKey !== null && allManifests) {
        await readInto(expectation, source, () => expectItems({ store, openItemLines }, tenant, set, source, signal, only));
        continue;
      }
      const ranBeside = beside && sourcePlace(beside.source)?.manifestKey !== null && isBeside(ingestion, beside);
      if (place.manifestKey === null) continue;
      if (!ranBeside) {
        expectation.unread.push(source);
        continue;
      }
    }
    await readInto(expectation, source, async () => {
      if (place.manifestKey !== null) await expectItems({ store, openItemLines }, tenant, set, source, signal, only);
      else {
        expectation.listed.push(place);
        if (only) return assertListable(store, place);
        for await (const { bucket, key, eTag } of listPictures(store, within ? smaller(place, within) : place, { signal })) {
          set.addPicture({ assetId: pictureAssetId(tenant, bucket, key), bucket, key, eTag });
        }
      }
    });
  }
  await readPushed(index, tenant, set, only, signal);
  return expectation;
}

async function readPushed(
  index: Pick<VectorIndex, 'scan'>,
  tenant: string,
  set: ExpectedSet,
  isWanted: (record: ItemRecord) => boolean = () => true,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (let after: string | undefined; ;) {
    signal?.throwIfAborted();
    const page = await index.scan(tenant, { after, limit: PAGE, pushed: true });
    for (const { records, passageNo, recordVersion } of page)
      for (const record of records) if (record.pushed && isWanted(record)) set.addPushed(record, passageNo, recordVersion);
    after = page.at(-1)?.assetId;
    if (page.length < PAGE || after === undefined) break;
  }
  set.expectPushed(tenant);
}

/** Finds out which of the pictures that nobody has looked at are there; with `within` only of those in that place. */
export async function lookAtNamed(
  store: ObjectStore,
  tenant: string,
  set: ExpectedSet,
  { within, signal }: { within?: Region | undefined; signal?: AbortSignal | undefined },
): Promise<void> {
  const regions = within ? [within] : set.unlistedBuckets().map((bucket) => ({ bucket, prefix: '' }));
  for (const region of regions) await lookAtUnlisted(store, tenant, set, region, signal);
}

/** Throws `source_not_found` for what cannot be listed; asks for one object only. */
async function assertListable(store: ObjectStore, { bucket, prefix }: SourcePlace): Promise<void> {
  for await (const _ of store.list({ bucket, prefix })) break;
}

/** Reads of the manifests that were left out the items that are doubtful, and notes those that cannot be read. */
export async function expectDoubtful(
  { store, openItemLines }: Pick<ExpectDeps, 'store' | 'openItemLines'>,
  tenant: string,
  set: ExpectedSet,
  expectation: Expectation,
  signal?: AbortSignal,
): Promise<void> {
  for (const source of expectation.unread.splice(0)) {
    await readInto(expectation, source, () =>
      expectItems({ store, openItemLines }, tenant, set, source, signal, ({ itemId }) => set.isDoubtful(itemId)),
    );
  }
}

async function readInto(expectation: Expectation, source: KnownSource, read: () => Promise<void>): Promise<void> {
  try {
    await read();
    expectation.sources.push(source);
  } catch (error) {
    if (!(error instanceof SightlineError)) throw error;
    // A manifest that was deleted from a folder that is there names nothing any more.
    if (error.code === 'object_not_found') expectation.sources.push(source);
    else if (!isNeverRead(source.ingestion)) expectation.unreadable.push({ ...source, error });
  }
}

/** Ingesting it failed before it brought anything: a mistyped path is no source. */
function isNeverRead({ status, nextChunkNo }: Ingestion): boolean {
  return status === 'failed' && nextChunkNo === 0;
}

function isBeside(other: Ingestion, { createdAt }: Ingestion): boolean {
  return other.createdAt >= createdAt || other.finishedAt === null || other.finishedAt >= createdAt;
}

/** Where two overlapping places overlap. */
function smaller(place: SourcePlace, within: Region): SourcePlace {
  return { ...place, prefix: place.prefix.length > within.prefix.length ? place.prefix : within.prefix };
}

async function expectItems(
  { store, openItemLines }: Pick<ExpectDeps, 'store' | 'openItemLines'>,
  tenant: string,
  set: ExpectedSet,
  { place, rank }: KnownSource,
  signal: AbortSignal | undefined,
  isWanted: (record: ItemRecord) => boolean = () => true,
): Promise<void> {
  const lines = openItemLines();
  try {
    const { eTag } = await findItemLines(store, place, lines, { signal });
    const { records } = await readManifest(store, place, { ifMatch: eTag, signal });
    for await (const { record, lineNo } of records) {
      if (!record || lines.lineOf(record.itemId) !== lineNo || !isWanted(record)) continue;
      const pictures = record.pictures.map(({ bucket, key }) => ({
        assetId: pictureAssetId(tenant, bucket, key),
        bucket,
        key,
        eTag: null,
      }));
      set.addItem(record, pictures, rank);
    }
  } finally {
    lines.close();
  }
}
