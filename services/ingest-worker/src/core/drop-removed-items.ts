import { removedItems } from '@sightline/shared/ingestion/record-removal';
import type { VectorIndex } from '@sightline/shared/ports/vector-index';
import type { ExpectedSet } from './expected-set.ts';

const PAGE = 500;

/** Takes out of what is expected the items that a user removed and whose records are still what was removed. */
export async function dropRemovedItems(
  index: Pick<VectorIndex, 'get'>,
  tenant: string,
  set: ExpectedSet,
  signal?: AbortSignal,
): Promise<void> {
  for (let after = ''; ;) {
    signal?.throwIfAborted();
    const records = set.items(after, PAGE).map(({ item }) => item);
    for (const itemId of await removedItems(index, tenant, records)) set.dropItem(itemId);
    const last = records.at(-1);
    if (records.length < PAGE || !last) return;
    after = last.itemId;
  }
}
