import type { ItemRecord, PicturePlace } from '@sightline/shared/contracts/records';
import { distinctPictures, storedPicture } from '@sightline/shared/contracts/picture-address';
import { sourcePlace } from '@sightline/shared/contracts/source-place';
import { driveChanges } from '@sightline/shared/ingestion/drive-changes';
import { notePushedPlaces } from '@sightline/shared/ingestion/pushed-places';
import { assertMayName } from '@sightline/shared/ingestion/source-policy';
import type { Ledger } from '@sightline/shared/ports/ledger';
import type { QueueEngine } from '@sightline/shared/ports/queue-engine';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import { reasonFor, SightlineError, toSightlineError } from '@sightline/shared/runtime/errors';
import type { Logger } from 'pino';

export interface ChangeItemDeps {
  ledger: Ledger;
  index: Pick<VectorIndex, 'spec'>;
  queue: QueueEngine;
  logger: Logger;
  /** Unix milliseconds. */
  now: () => number;
  sleep: (ms: number) => Promise<void>;
}

interface Asking {
  tenant: string;
  traceId: string;
}

/**
 * Takes a record for an item, in place of the one that it has: written down as owed when it returns, and worked from then on. The same
 * again changes nothing. `localAllowed`: pictures may be files of this machine. Errors: `request_invalid`, `source_not_allowed`, those of
 * the ledger.
 */
export async function putItem(
  deps: ChangeItemDeps,
  asking: Asking & { localAllowed: boolean; allowedSources: readonly string[] },
  item: Omit<ItemRecord, 'pictures' | 'pushed'> & { images: string[] },
): Promise<void> {
  const { images, ...fields } = item;
  const pictures = await picturesOf(deps.ledger, asking, images);
  // First: what is told of them from now on must not be passed over.
  await notePushedPlaces(deps, asking.tenant, pictures);
  await note(deps, asking, item.itemId, { ...fields, pictures });
}

/** Takes back whatever record of the item waits to be worked. */
export async function withdrawItem(deps: ChangeItemDeps, asking: Asking, itemId: string): Promise<void> {
  await note(deps, asking, itemId, null);
}

async function note(deps: ChangeItemDeps, { tenant, traceId }: Asking, itemId: string, record: ItemRecord | null): Promise<void> {
  const at = deps.now();
  await deps.ledger.noteChanges(tenant, [{ change: { kind: 'item', itemId, record }, changedAt: at }], at);
  try {
    await driveChanges({ queue: deps.queue, spec: deps.index.spec }, { tenant, count: 1, traceId });
  } catch (error) {
    // It is owed: the sweep has it worked.
    deps.logger.warn({ tenant, traceId, reason: reasonFor(toSightlineError(error)) }, 'a record waits for the sweep');
  }
}

async function picturesOf(
  ledger: Pick<Ledger, 'latestIngestions'>,
  { tenant, localAllowed, allowedSources }: { tenant: string; localAllowed: boolean; allowedSources: readonly string[] },
  images: string[],
): Promise<PicturePlace[]> {
  const stored: PicturePlace[] = [];
  const pictures: PicturePlace[] = [];
  let folders: string[] | null = null;
  for (const [i, image] of images.entries()) {
    const picture = storedPicture(image);
    if (picture) stored.push(picture);
    if (picture) pictures.push(picture);
    else if (!image.startsWith('/')) throw new SightlineError('request_invalid', `images.${i}: expected s3://bucket/key.`);
    else if (!localAllowed)
      throw new SightlineError('source_not_allowed', "Files of the server are named only to the embedded stack, over the loopback interface."); // prettier-ignore
    else {
      folders ??= (await ledger.latestIngestions(tenant)).flatMap(({ source }) => sourcePlace(source)?.bucket ?? []);
      const file = localPicture(image, folders);
      if (!file) throw new SightlineError('request_invalid', `images.${i}: expected the path of a file.`);
      pictures.push(file);
    }
  }
  assertMayName(stored, { tenant, allowedSources });
  return distinctPictures(pictures);
}

/** A file as the ingested folder that it lies in has it, so that it is one picture; else as its own folder would. */
function localPicture(path: string, folders: string[]): PicturePlace | null {
  const place = sourcePlace({ type: 'manifest', uri: path });
  if (!place?.manifestKey || path.endsWith('/')) return null;
  const { bucket: folder, manifestKey: name } = place;
  const under = (bucket: string): string => (bucket === '/' ? '/' : `${bucket}/`);
  const file = `${under(folder)}${name}`;
  const [outermost = folder] = folders.filter((bucket) => bucket.startsWith('/') && file.startsWith(under(bucket))).sort((a, b) => a.length - b.length); // prettier-ignore
  return { bucket: outermost, key: file.slice(under(outermost).length) };
}
