import type { SourcePlace } from '@sightline/shared/contracts/source-place';
import type { ObjectStore } from '@sightline/shared/ports/object-store';
import { readManifest } from './read-manifest.ts';

/** Which line of a manifest speaks for an item: the last that names it. Kept on disk, so a manifest may have any length. */
export interface ItemLines {
  put: (itemId: string, lineNo: number) => void;
  /** Null when no line names the item. */
  lineOf: (itemId: string) => number | null;
  close: () => void;
}

/** Reads a whole manifest to learn each item's last line. Errors: `object_changed`, `object_not_found`. */
export async function findItemLines(
  store: Pick<ObjectStore, 'stream'>,
  place: SourcePlace,
  lines: ItemLines,
  { ifMatch, signal }: { ifMatch?: string; signal?: AbortSignal },
): Promise<{ eTag: string; overruled: number }> {
  const { eTag, records } = await readManifest(store, place, { ifMatch, signal });
  let overruled = 0;
  for await (const { record, lineNo } of records) {
    if (!record) continue;
    if (lines.lineOf(record.itemId) !== null) overruled += 1;
    lines.put(record.itemId, lineNo);
  }
  return { eTag, overruled };
}
