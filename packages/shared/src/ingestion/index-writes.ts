import type { VectorIndex } from '../ports/vector-index.ts';

/** What writes an index. */
export type IndexWrites = Pick<VectorIndex, 'writePictures' | 'writeRecords' | 'delete'>;

/** The index with other ways to write it; everything else is its own. */
export function withWrites(index: VectorIndex, writes: IndexWrites): VectorIndex {
  return {
    // Asked each time: of an index that follows the version that serves, the spec may change.
    get spec() {
      return index.spec;
    },
    ...writes,
    get: (...args) => index.get(...args),
    findImageVectors: (...args) => index.findImageVectors(...args),
    findByItem: (...args) => index.findByItem(...args),
    findByPicture: (...args) => index.findByPicture(...args),
    search: (...args) => index.search(...args),
    sample: (...args) => index.sample(...args),
    scan: (...args) => index.scan(...args),
    count: (...args) => index.count(...args),
    tenants: () => index.tenants(),
    copies: (...args) => index.copies(...args),
    putCopies: (...args) => index.putCopies(...args),
    purge: (...args) => index.purge(...args),
    deleteTenant: (...args) => index.deleteTenant(...args),
    close: () => index.close(),
  };
}
