import type { IndexSpec, VectorIndex } from '../ports/vector-index.ts';
import { COLLECTION_DEFAULTS, type QdrantCollectionSettings } from './qdrant-collection-settings.ts';
import { QdrantConnection, type QdrantConnectionDeps, type QdrantPlace } from './qdrant-connection.ts';
import { indexRemovals } from './qdrant-removal.ts';
import type { SearchSettings } from './qdrant-search.ts';
import { collectionOf, openCollection, openNamedCollection } from './qdrant-vector-index-format.ts';
import { indexReads } from './qdrant-vector-index-reader.ts';
import { indexWrites } from './qdrant-vector-index-writer.ts';

export const DEFAULT_ALIAS = 'sightline';

export interface QdrantIndexOptions extends QdrantPlace {
  /** The index's name in Qdrant: an alias of the collection that serves now. */
  alias?: string;
  /** Opens this version whether it serves or not; left out it is the one behind the alias. */
  version?: number;
  /** What the index must be for; left out it is opened for whatever it holds. */
  spec?: IndexSpec | null;
  /** How the collection is made when there is none. */
  collection?: Partial<QdrantCollectionSettings>;
  search?: Partial<SearchSettings>;
  /** Points in one write, 64 to 256. */
  batchPoints?: number;
}

const SEARCH_DEFAULTS: SearchSettings = { hnswEf: 128, exact: false, oversampling: 2 };
const BATCH_POINTS = 128;

/**
 * The index as a Qdrant collection (1.17 or newer) behind an alias; any number of processes may have it open. What it was opened
 * for stays, also when the alias is pointed elsewhere: see ServingIndex for who follows it.
 *
 * A write waits until Qdrant has applied it, so the next search sees it. It is in Qdrant's write-ahead log then, which survives the
 * server's end; of a machine that loses power the last moments may be lost, as the log is not synced for every write: replicas are
 * Qdrant's answer to that.
 * Searches are approximate from about 10,000 kB of vectors in a segment on, exact below and under filters that few points pass.
 * BM25 as in qdrant-keywords.ts; its document counts are those of the whole collection, not of the tenant.
 * Errors: `index_encoder_mismatch`, `index_unavailable` (also: no spec given and no index of that name), `store_format_unsupported`.
 */
export async function openQdrantVectorIndex(options: QdrantIndexOptions, deps: QdrantConnectionDeps = {}): Promise<VectorIndex> {
  const { alias = DEFAULT_ALIAS, version, spec: wanted = null, batchPoints = BATCH_POINTS } = options;
  const connection = new QdrantConnection(options, deps);
  const settings = { ...COLLECTION_DEFAULTS, ...options.collection };
  const opening =
    version === undefined
      ? openCollection(connection, alias, wanted, settings)
      : openNamedCollection(connection, collectionOf(alias, version), wanted, settings);
  const { collection, spec, isReplicated } = await opening;
  const ordering = isReplicated ? 'strong' : 'weak';
  return {
    spec,
    ...indexReads(connection, collection, spec, { ...SEARCH_DEFAULTS, ...options.search }),
    ...indexWrites(connection, collection, spec, { batchPoints, ordering }),
    ...indexRemovals(connection, collection, ordering),
    close: () => connection.close(),
  };
}
