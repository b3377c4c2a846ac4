import type { Ledger } from '@sightline/shared/ports/ledger';
import type { Expectation } from './expect-sources.ts';
import type { ExpectedSet } from './expected-set.ts';

const PAGE = 500;

/** Failures that the ledger knows, of ingestions and of changes: what they keep from the index is agreed. */
export async function addKnownFailures(
  ledger: Pick<Ledger, 'failedObjects' | 'changeFailures'>,
  tenant: string,
  set: ExpectedSet,
  { sources }: Expectation,
): Promise<void> {
  for (const { ingestion, place } of sources) {
    for await (const { key, eTag, code } of ledger.failedObjects(ingestion.ingestionId))
      set.addFailure({ bucket: place.bucket, key, eTag, code });
  }
  for (let after: string | undefined; ;) {
    const page = await ledger.changeFailures(tenant, { ...(after !== undefined && { after }), limit: PAGE });
    for (const { change, eTag, code } of page) {
      if (change.kind === 'object') set.addFailure({ bucket: change.bucket, key: change.key, eTag, code });
      else set.addFailure({ bucket: '', key: `item:${change.itemId}`, eTag, code });
    }
    after = page.at(-1)?.cursor;
    if (page.length < PAGE || after === undefined) return;
  }
}
