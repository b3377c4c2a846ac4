import type { ChunkOutcome } from '@sightline/shared/ports/ledger';
import { failureReasonFor, SightlineError } from '@sightline/shared/runtime/errors';
import { addPlannedChunk } from './add-planned-chunk.ts';
import { ChunkBuilder } from './chunk-builder.ts';
import type { ItemLines } from './item-lines.ts';
import type { PlanDeps } from './plan-deps.ts';
import { writePlanCursor, type RetryCursor } from './plan-cursor.ts';
import type { Find, PlacedPlanning } from './plan-ingestion.ts';
import type { ManifestRecord } from './read-manifest.ts';

const PAGE = 1_000;

/**
 * Plans the failures of a folder or prefix again, page by page of the ledger's list: what is there goes into chunks, what is
 * not stays a failure. A failure keeps its place in the list, so the list comes to an end.
 */
export async function retryObjects(state: PlacedPlanning, cursor: RetryCursor): Promise<void> {
  const { deps, ingestion, place, signal } = state;
  for (let after = cursor.retry.after ?? null; ;) {
    signal.throwIfAborted();
    const page = await deps.ledger.failures(ingestion.ingestionId, {
      ...(after !== null && { cursor: after }),
      limit: deps.chunkEntries,
    });
    const next = writePlanCursor({ retry: { after: page.nextCursor } });
    const chunk = new ChunkBuilder(deps.chunkEntries);
    const finds = await Promise.all(page.failures.map(({ key }) => lookAgain(deps, place.bucket, key)));
    for (const find of finds) {
      chunk.addRetried(find.retried ?? []);
      if ('failure' in find) chunk.addFailures([find.failure], next);
      else chunk.addEntry(find.entry, next);
    }
    await addPlannedChunk(state, chunk.take());
    if (page.nextCursor === null) return;
    after = page.nextCursor;
  }
}

async function lookAgain({ store }: PlanDeps, bucket: string, key: string): Promise<Find> {
  const failing = (code: ChunkOutcome['failures'][number]['code'], reason: string): Find => ({
    failure: { key, code, reason },
    retried: [key],
  });
  try {
    const info = await store.head({ bucket, key });
    if (!info) return failing('object_not_found', 'It was listed, and is not there any more.');
    return { entry: { object: { bucket, key, eTag: info.eTag, sizeBytes: info.sizeBytes } }, retried: [key] };
  } catch (error) {
    if (!(error instanceof SightlineError) || error.retryable) throw error;
    return failing(error.code, failureReasonFor(error));
  }
}

/** What failed of a manifest, to take the lines concerned out of a reading of it. On disk. */
export class FailedFinds {
  readonly #keys: ItemLines;

  private constructor(keys: ItemLines) {
    this.#keys = keys;
  }

  static async read({ ledger, openItemLines }: PlanDeps, ingestionId: string): Promise<FailedFinds> {
    const keys = openItemLines();
    try {
      for (let cursor: string | null | undefined; cursor !== null;) {
        const page = await ledger.failures(ingestionId, { ...(cursor !== undefined && { cursor }), limit: PAGE });
        for (const { key } of page.failures) keys.put(key, 0);
        cursor = page.nextCursor;
      }
    } catch (error) {
      keys.close();
      throw error;
    }
    return new FailedFinds(keys);
  }

  concerns({ record, failures }: ManifestRecord, lineKey: string): boolean {
    const keys = [lineKey, ...failures.map(({ key }) => key)];
    if (record) keys.push(`item:${record.itemId}`, ...record.pictures.map(({ key }) => key));
    return keys.some((key) => this.#isOwed(key));
  }

  /** Those of a line's finds that failed, each with the failure that it tries again; all of them where the line itself failed. */
  keepOnly(finds: Find[], lineKey: string): Find[] {
    const isWhole = this.#take(lineKey);
    const kept = finds.filter((find) => this.#tries(find) || isWhole);
    const [first] = kept;
    if (isWhole && first) first.retried = [...(first.retried ?? []), ...(first.retried?.includes(lineKey) ? [] : [lineKey])];
    return kept;
  }

  close(): void {
    this.#keys.close();
  }

  #tries(find: Find): boolean {
    const key = 'failure' in find ? find.failure.key : (find.entry.object?.key ?? `item:${find.entry.record?.itemId}`);
    // An item whose text failed by itself may have a picture now.
    const retried = [key, ...('entry' in find ? [`item:${find.entry.record?.itemId}`] : [])].filter((name) => this.#take(name));
    if (retried.length === 0) return false;
    find.retried = [...new Set(retried)];
    return true;
  }

  /** Of several lines that name a picture the first tries it; the others' records are put on it when the end is reconciled. */
  #take(key: string): boolean {
    if (!this.#isOwed(key)) return false;
    this.#keys.put(key, 1);
    return true;
  }

  #isOwed(key: string): boolean {
    return this.#keys.lineOf(key) === 0;
  }
}
