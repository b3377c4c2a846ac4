import type { IndexSpec, VectorIndex } from '../ports/vector-index.ts';
import { openSqliteThread, type SqliteThread } from './sqlite-thread.ts';
import type { IndexReader } from './sqlite-vector-index-reader.ts';
import type { IndexStoreOptions } from './sqlite-vector-index-store.ts';
import type { IndexWriter } from './sqlite-vector-index-writer.ts';

const WRITER = new URL('./sqlite-vector-index-writer.ts', import.meta.url);
const READER = new URL('./sqlite-vector-index-reader.ts', import.meta.url);

/**
 * The index in one SQLite file on a local disk; any number of processes may have it open. Searches are exact: every point that
 * passes the filter is compared, and `limit` has no ceiling. One thread writes and one reads, so a search never waits for a batch.
 *
 * With `spec` the file is made when absent and proved to be for those fingerprints; without it (query-api, audit: who know no
 * packs) the index is opened for whatever it holds.
 * Errors: `index_encoder_mismatch`, `index_unavailable` (also: no spec given and none in the file yet),
 * `store_format_unsupported`, `store_damaged`.
 *
 * BM25 is FTS5's (k1 = 1.2, b = 0.75); its document counts are those of the whole file, not of the tenant.
 */
export async function openSqliteVectorIndex({
  file,
  spec = null,
}: {
  file: string;
  spec?: IndexSpec | null;
}): Promise<VectorIndex> {
  const options: IndexStoreOptions = { file, spec };
  const writer = await openSqliteThread<IndexWriter, IndexStoreOptions>(WRITER, options, 'index_unavailable');
  try {
    const reader = await openSqliteThread<IndexReader, IndexStoreOptions>(READER, options, 'index_unavailable');
    return sqliteVectorIndex(writer, reader, await writer.call('spec'));
  } catch (error) {
    await writer.close();
    throw error;
  }
}

function sqliteVectorIndex(writer: SqliteThread<IndexWriter>, reader: SqliteThread<IndexReader>, spec: IndexSpec): VectorIndex {
  return {
    spec,
    writePictures: (writes) => writer.call('writePictures', writes),
    writeRecords: (writes) => writer.call('writeRecords', writes),
    delete: (deletions) => writer.call('delete', deletions),
    purge: (tenant, before) => writer.call('purge', tenant, before),
    deleteTenant: (tenant) => writer.call('deleteTenant', tenant),
    get: async (tenant, assetIds, { withVectors = false } = {}) => {
      const points = await reader.call('get', tenant, assetIds, withVectors);
      return new Map(points.map((point) => [point.assetId, point]));
    },
    findImageVectors: async (tenant, sha256s) => {
      const found = await reader.call('findImageVectors', tenant, sha256s);
      return new Map(found.map(({ sha256, ...rest }) => [sha256, rest]));
    },
    findByItem: (tenant, itemId) => reader.call('findByItem', tenant, itemId),
    findByPicture: async (tenant, assetIds) => {
      const found = await reader.call('findByPicture', tenant, assetIds);
      const byPicture = Map.groupBy(found, ({ pictureId }) => pictureId);
      return new Map([...byPicture].map(([pictureId, named]) => [pictureId, named.map(({ point }) => point)]));
    },
    search: (tenant, filter, legs) => reader.call('search', tenant, filter, legs),
    sample: (tenant, space, limit) => reader.call('sample', tenant, space, limit),
    scan: (tenant, { after = '', limit, withVectors = false, pushed = false }) =>
      reader.call('scan', tenant, after, limit, withVectors, pushed),
    count: (tenant) => reader.call('count', tenant),
    tenants: () => reader.call('tenants'),
    copies: (tenant, which) =>
      'assetIds' in which
        ? reader.call('copiesOf', tenant, which.assetIds)
        : reader.call('copiesAfter', tenant, which.after ?? '', which.limit),
    putCopies: (copies) => writer.call('putCopies', copies),
    close: async () => {
      await Promise.all([reader.close(), writer.close()]);
    },
  };
}
