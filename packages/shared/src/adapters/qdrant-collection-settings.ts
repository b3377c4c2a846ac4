import type { Schemas } from '@qdrant/js-client-rest';
import type { IndexSpec } from '../ports/vector-index.ts';

/** How a collection is laid out. Read when it is made; what may be changed later says docs/qdrant.md. */
export interface QdrantCollectionSettings {
  /**
   * The graph: links of a node, breadth while building, links within one tenant's part (0: no parts), and whether it is read from disk.
   * With many tenants of similar size `m: 0, payloadM: 16` builds a graph for each and none across them.
   */
  hnsw: { m: number; efConstruct: number; payloadM: number; onDisk: boolean };
  /** `scalar` keeps a byte of each number in memory, `binary` a bit; the whole vectors decide the order in the end. */
  quantisation: 'none' | 'scalar' | 'binary';
  /** Whole vectors are read from disk (memory-mapped) instead of kept in memory. */
  vectorsOnDisk: boolean;
  payloadOnDisk: boolean;
  /** The keywords' inverted index and the payload's indexes. */
  indexesOnDisk: boolean;
  shards: number;
  replicationFactor: number;
  /** Replicas that must have a write before it counts. */
  writeConsistencyFactor: number;
}

export const COLLECTION_DEFAULTS: QdrantCollectionSettings = {
  hnsw: { m: 16, efConstruct: 128, payloadM: 16, onDisk: false },
  quantisation: 'none',
  vectorsOnDisk: false,
  payloadOnDisk: true,
  indexesOnDisk: false,
  shards: 1,
  replicationFactor: 1,
  writeConsistencyFactor: 1,
};

const QUANTISATION: Record<QdrantCollectionSettings['quantisation'], Schemas['QuantizationConfig'] | undefined> = {
  none: undefined,
  scalar: { scalar: { type: 'int8', quantile: 0.99, always_ram: true } },
  binary: { binary: { always_ram: true } },
};

/** The collection as Qdrant is asked to make it. */
export function collectionRequest(spec: IndexSpec, settings: QdrantCollectionSettings) {
  const { hnsw, vectorsOnDisk, indexesOnDisk } = settings;
  const space = ({ dimensions }: { dimensions: number }) => ({
    size: dimensions,
    distance: 'Cosine' as const,
    on_disk: vectorsOnDisk,
  });
  return {
    vectors: { image: space(spec.image), text: space(spec.text) },
    sparse_vectors: { keywords: { modifier: 'idf' as const, index: { on_disk: indexesOnDisk } } },
    hnsw_config: { m: hnsw.m, ef_construct: hnsw.efConstruct, payload_m: hnsw.payloadM, on_disk: hnsw.onDisk },
    quantization_config: QUANTISATION[settings.quantisation],
    on_disk_payload: settings.payloadOnDisk,
    shard_number: settings.shards,
    replication_factor: settings.replicationFactor,
    write_consistency_factor: settings.writeConsistencyFactor,
  };
}

/** The payload's indexes, made before the first point: a graph is built along the indexes that it finds. */
export function payloadIndexes({ indexesOnDisk }: QdrantCollectionSettings): Record<string, Schemas['PayloadSchemaParams']> {
  const on_disk = indexesOnDisk;
  return {
    tenant: { type: 'keyword', is_tenant: true, on_disk },
    sha256: { type: 'keyword', on_disk, enable_hnsw: false },
    facets: { type: 'integer', lookup: true, range: false, on_disk, enable_hnsw: false },
    deleted: { type: 'bool', on_disk, enable_hnsw: false },
    'image.live': { type: 'bool', on_disk, enable_hnsw: false },
    hasText: { type: 'bool', on_disk, enable_hnsw: false },
    hasKeywords: { type: 'bool', on_disk, enable_hnsw: false },
  };
}
