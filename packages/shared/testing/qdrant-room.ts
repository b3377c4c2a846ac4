import { randomUUID } from 'node:crypto';
import { QdrantConnection } from '../src/adapters/qdrant-connection.ts';
import { openQdrantVectorIndex, type QdrantIndexOptions } from '../src/adapters/qdrant-vector-index.ts';
import type { VectorIndex } from '../src/ports/vector-index.ts';
import { openQdrantServer, type QdrantServer } from './qdrant-server.ts';

/** A Qdrant with indexes of one test's own in it. */
export interface QdrantRoom {
  server: QdrantServer;
  /** For what an operator, or a fault, does to a collection. */
  admin: QdrantConnection;
  /** An index's name that nobody has. */
  newAlias: () => string;
  /** Opens an index; closed by `clear`. */
  open: (alias: string, options?: Partial<QdrantIndexOptions>) => Promise<VectorIndex>;
  /** What else `clear` has to end. */
  onClear: (close: () => Promise<unknown>) => void;
  /** Closes what was opened and drops what lies under the names that were given out: after each test. */
  clear: () => Promise<void>;
  close: () => Promise<void>;
}

export async function openQdrantRoom(): Promise<QdrantRoom> {
  const server = await openQdrantServer();
  const admin = new QdrantConnection(server);
  const closers: (() => Promise<unknown>)[] = [];

  const dropIndex = async (alias: string): Promise<void> => {
    const { collections } = await admin.call((client) => client.getCollections());
    for (const { name } of collections) if (name.startsWith(alias)) await admin.call((client) => client.deleteCollection(name));
  };

  return {
    server,
    admin,
    newAlias: () => {
      const alias = `test-${randomUUID()}`;
      closers.push(() => dropIndex(alias));
      return alias;
    },
    open: async (alias, options = {}) => {
      const place = { url: server.url, ...(server.apiKey && { apiKey: server.apiKey }) };
      const index = await openQdrantVectorIndex({ ...place, alias, ...options });
      closers.push(() => index.close());
      return index;
    },
    onClear: (close) => void closers.push(close),
    clear: async () => {
      for (const close of closers.splice(0).toReversed()) await close();
    },
    close: async () => {
      await admin.close();
      await server.close();
    },
  };
}
