import type { IndexVersions } from '../ports/index-versions.ts';
import { SightlineError } from '../runtime/errors.ts';
import { QdrantConnection } from './qdrant-connection.ts';
import { collectionBehind, collectionOf, pointAlias, versionOf } from './qdrant-vector-index-format.ts';
import { DEFAULT_ALIAS, openQdrantVectorIndex, type QdrantIndexOptions } from './qdrant-vector-index.ts';

/** Versions as collections `<alias>-<number>`; the alias says which one serves. */
export function qdrantIndexVersions(options: QdrantIndexOptions): IndexVersions {
  const { alias = DEFAULT_ALIAS } = options;
  const connection = new QdrantConnection(options);

  const serving = async (): Promise<number | null> => {
    const behind = await collectionBehind(connection, alias);
    if (behind === null) return null;
    const version = versionOf(alias, behind);
    if (version === null)
      throw new SightlineError(
        'store_format_unsupported',
        `The alias ${alias} stands for ${behind}, which is no version of the index.`,
      );
    return version;
  };

  return {
    serving,
    numbers: async () => {
      const { collections } = await connection.call((client) => client.getCollections());
      return collections.flatMap(({ name }) => versionOf(alias, name) ?? []).toSorted((a, b) => a - b);
    },
    open: (version, spec) => openQdrantVectorIndex({ ...options, version, spec: spec ?? null }),
    found: async (spec) => {
      if ((await serving()) !== null) return;
      await (await openQdrantVectorIndex({ ...options, spec })).close();
    },
    serve: (version) => pointAlias(connection, alias, collectionOf(alias, version)),
    drop: async (version) => {
      if ((await serving()) === version) throw new SightlineError('internal', `Version ${version} of the index serves.`);
      await connection.call((client) => client.deleteCollection(collectionOf(alias, version)));
    },
    close: () => connection.close(),
  };
}
